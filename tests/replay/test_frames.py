"""Every frame that leaves, byte for byte, against frames that scapy builds for the model's choice."""

import itertools
import random
import subprocess

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from support import expectation, garbage, replay
from support.config import one_port, two_ports
from support.fragments import datagram
from support.model import Fleet
from support.packets import EXTRAS, TAGS, Sent, client_packet, flow, inner_of
from support.replies import about, echo, inner_mtu, ipv4_fragments, link


def matrix():
    """All mixes of families, transports, tags, options and extension headers, each with several flows."""
    sports = itertools.count(1024)
    return [
        client_packet(flow(version, protocol, 1, next(sports)), tags=tags, extra=extra, payload=b"Guideway")
        for version in (4, 6)
        for protocol in ("tcp", "udp")
        for tags in TAGS.values()
        for extra in EXTRAS[version].values()
        for _ in range(4)
    ]


def echo_requests():
    """Echo requests and the replies that they must get."""
    for version, tags, number in itertools.product((4, 6), TAGS.values(), (1, 2)):
        frame, verdict, (reply,) = echo(version, tags=tags, number=number)
        yield Sent(frame, verdict, reply=reply)


def fragmented():
    """Datagrams whose first fragment comes first."""
    for version, client in itertools.product((4, 6), range(30, 34)):
        yield datagram(flow(version, "udp", client))


def shuffled(seed, *parts):
    """The packets of all parts in random order. Packets of one list keep their order."""
    source = random.Random(seed)
    lists = [packet if isinstance(packet, list) else [packet] for part in parts for packet in part]
    order = [index for index, packets in enumerate(lists) for _ in packets]
    source.shuffle(order)
    queues = [iter(packets) for packets in lists]
    return [next(queues[index]) for index in order]


def everything(seed):
    return shuffled(seed, matrix(), echo_requests(), fragmented(), garbage.everything())


def test_every_kind_of_packet_leaves_as_expected(run_replay):
    config, sent = one_port(), everything(1)
    outcome = run_replay(config, [packet.frame for packet in sent])
    expectation.check_frames(config, sent, outcome)
    fleet = Fleet(config)
    mixes = {(":" in p.flow.source, ":" in fleet.backend(p.flow)) for p in sent if p.flow}
    assert len(mixes) == 4, "the test proves less than it says"


def test_two_runs_give_the_same_bytes(run_replay):
    config, frames = one_port(), [packet.frame for packet in everything(2)]
    first, second = run_replay(config, frames), run_replay(config, frames)
    assert first.files == second.files
    assert first.report == second.report


@pytest.mark.parametrize("version", (4, 6))
def test_every_traffic_class_goes_out(run_replay, version):
    """DSCP (RFC 2983, uniform) and ECN (RFC 6040, normal mode)."""
    config = one_port()
    sent = [
        client_packet(flow(version, "tcp", 1, 2000 + value % 16), traffic_class=value, flags="A")
        for value in range(256)
    ]
    expectation.check_frames(config, sent, run_replay(config, [packet.frame for packet in sent]))


def test_ethernet_padding_is_removed(run_replay):
    config = one_port()
    sent = [
        client_packet(flow(version, protocol, 1, sport), tags=tags, pad=pad)
        for version in (4, 6)
        for protocol in ("tcp", "udp")
        for tags in (TAGS["untagged"], TAGS["one tag"])
        for pad in (60, 64, 200)
        for sport in range(4)
    ]
    expectation.check_frames(config, sent, run_replay(config, [packet.frame for packet in sent]))


def too_long(packet, kind, mtu):
    """The packet with what must leave for it, because it exceeds the MTU."""
    if kind == "fragmented":
        return packet.fragmented(ipv4_fragments(IP(packet.inner), mtu))
    version, whole = (6, IPv6(packet.inner)) if kind == "IPv6" else (4, IP(packet.inner))
    error = about(version, whole, ICMP(type=3, code=4, nexthopmtu=mtu), ICMPv6PacketTooBig(mtu=mtu))
    return packet.replied("too_big_replied", link(error, packet.tags, back=True))


def test_payload_of_every_length_up_to_the_mtu(run_replay):
    """The outer packet may be as long as the port's MTU. A longer IPv4 packet is fragmented if allowed;
    the senders of others get an error."""
    config, sent = one_port(), []
    for kind, tags, sport in itertools.product(("fragmented", "DF", "IPv6"), TAGS.values(), range(6)):
        one = flow(6 if kind == "IPv6" else 4, "tcp", 1, sport)
        mtu = inner_mtu(config, one)
        room = mtu - (60 if kind == "IPv6" else 40)
        fields = {"flags": "A", "tags": tags}
        for length in (0, 1, room - 1, room, room + 1, room + 2):
            packet = client_packet(one, payload=bytes([sport]) * length, dont_fragment=kind == "DF", **fields)
            if length > room:
                packet = too_long(packet, kind, mtu)
            sent.append(packet)
    outcome = run_replay(config, [packet.frame for packet in sent])
    expectation.check_frames(config, sent, outcome)
    assert outcome.verdicts["too_big_replied"] == 2 * 60


