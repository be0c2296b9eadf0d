"""Fragments follow the first of their datagram, in any order of arrival, or are dropped for a reason."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment
from support import expectation
from support.config import one_port
from support.fragments import datagram, fragment_at, owner, redirected, sent_of, transport_of, udp_flow
from support.model import Fleet
from support.packets import client_packet, flow, tunnel_packet
from support.replies import about, inner_mtu, ipv4_fragments, link

VERSIONS = pytest.mark.parametrize("version", (4, 6))
OTHER = {4: "192.0.2.9", 6: "2001:db8::9"}
OTHER_MAC = "02:00:00:00:09:09"


def check(config, sent, order, outcome, labels=True):
    """`order`: the packets that must leave, in order. `labels`: whether to check flow labels, which needs
    flows without equal packets."""
    fleet = Fleet(config)
    expected = [tunnel_packet(config, fleet, packet)[1] for packet in order]
    got = expectation.without_labels(outcome.frames())
    assert [frame.hex() for frame in got] == [frame.hex() for frame in expected]
    expectation.check_verdicts(sent, outcome.report)
    if labels:
        expectation.check_labels(sent, outcome.frames())


def with_fragments(**settings):
    return one_port().changed(lambda c: c.__setitem__("fragments", settings))


@VERSIONS
@pytest.mark.parametrize("order", itertools.permutations(range(3)), ids=str)
def test_every_order_of_three(run_replay, version, order):
    """Fragments before the first wait and leave behind it. The others leave at once."""
    config = one_port()
    sent, leaving = [], []
    for number in range(8):
        parts = datagram(udp_flow(version, 1, 40000 + number), identification=number)
        sent += [parts[index] for index in order]
        first = order.index(0)
        leaving += [parts[index] for index in (0, *order[:first], *order[first + 1 :])]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, leaving, outcome)


def test_interleaved_datagrams(run_replay):
    config = one_port()
    parts = [
        datagram(udp_flow(version, client), identification)
        for version in (4, 6)
        for client in range(1, 5)
        for identification in (1, 2, 70000 if version == 6 else 60000)
    ]
    sent = [packet for column in zip(*parts, strict=True) for packet in column]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, sent, outcome)


@VERSIONS
def test_sixty_kilobytes(run_replay, version):
    config = one_port()
    parts = datagram(udp_flow(version), count=45, size=1400)
    sent = [*reversed(parts)]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, [parts[0], *sent[:-1]], outcome)


@VERSIONS
def test_fragments_without_a_first_wait_until_the_timeout(run_replay, version):
    config = one_port()
    lost = [packet.dropped("fragment_timeout") for packet in datagram(udp_flow(version))[1:]]
    # The datagram comes again, long after the timeout, when nothing remains of the first try.
    late = datagram(udp_flow(version))
    records = [(0, lost[0].frame), (0.1, lost[1].frame), *((20 + n / 10, p.frame) for n, p in enumerate(late))]
    outcome = run_replay(config, records)
    check(config, [*lost, *late], late, outcome)


@VERSIONS
def test_fragments_that_wait_at_the_end_are_counted(run_replay, version):
    sent = [packet.dropped("fragment_timeout") for packet in datagram(udp_flow(version))[1:]]
    outcome = run_replay(one_port(), [packet.frame for packet in sent])
    check(one_port(), sent, [], outcome)


@VERSIONS
def test_a_full_buffer(run_replay, version):
    # One source may use half of the buffer.
    config = with_fragments(contexts=6, packets=6)
    parts = datagram(udp_flow(version), count=6)
    sent = [*parts[1:4], *(packet.dropped("fragment_buffer_full") for packet in parts[4:]), parts[0]]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, [parts[0], *parts[1:4]], outcome)


@VERSIONS
def test_a_buffer_full_of_bytes(run_replay, version):
    config = with_fragments(bytes=2400)
    parts = datagram(udp_flow(version), count=5)
    sent = [*parts[1:3], parts[3].dropped("fragment_buffer_full"), parts[0]]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, [parts[0], *parts[1:3]], outcome)


@VERSIONS
def test_a_table_full_of_waiting_datagrams(run_replay, version):
    config = with_fragments(contexts=2, packets=2, bytes=1 << 20)
    # The datagrams that wait have two sources: clients over IPv6 share a prefix.
    first, second, third = (datagram(udp_flow(v), identification) for identification, v in ((1, 4), (2, 6), (3, version)))
    # The third datagram's first fragment is forwarded, but no other can follow it.
    sent = [first[1], second[1], third[0], third[1].dropped("fragment_buffer_full"), first[0], second[0]]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, [third[0], first[0], first[1], second[0], second[1]], outcome)


def odd(one, index, packet):
    """A later IPv6 fragment whose next header differs from the first's: only the first's counts
    (RFC 8200 section 4.5)."""
    ip = IPv6(packet.inner)
    ip[IPv6ExtHdrFragment].nh = (59, 58, 6)[index % 3]
    return sent_of(bytes(ip), one)


@pytest.mark.parametrize("workers", ("1", "3"))
def test_next_headers_of_later_fragments_may_differ(run_replay, workers):
    config, sent = one_port(), []
    for client in range(1, 9):
        one = udp_flow(6, client)
        first, *later = datagram(one, identification=client, count=4)
        sent += [first, *(odd(one, index, packet) for index, packet in enumerate(later))]
    outcome = run_replay(config, [packet.frame for packet in sent], "--workers", workers)
    expected = expectation.expected_frames(config, sent)["edge0"]
    got = expectation.without_labels(outcome.frames())
    if workers == "1":
        expectation.compare(got, expected, "edge0")
    assert sorted(got) == sorted(expected)
    assert outcome.verdicts == {"forwarded": len(sent)}


def test_a_later_fragment_of_ipv6_that_does_not_fit(run_replay):
    """Its sender gets an error: RFC 4443 section 3.2; section 2.4 (e) does not exempt later fragments. The
    fragment's own next header does not matter."""
    config, one = one_port(), udp_flow(6)
    room = inner_mtu(config, one)
    first = fragment_at(one, 0, transport_of(one, 472))
    sent = [first, fragment_at(one, 480, b"x" * 1440), odd(one, 1, fragment_at(one, 480, b"x" * 1440))]
    assert all(len(packet.inner) > room for packet in sent[1:])
    outcome = run_replay(config, [packet.frame for packet in sent])
    assert outcome.verdicts == {"forwarded": 1, "too_big_replied": 2}
    for packet, frame in zip(sent[1:], outcome.frames()[1:], strict=True):
        error = about(6, IPv6(packet.inner), None, ICMPv6PacketTooBig(mtu=room))
        assert frame.hex() == link(error, back=True).hex()


