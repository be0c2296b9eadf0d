"""ICMP to virtual addresses, and packets that do not fit: echo replies, errors, steered errors,
fragmentation before encapsulation and clamped segment sizes. Scapy builds every expected frame.
"""

import ipaddress
import itertools
import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption, fragment
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.packet import Raw
from support import replay
from support.config import one_port
from support.model import Fleet
from support.packets import EXTRAS, TAGS, VIP, Sent, client_packet, flow, split_label, tunnel_packet
from support.replies import CLIENT, ROUTER, about, echo, inner_mtu, ip, ipv4_fragments, link

ROUTER_ALERT = IPOption(b"\x94\x04\x00\x00")  # copied into every fragment
RECORD_ROUTE = IPOption(b"\x07\x07\x04" + bytes(4))  # only in the first fragment
END = IPOption(b"\x00")


def tunnelled(config, flow_, inner, tags=(), traffic_class=0):
    """The frame that carries an inner packet to the backend of a flow."""
    sent = Sent(b"", flow=flow_, inner=bytes(inner), tags=tuple(tags), traffic_class=traffic_class)
    return tunnel_packet(config, Fleet(config), sent)[1]


@pytest.fixture
def check(tmp_path):
    """Replays cases: a frame (or seconds and a frame), its expected verdict, and the frames that must leave
    for it, in order."""

    def run(config, cases, *arguments):
        outcome = replay.run(tmp_path, config, {"edge0": [frame for frame, _, _ in cases]}, arguments)
        assert outcome.returncode == 0, outcome.stderr
        expected = {}
        for _, verdict, _ in cases:
            expected[verdict] = expected.get(verdict, 0) + 1
        assert outcome.verdicts == expected
        assert outcome.report["received"] == len(cases)
        got = [split_label(frame)[0] for frame in outcome.frames()]
        frames = [frame for _, _, out in cases for frame in out]
        for index, (one, other) in enumerate(zip(got, frames, strict=False)):
            assert one.hex() == other.hex(), f"frame {index}"
        assert len(got) == len(frames)
        assert outcome.report["transmitted"] == len(frames)

    return run


# Echo


def dropped(case, verdict):
    return case[0], verdict, []


@pytest.mark.parametrize("version", (4, 6))
def test_echo_requests_get_replies(check, version):
    cases = []
    for tags, pad in itertools.product(TAGS.values(), (0, 100)):
        cases += [echo(version, data=b"x" * size, tags=tags, pad=pad) for size in (0, 1, 7, 56, 1400)]
    # The reply keeps IPv4 options, and has no IPv6 extension headers.
    cases += [echo(version, extra=extra, number=9) for extra in EXTRAS[version].values()]
    cases += [echo(4, tos=value) if version == 4 else echo(6, tc=value, fl=0) for value in (0, 1, 46 << 2, 255)]
    check(one_port(), cases)


def test_a_reply_of_zeros_has_a_right_checksum(check):
    request = IP(src=CLIENT[4], dst=VIP[4]) / ICMP(type=8, id=0, seq=0) / Raw(bytes(32))
    # RFC 1071: the checksum of zeros is 0xffff. Scapy agrees.
    reply = IP(src=VIP[4], dst=CLIENT[4], ttl=64) / ICMP(type=0, id=0, seq=0) / Raw(bytes(32))
    assert bytes(reply)[22:24] == b"\xff\xff"
    check(one_port(), [(link(request), "echo_replied", [link(reply, back=True)])])