def test_jumbo_frames(run_replay):
    config = one_port(mtu=9000)
    sent = [client_packet(flow(version, "udp", 1, n), payload=b"j" * 8000) for version in (4, 6) for n in range(8)]
    expectation.check_frames(config, sent, run_replay(config, [packet.frame for packet in sent]))


def test_frames_beyond_a_receive_buffer_are_dropped(run_replay):
    config = one_port()
    frame = client_packet(flow(), payload=b"z" * 20000).frame
    good = client_packet(flow(sport=7))
    outcome = run_replay(config, [frame, good.frame, frame])
    assert outcome.verdicts == {"frame_too_long": 2, "forwarded": 1}


def test_any_bytes_at_all(run_replay):
    """Noise is dropped, for any reason, and the packets between it are forwarded."""
    config = one_port()
    good = [client_packet(flow(4, "udp", 1, sport)) for sport in range(100)]
    frames = []
    for noise, packet in zip(garbage.wild_bytes(3, 1000), itertools.cycle([*good, None, None])):
        frames.append(noise)
        if packet:
            frames.append(packet.frame)
    outcome = run_replay(config, frames)
    assert outcome.report["received"] == len(frames)
    assert outcome.verdicts["forwarded"] == len(frames) - 1000
    inners = {packet.inner for packet in good}
    assert all(inner_of(frame) in inners for frame in outcome.frames())


def test_several_ports(run_replay):
    """Packets enter by either port, and leave by the port of the next hop with that port's MAC address."""
    config, packets = two_ports(), matrix()
    outcome = run_replay(config, {"edge0": [p.frame for p in packets], "core0": []})
    expectation.check_frames(config, packets, outcome, ports=("edge0", "core0"))

    to_core = [
        client_packet(flow(version, "udp", 2, sport), mac="02:00:00:00:00:02")
        for version in (4, 6)
        for sport in range(40)
    ]
    captures = {"edge0": [p.frame for p in packets], "core0": [p.frame for p in to_core]}
    outcome = run_replay(config, captures)
    expectation.check_verdicts(packets + to_core, outcome.report)
    for port, expected in expectation.expected_frames(config, packets + to_core).items():
        got = expectation.without_labels(outcome.frames(port))
        assert sorted(got) == sorted(expected)
        for part in (packets, to_core):
            inners = {p.inner for p in part}
            assert [f for f in got if inner_of(f) in inners] == [f for f in expected if inner_of(f) in inners]


def test_a_port_drops_frames_to_another_ports_mac(run_replay):
    config = two_ports()
    frame = client_packet(flow()).frame
    outcome = run_replay(config, {"edge0": [], "core0": [frame]})
    assert outcome.verdicts == {"wrong_mac": 1}


def test_a_port_without_a_mac_accepts_any_frame(run_replay):
    config = one_port().changed(lambda c: c["port"][0].pop("mac"))
    frames = [client_packet(flow(), mac=mac).frame for mac in ("02:00:00:00:00:01", "02:ab:00:00:00:77")]
    outcome = run_replay(config, frames)
    assert outcome.verdicts == {"forwarded": 2}


def test_a_capture_without_packets(run_replay):
    outcome = run_replay(one_port(), [])
    assert outcome.report["received"] == 0 and outcome.verdicts == {}
    assert outcome.frames() == []


def test_tshark_reads_the_frames(run_replay, tmp_path):
    """Wireshark's dissectors as a second opinion: checksums, inner and outer headers."""
    config = one_port()
    sent = matrix()
    run_replay(config, [packet.frame for packet in sent])
    fields = ("frame.protocols", "ip.checksum.status", "gre.flags_and_version", "_ws.malformed", "ip.ttl", "ip.flags.df")
    line = ["tshark", "-n", "-r", str(tmp_path / "edge0.out.pcap"), "-o", "ip.check_checksum:TRUE"]
    # The payload is of neither protocol, but its port may be theirs.
    line += ["--disable-protocol", "dns", "--disable-protocol", "ltp", "-T", "fields"]
    for field in fields:
        line += ["-e", field]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=replay.TIMEOUT)
    rows = [row.split("\t") for row in done.stdout.splitlines()]
    assert len(rows) == len(sent)
    fleet = Fleet(config)
    for packet, (protocols, checksums, gre, malformed, ttls, df) in zip(sent, rows, strict=True):
        outer = "ipv6" if ":" in fleet.backend(packet.flow) else "ip"
        inner = "ipv6" if ":" in packet.flow.source else "ip"
        assert f"{outer}:gre:{inner}:" in protocols, protocols
        assert packet.flow.protocol in protocols
        assert gre == "0x0000" and not malformed
        assert set(checksums.split(",")) <= {"1", ""}, "1 is good"
        if outer == "ip":
            assert ttls.split(",")[0] == "64" and df.split(",")[0] in ("1", "True")