def test_fragments_that_do_not_fit_are_fragmented_again(run_replay):
    """If more fragments follow the original, the last new fragment has the flag "more fragments" too."""
    config, sent = one_port(), []
    for client in range(1, 9):
        one = udp_flow(4, client)
        room = inner_mtu(config, one)
        parts = datagram(one, identification=client, size=1480)
        sent += [part.fragmented(ipv4_fragments(IP(part.inner), room)) if len(part.inner) > room else part for part in parts]
    assert {len(packet.inners()) for packet in sent} == {1, 2}
    # The other fragments of each datagram wait, and are fragmented when they leave.
    late = [packet for index in range(0, len(sent), 3) for packet in (sent[index + 1], sent[index], sent[index + 2])]
    for arriving in (sent, late):
        leaving = [packet for index in range(0, len(sent), 3) for packet in sent[index : index + 3]]
        outcome = run_replay(config, [packet.frame for packet in arriving])
        expected = expectation.expected_frames(config, leaving)["edge0"]
        expectation.compare(expectation.without_labels(outcome.frames()), expected, "edge0")
        expectation.check_verdicts(arriving, outcome.report)
        assert outcome.report["events"]["fragmented"] == 16


@VERSIONS
def test_duplicates_follow_the_originals(run_replay, version):
    config = one_port()
    first, middle, last = datagram(udp_flow(version))
    sent = [first, first, middle, middle, last, first, last]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, sent, outcome)
    sent = [middle, middle, first, last]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, [first, middle, middle, last], outcome)