def test_invalid_requests_get_no_reply(check):
    loose, strict = IPOption(b"\x83\x07\x04\x0a\0\0\x01"), IPOption(b"\x89\x07\x04\x0a\0\0\x01")
    cases = [dropped(echo(4, extra=[option, END]), "source_routed") for option in (loose, strict)]
    route = IPv6ExtHdrRouting(addresses=["2001:db8::99"], segleft=1)
    # Scapy computes the checksum for the last address of the route.
    request = IPv6(src=CLIENT[6], dst=VIP[6]) / ICMPv6EchoRequest(data=b"ping")
    routed = IPv6(src=CLIENT[6], dst=VIP[6]) / route / Raw(bytes(request)[40:])
    routed[IPv6ExtHdrRouting].nh = 58
    cases.append((link(routed), "source_routed", []))
    for version in (4, 6):
        frame = bytearray(echo(version)[0])
        frame[-1] ^= 1
        cases.append((bytes(frame), "icmp_malformed", []))
    for source in ("224.0.0.5", "255.255.255.255", "127.0.0.1", "0.0.0.0", VIP[4]):
        cases.append(dropped(echo(4, source=source), "source_invalid"))
    for source in ("ff02::1", "::1", "::", VIP[6]):
        cases.append(dropped(echo(6, source=source), "source_invalid"))
    for kind in (0, 4, 5, 9, 10, 13, 15, 17, 42, 255):
        cases.append((link(ip(4, CLIENT[4], VIP[4]) / ICMP(type=kind)), "icmp_unsupported", []))
    for kind in (0, 129, 130, 133, 135, 136, 137, 255):
        message = ip(6, CLIENT[6], VIP[6], nh=58) / Raw(bytes([kind]) + bytes(23))
        cases.append((link(message), "icmp_unsupported", []))
    cases.append((link(ip(4, CLIENT[4], VIP[4], proto=1) / Raw(b"\x08\0\xf7")), "icmp_malformed", []))
    cases.append((link(ip(6, CLIENT[6], VIP[6], nh=58) / Raw(b"\x80\0\xf7")), "icmp_malformed", []))
    cases.append(dropped(echo(4, vip="203.0.113.11"), "no_vip"))
    check(one_port(), cases)