def test_a_new_datagram_of_the_same_identification(run_replay):
    """The identification repeats: later fragments follow the latest first fragment."""
    config = one_port()
    fleet = Fleet(config)
    flows = [udp_flow(4, 1, sport) for sport in range(40000, 40100)]
    one = flows[0]
    other = next(flow for flow in flows if fleet.backend(flow) != fleet.backend(one))
    sent = [*datagram(one), *datagram(other)]
    outcome = run_replay(config, [packet.frame for packet in sent])
    # Later fragments have no ports, so those of both datagrams are equal.
    check(config, sent, sent, outcome, labels=False)


@VERSIONS
def test_fragments_of_a_known_flow(run_replay, version):
    """The flow's entry decides, as for whole packets. Here TCP began with a whole packet."""
    config = one_port()
    one = flow(version, "tcp")
    begin = client_packet(one, flags="S")
    parts = [fragment_at(one, 0, transport_of(one, 460)), fragment_at(one, 480, b"x" * 24, more=False)]
    sent = [begin, parts[1], parts[0]]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, [begin, *parts], outcome)


@VERSIONS
def test_tiny_fragments(run_replay, version):
    """RFC 1858: a first fragment with an incomplete header. RFC 3128: a fragment that would overwrite the header."""
    config = one_port()
    tcp, udp = flow(version, "tcp"), flow(version, "udp")
    header = transport_of(tcp)
    sent = [
        fragment_at(tcp, 0, header[:8], identification=1),
        fragment_at(tcp, 0, header[:16], identification=2),
        fragment_at(tcp, 8, header[8:] + b"x" * 4, identification=3),
        fragment_at(tcp, 8, header[8:], more=False, identification=4),
        fragment_at(tcp, 16, b"x" * 8, identification=5),
    ]
    sent = [packet.dropped("fragment_tiny") for packet in sent]
    whole = [fragment_at(tcp, 0, header + b"x" * 4, identification=6), fragment_at(udp, 0, transport_of(udp), identification=7)]
    outcome = run_replay(config, [packet.frame for packet in sent + whole])
    check(config, sent + whole, whole, outcome)


@VERSIONS
def test_overlaps_with_the_first(run_replay, version):
    """The fragment that overlaps is dropped, and so are all later ones (RFC 3128, RFC 5722)."""
    config = one_port()
    one = udp_flow(version)
    first = fragment_at(one, 0, transport_of(one, 472))
    back, behind = fragment_at(one, 472, b"x" * 16), fragment_at(one, 480, b"y" * 16, more=False)
    overlap = [back.dropped("fragment_overlap"), behind.dropped("fragment_overlap")]
    sent = [first, *overlap, first.dropped("fragment_overlap")]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, [first], outcome)
    # The same if they come before the first.
    sent = [*overlap, first.dropped("fragment_overlap")]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, [], outcome)


def test_two_first_fragments_of_different_length_overlap_over_ipv6(run_replay):
    config = one_port()
    one = udp_flow(6)
    first, other = fragment_at(one, 0, transport_of(one, 472)), fragment_at(one, 0, transport_of(one, 464))
    behind = fragment_at(one, 480, b"y" * 16, more=False)
    sent = [first, other.dropped("fragment_overlap"), behind.dropped("fragment_overlap")]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, [first], outcome)


@VERSIONS
def test_impossible_fragments_are_dropped(run_replay, version):
    config = one_port()
    one = udp_flow(version)
    sent = [
        fragment_at(one, 480, b"x" * 12),
        fragment_at(one, 480, b""),
        fragment_at(one, 480, b"", more=False),
        fragment_at(one, 65528, b"x" * 8, more=False),
        fragment_at(one, 0, transport_of(one, 5)),
    ]
    sent = [packet.dropped("fragment_malformed") for packet in sent]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, [], outcome)


@VERSIONS
def test_an_atomic_fragment_is_whole(run_replay, version):
    """RFC 6946. Over IPv4 the same bits mean a packet that is no fragment."""
    config = one_port()
    one = udp_flow(version)
    data = bytearray(transport_of(one, 8))
    data[4:6] = len(data).to_bytes(2, "big")
    sent = [fragment_at(one, 0, bytes(data), more=False)]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, sent, outcome)


@VERSIONS
def test_a_service_may_refuse_fragments(run_replay, version):
    def change(config):
        for service in config["service"]:
            if service["protocol"] == "udp":
                service["fragments"] = "drop"

    config = one_port().changed(change)
    sent, tcp = [], flow(version, "tcp", 2)
    for number, order in enumerate(itertools.permutations(range(3))):
        parts = datagram(udp_flow(version, 1, 40000 + number), number)
        reasons = ("fragment_refused", "fragment_first_dropped", "fragment_first_dropped")
        sent += [parts[index].dropped(reasons[index]) for index in order]
    # The TCP service of the same address accepts fragments, and the UDP service accepts whole packets.
    fragments = [fragment_at(tcp, 0, transport_of(tcp, 460)), fragment_at(tcp, 480, b"x", more=False)]
    taken = [client_packet(udp_flow(version)), *fragments]
    outcome = run_replay(config, [packet.frame for packet in sent + taken])
    check(config, sent + taken, taken, outcome)


@VERSIONS
def test_fragments_behind_a_dropped_first_are_dropped(run_replay, version):
    config = one_port()
    one = replace(udp_flow(version), dport=9)
    first, middle, last = datagram(one)
    later = [packet.dropped("fragment_first_dropped") for packet in (middle, last)]
    sent = [later[0], first.dropped("no_service"), later[1]]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, [], outcome)


def clustered(*members, down=()):
    def change(config):
        config["cluster"] = {"members": list(members), "down": list(down)}
        config["neighbor"] += [{"address": address, "mac": OTHER_MAC} for address in OTHER.values()]

    return one_port().changed(change)


@pytest.mark.parametrize("other", (4, 6), ids=("over IPv4", "over IPv6"))
def test_fragments_go_to_their_owner(run_replay, other):
    """GRE with recursion control 1: 01000800 and 010086dd."""
    config = clustered(OTHER[other], "192.0.2.1")
    fleet = Fleet(config)
    sent, expected = [], []
    for version, client in itertools.product((4, 6), range(1, 30)):
        one = udp_flow(version, client)
        own = owner(config, one) == "192.0.2.1"
        for packet in datagram(one):
            sent.append(packet if own else replace(packet, verdict="redirected"))
            expected.append(tunnel_packet(config, fleet, packet)[1] if own else redirected(config, packet, OTHER[other]))
    marks = Counter(b"\x01\x00\x08\x00" in frame or b"\x01\x00\x86\xdd" in frame for frame in expected)
    assert min(marks[True], marks[False]) >= 30, "the test proves less than it says"
    outcome = run_replay(config, [packet.frame for packet in sent])
    expectation.compare(expectation.without_labels(outcome.frames()), expected, "edge0")
    expectation.check_verdicts(sent, outcome.report)


def test_a_whole_packet_is_not_redirected(run_replay):
    config = clustered(OTHER[4], "192.0.2.1")
    sent = [client_packet(udp_flow(version, client)) for version in (4, 6) for client in range(1, 30)]
    expectation.check_frames(config, sent, run_replay(config, [packet.frame for packet in sent]))


@pytest.mark.parametrize("down", (OTHER[4], "192.0.2.1"), ids=("other", "self"))
def test_a_member_that_is_down(run_replay, down):
    config = clustered(OTHER[4], "192.0.2.1", down=[down])
    fleet = Fleet(config)
    sent = [packet for client in range(1, 20) for packet in datagram(udp_flow(4, client))]
    if down == OTHER[4]:
        expected = [tunnel_packet(config, fleet, packet)[1] for packet in sent]
    else:
        expected = [redirected(config, packet, OTHER[4]) for packet in sent]
        sent = [replace(packet, verdict="redirected") for packet in sent]
    outcome = run_replay(config, [packet.frame for packet in sent])
    expectation.compare(expectation.without_labels(outcome.frames()), expected, "edge0")
    expectation.check_verdicts(sent, outcome.report)