def fragmented_echo(version, number=1):
    """The fragments of a request, each with its fragment of the reply."""
    frame, verdict, (reply,) = echo(version, data=bytes(range(250)) * 4, number=number)

    def fragments_of(packet):
        if version == 4:
            return fragment(IP(packet), fragsize=480)
        header, payload = IPv6(packet[:40]), packet[40:]
        header.nh = 44
        parts = []
        for offset in range(0, len(payload), 480):
            more = int(offset + 480 < len(payload))
            extension = IPv6ExtHdrFragment(nh=58, id=number, offset=offset // 8, m=more)
            header.plen = 8 + len(payload[offset : offset + 480])
            parts.append(header.copy() / extension / Raw(payload[offset : offset + 480]))
        return parts

    pairs = zip(fragments_of(frame[14:]), fragments_of(reply[14:]), strict=True)
    return [(link(one), verdict, [link(other, back=True)]) for one, other in pairs]


@pytest.mark.parametrize("version", (4, 6))
def test_a_fragmented_request_gets_a_fragmented_reply(check, version):
    first, middle, last = fragmented_echo(version)
    assert len(first[2][0]) > 500
    check(one_port(), [first, middle, last])
    # Fragments before the first wait for it.
    waiting = [(frame, verdict, []) for frame, verdict, _ in (last, middle)]
    check(one_port(), [*waiting, (*first[:2], [*first[2], *last[2], *middle[2]])])


def ipv6_fragments(packet, mtu, identification):
    """The fragments that a source makes of a packet (RFC 8200 section 4.5)."""
    payload, size, parts = bytes(packet)[40:], (mtu - 48) // 8 * 8, []
    for offset in range(0, len(payload), size):
        part = payload[offset : offset + size]
        extension = IPv6ExtHdrFragment(nh=58, id=identification, offset=offset // 8, m=int(offset + size < len(payload)))
        parts.append(IPv6(src=packet.src, dst=packet.dst, hlim=64, nh=44, plen=8 + len(part)) / extension / Raw(part))
    return parts


def test_a_reply_that_exceeds_the_mtu_is_fragmented(tmp_path):
    """The request is one long frame, as af_packet delivers a ping of 1,800 bytes after the kernel reassembled it."""
    config, frames, expected = one_port(), [], []
    for size, options, tags in itertools.product(
        (1472, 1473, 1772, 1900), ([], [ROUTER_ALERT, RECORD_ROUTE, END]), (TAGS["untagged"], TAGS["two tags"])
    ):
        frame, _, (reply,) = echo(4, data=b"x" * size, number=size, tags=tags, extra=options)
        frames.append(frame)
        expected += [link(part, tags, back=True) for part in ipv4_fragments(IP(reply[14 + 4 * len(tags) :]), 1500)]
    outcome = replay.run(tmp_path, config, {"edge0": frames})
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.verdicts == {"echo_replied": len(frames)}
    assert [frame.hex() for frame in outcome.frames()] == [frame.hex() for frame in expected]
    assert outcome.report["events"]["fragmented"] == len(frames) - 2, "all but those of 1472 bytes without options"


def test_a_reply_is_fragmented_where_only_its_source_may(tmp_path):
    """Over IPv6, and if the request has the flag "don't fragment". Each reply has its own identification."""
    frames, replies = [], []
    for size, number in itertools.product((1452, 1453, 1900), (1, 2)):
        for version in (4, 6):
            fields = {"flags": "DF"} if version == 4 else {}
            frame, _, (reply,) = echo(version, data=b"x" * size, number=number, **fields)
            frames.append(frame)
            replies.append(reply)
    outcome = replay.run(tmp_path, one_port(), {"edge0": frames})
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.verdicts == {"echo_replied": len(frames)}
    got, identifications = outcome.frames(), []
    for reply in replies:
        if len(reply) <= 14 + 1500:
            assert got.pop(0).hex() == reply.hex()
            continue
        version = reply[14] >> 4
        first = IP(got[0][14:]) if version == 4 else IPv6(got[0][14:])[IPv6ExtHdrFragment]
        identifications.append((version, first.id))
        if version == 4:
            whole = IP(reply[14:])
            whole.flags, whole.id = 0, first.id
            fragments = ipv4_fragments(whole, 1500)
        else:
            fragments = ipv6_fragments(IPv6(reply[14:]), 1500, first.id)
        for part in fragments:
            assert got.pop(0).hex() == link(part, back=True).hex()
    assert not got
    assert len(set(identifications)) == len(identifications) == 6


@pytest.mark.parametrize("version", (4, 6))
def test_fragments_of_a_reply_are_fragmented_again(check, version):
    """The fragments of the request fit the client's link, but those of the reply exceed the port's MTU."""
    config = one_port()
    frame, verdict, (reply,) = echo(version, data=bytes(range(250)) * 9, number=77)

    def parts(packet, mtu):
        return ipv4_fragments(IP(packet), mtu) if version == 4 else ipv6_fragments(IPv6(packet), mtu, 77)

    # 1808 bytes of payload become 1480 and 328 over IPv4, 1448 and 360 over IPv6.
    cases = []
    for one, other in zip(parts(frame[14:], 1828), parts(reply[14:], 1828), strict=True):
        if version == 4:
            fragments = ipv4_fragments(IP(bytes(other)), 1500)
        elif len(bytes(other)) <= 1500:
            fragments = [other]
        else:
            header, payload = bytes(other)[:40], bytes(other)[48:]
            fragments = []
            for begin, part, more in ((0, payload[:1448], 1), (1448, payload[1448:], 1)):
                smaller = IPv6(header)
                smaller.plen = 8 + len(part)
                offset = other[IPv6ExtHdrFragment].offset + begin // 8
                fragments.append(smaller / IPv6ExtHdrFragment(nh=58, id=77, offset=offset, m=more) / Raw(part))
        if version == 6:
            one.hlim = 57
        else:
            one.ttl = 57
            del one.chksum
        cases.append((link(one), verdict, [link(part, back=True) for part in fragments]))
    assert [len(out) for _, _, out in cases] == [2, 1]
    check(config, cases)


def test_echo_can_be_off(check):
    def change(config):
        # One of the services of the IPv4 address disables it.
        config["service"][1]["echo"] = False

    cases = [dropped(echo(4), "echo_disabled"), echo(6)]
    first, *others = fragmented_echo(4)
    cases += [dropped(first, "echo_disabled"), *(dropped(other, "fragment_first_dropped") for other in others)]
    check(one_port().changed(change), cases)


def test_replies_of_each_kind_are_limited(check):
    """A token bucket of 5, and 10 tokens a second."""
    config = reachable().changed(lambda c: c.update(icmp={"rate": 10, "burst": 5}))
    ping, limited = echo(4), dropped(echo(4), "reply_limited")
    cases = [((1, frame), verdict, out) for frame, verdict, out in [ping] * 5 + [limited] * 5]
    # Refusals share a bucket, and all other errors another.
    closed, long = unreachable(4, "udp"), too_big(config, 6, 1, 1)
    errors = [closed, long] * 5 + [dropped(long, "reply_limited"), dropped(closed, "reply_limited")]
    cases += [((1.01, frame), verdict, out) for frame, verdict, out in errors]
    late = [(1.1, [ping, limited]), (1.35, [ping, ping, limited]), (1.4, [ping, limited]), (9, [ping] * 5 + [limited])]
    cases += [((second, frame), verdict, out) for second, some in late for frame, verdict, out in some]
    check(config, cases)


def test_a_rate_of_0_allows_no_reply(check):
    config = reachable().changed(lambda c: c.update(icmp={"rate": 0}))
    cases = [echo(4), echo(6), unreachable(4, "udp"), unreachable(6, "udp"), too_big(config, 4, 1, 1)]
    # Packets that never get a reply keep their reason.
    check(config, [*(dropped(case, "reply_limited") for case in cases), closed_tcp(4), closed_tcp(6)])


# Errors about packets to virtual addresses


def reachable():
    """A configuration where one service of each address sets `unreachable`: over IPv6 the last one, over IPv4
    a TCP service. One is enough."""

    def change(config):
        first4, _, first6, last6 = config["service"]
        first4["unreachable"] = True
        first6["unreachable"], last6["unreachable"] = False, True

    return one_port().changed(change)


def unreachable(version, protocol, size=10, tags=(), pad=0):
    """A packet to a port without a service, and the error."""
    transport = TCP(sport=9, dport=81, flags="S") if protocol == "tcp" else UDP(sport=9, dport=33434)
    packet = ip(version, CLIENT[version], VIP[version]) / transport / Raw(b"z" * size)
    error = about(version, packet, ICMP(type=3, code=3), ICMPv6DestUnreach(code=4))
    frame = link(packet, tags)
    return frame + b"\xa5" * (pad - len(frame)), "unreachable_replied", [link(error, tags, back=True)]


def closed_tcp(version, **fields):
    return dropped(unreachable(version, "tcp", **fields), "no_service")


@pytest.mark.parametrize("version", (4, 6))
def test_ports_without_a_service_are_unreachable(check, version):
    """Only UDP gets the error, which quotes at most 548 or 1232 bytes. TCP gets no reply."""
    cases = []
    for tags in TAGS.values():
        for size in (0, 1, 519, 520, 521, 1183, 1184, 1185, 1300):
            cases += [unreachable(version, "udp", size, tags, pad=60), closed_tcp(version, size=size, tags=tags)]
    check(reachable(), cases)


def test_unreachable_can_be_off(check):
    """The default is off, and a service of one address does not enable it for the other."""
    cases = {version: unreachable(version, "udp") for version in (4, 6)}
    silent = {version: dropped(case, "no_service") for version, case in cases.items()}
    tcp = [closed_tcp(4), closed_tcp(6)]
    check(one_port(), [*silent.values(), *tcp])

    def off(config):
        for service in config["service"]:
            service["unreachable"] = False

    check(one_port().changed(off), [*silent.values(), *tcp])
    for index, version in enumerate((4, 4, 6, 6)):
        config = one_port().changed(lambda c, index=index: c["service"][index].update(unreachable=True))
        check(config, [cases[version], silent[10 - version], *tcp])


def option(kind):
    return HBHOptUnknown(otype=kind, optdata=b"\0" * 4)


@pytest.mark.parametrize("header", (IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt))
def test_unknown_options(check, header):
    """RFC 8200 section 4.2. Options whose type begins with bits 00 are skipped."""
    closed = IPv6(src=CLIENT[6], dst=VIP[6]) / header() / UDP(sport=9, dport=33434) / Raw(b"z")
    cases = [echo(6, extra=[header(options=[option(0x1E)])])]
    for kind in (0x40, 0x63, 0x80, 0xC9):
        closed[header].options = [option(kind)]
        for request in (echo(6, extra=[header(options=[option(kind)])])[0], link(closed)):
            problem = ICMPv6ParamProblem(code=2, ptr=42)
            error = about(6, IPv6(request[14:]), None, problem)
            if kind < 0x80:
                cases.append((request, "ipv6_option_unknown", []))
            else:
                cases.append((request, "parameter_problem_replied", [link(error, back=True)]))
    check(reachable(), cases)


def test_sources_that_are_several_hosts(check):
    """The broadcast and network addresses of the port's networks, and the subnet-router anycast address."""
    config, cases = reachable(), []
    networks = [ipaddress.ip_interface(text).network for text in config["port"][0]["addresses"]]
    assert {network.version for network in networks} == {4, 6}
    for network in networks:
        version = network.version
        addresses = (network[0], network[-1]) if version == 4 else (network[0],)
        for source in map(str, addresses):
            # No host has the IPv4 addresses. Several hosts may have the anycast address.
            verdict = "source_invalid" if version == 4 else "reply_forbidden"
            cases.append(dropped(echo(version, source=source), verdict))
            closed = ip(version, source, VIP[version]) / UDP(sport=9, dport=33434)
            cases.append((link(closed), verdict, []))
        cases.append(echo(version, source=str(network[77])))
    check(config, cases)


def test_datagrams_that_a_host_would_discard(check):
    """RFC 1122 section 4.1.3.4, RFC 8200 section 8.1."""
    cases = []
    for version, wrong in ((4, 0x1234), (6, 0x1234), (6, 0)):
        datagram = UDP(sport=9, dport=33434, chksum=wrong) / Raw(b"z" * 9)
        cases.append((link(ip(version, CLIENT[version], VIP[version]) / datagram), "udp_checksum", []))
    packet = IP(src=CLIENT[4], dst=VIP[4]) / UDP(sport=9, dport=33434, chksum=0) / Raw(b"none is allowed")
    error = about(4, packet, ICMP(type=3, code=3), None)
    cases.append((link(packet), "unreachable_replied", [link(error, back=True)]))
    check(reachable(), cases)


@pytest.mark.parametrize("version", (4, 6))
def test_an_error_quotes_the_segment_as_it_came(check, version):
    """The quotation has the segment size from before `mss_clamp`."""
    config = one_port().changed(lambda c: c.pool().update(mss_clamp=1300))
    one, packet = segment(version, 7, 1460)
    room = inner_mtu(config, one)
    packet = packet / Raw(b"d" * (room + 1 - len(packet)))
    if version == 4:
        packet.flags = "DF"
    v4, v6 = ICMP(type=3, code=4, nexthopmtu=room), ICMPv6PacketTooBig(mtu=room)
    cases = [(link(packet), "too_big_replied", [link(about(version, packet, v4, v6), back=True)])]
    if version == 4:
        # A SYN that may be fragmented leaves with the lower size.
        packet.flags = 0
        lowered = segment(4, 7, 1300)[1] / packet[Raw]
        fragments = ipv4_fragments(IP(bytes(lowered)), room)
        cases.append((link(packet), "forwarded", [tunnelled(config, one, part) for part in fragments]))
    check(config, cases)


def too_big(config, version, sport, excess, tags=()):
    """A packet that is `excess` bytes too long for its backend's tunnel, and the error; or, if the packet fits,
    the tunnel packet."""
    one = flow(version, "tcp", 1, sport)
    room = inner_mtu(config, one)
    head = 40 if version == 4 else 60
    fields = {"flags": "A", "payload": b"y" * (room + excess - head), "tags": tags}
    sent = client_packet(one, **fields)
    packet = IP(sent.inner) if version == 4 else IPv6(sent.inner)
    if version == 4:
        packet.flags = "DF"
        del packet.chksum
    if excess <= 0:
        return link(packet, tags), "forwarded", [tunnelled(config, one, packet, tags)]
    v4, v6 = ICMP(type=3, code=4, nexthopmtu=room), ICMPv6PacketTooBig(mtu=room)
    return link(packet, tags), "too_big_replied", [link(about(version, packet, v4, v6), tags, back=True)]


@pytest.mark.parametrize("version", (4, 6))
def test_a_long_packet_that_must_not_be_fragmented_is_reported(check, version):
    config = one_port()
    backends = {":" in Fleet(config).backend(flow(version, "tcp", 1, sport)) for sport in range(12)}
    assert len(backends) == 2, "the test proves less than it says"
    cases = [
        too_big(config, version, sport, excess, tags)
        for sport, excess, tags in itertools.product(range(12), (0, 1, 24), (TAGS["untagged"], TAGS["two tags"]))
    ]
    check(config, cases)


def test_there_is_no_error_about_an_error(check):
    """An error to steer is too long for the tunnel."""
    config = one_port()
    one = flow(6, "tcp", 1, 1)
    quoted = IPv6(src=VIP[6], dst=CLIENT[6]) / TCP(sport=80, dport=1, flags="A") / Raw(b"q" * 1380)
    error = IPv6(src=ROUTER[6], dst=VIP[6]) / ICMPv6TimeExceeded() / Raw(bytes(quoted)[:1450])
    assert len(error) > inner_mtu(config, one)
    check(config, [(link(error), "reply_forbidden", [])])


# Fragmentation before encapsulation


def test_a_long_packet_that_may_be_fragmented_is_fragmented(check):
    config, cases = one_port(), []
    for sport, options, excess in itertools.product(range(6), ([], [ROUTER_ALERT, RECORD_ROUTE, END]), (0, 1, 9, 24)):
        one = flow(4, "udp", 1, sport)
        room = inner_mtu(config, one)
        packet = IP(src=one.source, dst=one.destination, id=1000 + sport, tos=8, options=options)
        packet = packet / UDP(sport=sport, dport=53)
        packet = IP(bytes(packet / Raw(b"w" * (room + excess - len(packet)))))
        assert len(packet) == room + excess
        fragments = ipv4_fragments(packet, room) if excess else [packet]
        assert len(fragments) == (2 if excess else 1)
        frames = [tunnelled(config, one, part, traffic_class=8) for part in fragments]
        cases.append((link(packet), "forwarded", frames))
    check(config, cases)


# Segment sizes


def segment(version, sport, mss, before=0, flags="S"):
    options = [("NOP", None)] * before
    if mss is not None:
        options.append(("MSS", mss))
    options += [("SAckOK", b""), ("Timestamp", (9, 0)), ("WScale", 7)]
    one = flow(version, "tcp", 1, sport)
    packet = ip(version, one.source, one.destination)
    return one, packet / TCP(sport=sport, dport=80, flags=flags, seq=1, options=options)


def clamped_cases(config, limit):
    """`limit`: the largest segment size of a flow that stays."""
    cases = []
    for version, sport, before, flags in itertools.product((4, 6), range(8), range(4), ("S", "SA", "SEC", "A")):
        one, _ = segment(version, sport, None)
        most = limit(version, one)
        for mss in {None, 536, most - 1, most, min(most + 1, 65535), 8960}:
            _, packet = segment(version, sport, mss, before, flags)
            clamped = mss if mss is None or "S" not in flags else min(mss, most)
            _, after = segment(version, sport, clamped, before, flags)
            cases.append((link(packet), "forwarded", [tunnelled(config, one, after)]))
    return cases


def test_segment_sizes_are_lowered_to_a_number(check):
    config = one_port().changed(lambda c: c.pool().update(mss_clamp=1300))
    check(config, clamped_cases(config, lambda version, one: 1300))


def test_segment_sizes_are_lowered_to_what_fits(check):
    config = one_port().changed(lambda c: c.pool().update(mss_clamp="auto"))
    check(config, clamped_cases(config, lambda version, one: inner_mtu(config, one) - (40 if version == 4 else 60)))


def test_segment_sizes_stay_without_the_option(check):
    config = one_port()
    check(config, clamped_cases(config, lambda version, one: 65535))


def test_malformed_options_stay(check):
    config, cases = one_port().changed(lambda c: c.pool().update(mss_clamp=1300)), []
    for options in ("020405b403000000", "020405b403050000", "020605b400000000", "00000000020405b4"):
        one = flow(4, "tcp", 1, 5)
        header = bytes(TCP(sport=5, dport=80, flags="S", dataofs=7)) + bytes.fromhex(options)
        packet = IP(src=one.source, dst=one.destination, proto=6) / Raw(header)
        cases.append((link(packet), "forwarded", [tunnelled(config, one, packet)]))
    check(config, cases)


# Steered errors


def backend_packet(one, *, extra=(), size=400, **fields):
    """A packet from a backend to the client of a flow."""
    version = 6 if ":" in one.source else 4
    transport = (TCP if one.protocol == "tcp" else UDP)(sport=one.dport, dport=one.sport)
    if version == 4:
        packet = IP(src=one.destination, dst=one.source, ttl=3, options=list(extra), **fields)
    else:
        packet = IPv6(src=one.destination, dst=one.source, hlim=3, **fields)
        for header in extra:
            packet = packet / header
    return packet / transport / Raw(b"a" * size)


def steered(config, one, error, quotation, tags=()):
    version = 6 if ":" in one.source else 4
    fields = {"nh": 58} if isinstance(error, Raw) else {}
    packet = ip(version, ROUTER[version], one.destination, **fields) / error / Raw(quotation)
    return link(packet, tags), "forwarded", [tunnelled(config, one, packet, tags)]


ERRORS = {
    4: [ICMP(type=3, code=code) for code in range(16)]
    + [ICMP(type=3, code=4, nexthopmtu=1400), ICMP(type=11, code=0), ICMP(type=11, code=1), ICMP(type=12, ptr=9)],
    6: [ICMPv6DestUnreach(code=code) for code in range(8)]
    + [Raw(bytes([kind, 0]) + bytes(6)) for kind in (5, 100, 127)]  # unknown: RFC 4443 section 2.4 (a)
    + [ICMPv6PacketTooBig(mtu=1280), ICMPv6TimeExceeded(code=0), ICMPv6TimeExceeded(code=1), ICMPv6ParamProblem(ptr=6)],
}


@pytest.mark.parametrize("version", (4, 6))
@pytest.mark.parametrize("known", (False, True), ids=("unknown", "known"))
def test_errors_go_to_the_backend_of_the_packet(check, version, known):
    """For known flows and for unknown ones, which the Maglev table sends to the same backend."""
    config, cases = one_port(), []
    for protocol, sport in itertools.product(("tcp", "udp"), range(6)):
        one = flow(version, protocol, 1, 1000 + sport)
        if known:
            sent = client_packet(one)
            cases.append((sent.frame, "forwarded", [tunnelled(config, one, sent.inner)]))
        cases += [steered(config, one, error, bytes(backend_packet(one))) for error in ERRORS[version]]
    check(config, cases)


@pytest.mark.parametrize("workers", (2, 4))
def test_errors_find_their_backend_from_any_worker(tmp_path, workers):
    config, cases = one_port(), []
    for version, sport in itertools.product((4, 6), range(50)):
        one = flow(version, "tcp", 1, 1000 + sport)
        sent = client_packet(one)
        cases.append((sent.frame, "forwarded", [tunnelled(config, one, sent.inner)]))
        cases.append(steered(config, one, ERRORS[version][1], bytes(backend_packet(one))))
    arguments = ("--workers", str(workers))
    outcome = replay.run(tmp_path, config, {"edge0": [case[0] for case in cases]}, arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.verdicts == {"forwarded": len(cases)}
    got = sorted(split_label(frame)[0] for frame in outcome.frames())
    assert got == sorted(frame for _, _, out in cases for frame in out)


def test_quotations_may_be_short_and_may_have_options(check):
    config, cases = one_port(), []
    v4, v6 = flow(4, "tcp", 1, 7), flow(6, "udp", 1, 7)
    unreachable4, too_big6 = ICMP(type=3, code=1), ICMPv6PacketTooBig(mtu=1280)
    for tags in TAGS.values():
        cases.append(steered(config, v4, unreachable4, bytes(backend_packet(v4))[:28], tags))
        cases.append(steered(config, v6, too_big6, bytes(backend_packet(v6))[:48], tags))
    for extra in EXTRAS[4].values():
        packet = backend_packet(v4, extra=extra)
        cases.append(steered(config, v4, unreachable4, bytes(packet)[: IP(bytes(packet)).ihl * 4 + 8]))
        cases.append(steered(config, v4, unreachable4, bytes(backend_packet(v4, extra=extra, flags="MF"))))
    pad = [PadN(optdata=b"\0" * 4)]
    for extra in (
        [IPv6ExtHdrHopByHop(options=pad)],
        [IPv6ExtHdrDestOpt(options=pad)],
        [IPv6ExtHdrFragment(nh=17, m=1, id=5)],
        [IPv6ExtHdrHopByHop(options=pad), IPv6ExtHdrDestOpt(options=pad), IPv6ExtHdrFragment(m=1, id=5)],
    ):
        packet = bytes(backend_packet(v6, extra=extra))
        cases.append(steered(config, v6, too_big6, packet[: 40 + 8 * len(extra) + 8]))
        cases.append(steered(config, v6, too_big6, packet))
    check(config, cases)


def test_errors_about_unknown_flows_are_dropped(check):
    def case(version, quotation, verdict):
        error = ICMP(type=3, code=1) if version == 4 else ICMPv6DestUnreach(code=1)
        return link(ip(version, ROUTER[version], VIP[version]) / error / Raw(quotation)), verdict, []

    v4, v6 = bytes(backend_packet(flow(4))), bytes(backend_packet(flow(6)))
    other = IP(src="203.0.113.11", dst=CLIENT[4]) / TCP(sport=80, dport=40000)
    no_service = IP(src=VIP[4], dst=CLIENT[4]) / TCP(sport=81, dport=40000)
    ping = IP(src=VIP[4], dst=CLIENT[4]) / ICMP(type=0)
    later4 = IP(src=VIP[4], dst=CLIENT[4], frag=9, proto=17) / Raw(bytes(16))
    later6 = IPv6(src=VIP[6], dst=CLIENT[6]) / IPv6ExtHdrFragment(nh=17, offset=9, id=5) / Raw(bytes(16))
    cases = [case(4, bytes(packet), "icmp_unknown_flow") for packet in (other, no_service, ping)]
    cases += [case(4, bytes(later4), "icmp_embedded_fragment"), case(6, bytes(later6), "icmp_embedded_fragment")]
    cases += [case(4, v6, "icmp_embedded_malformed"), case(6, v4, "icmp_embedded_malformed")]
    cases += [case(4, v4[:length], "icmp_embedded_malformed") for length in (0, 1, 19, 20, 23)]
    cases += [case(6, v6[:length], "icmp_embedded_malformed") for length in (0, 1, 39, 40, 43)]
    check(one_port(), cases)


def test_a_fragmented_error_goes_to_the_backend_of_the_packet(check):
    """A link with a small MTU has fragmented the error. Only the first fragment has the quotation."""
    config = one_port()
    one = flow(4, "tcp", 1, 9)
    whole = IP(src=ROUTER[4], dst=VIP[4], id=77) / ICMP(type=3, code=1) / Raw(bytes(backend_packet(one)))
    fragments = ipv4_fragments(IP(bytes(whole)), 200)
    assert len(fragments) > 2
    check(config, [(link(part), "forwarded", [tunnelled(config, one, part)]) for part in fragments])


def test_the_known_answers():
    """The errors above, against bytes computed by other means (RFC 1191)."""
    inner = bytes.fromhex("450000280001000040061490c6336401cb00710a9c40005000000001000000005002faf0b2200000")
    error = IP(src="192.0.2.1", dst="198.51.100.1", id=0) / ICMP(type=3, code=4, nexthopmtu=1476) / Raw(inner[:28])
    expected = "450000380000000040018e8fc0000201c633640103045aa6000005c4"
    assert bytes(error)[:28].hex() == expected
    assert struct.unpack_from("!H", bytes(error), 26) == (1476,)


@pytest.mark.parametrize("version", (4, 6))
def test_fragments_of_a_request_do_not_evade_the_limit(check, version):
    first, *others = fragmented_echo(version)
    silent = [dropped(first, "reply_limited"), *(dropped(other, "fragment_first_dropped") for other in others)]
    for order in (silent, silent[::-1]):
        check(one_port().changed(lambda c: c.update(icmp={"rate": 0})), order)
