"""Packets whose hops run out: a packet that arrives in a tunnel or leaves by `l2` takes a hop here."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import GRE
from scapy.packet import Raw
from support.config import one_port
from support.packets import TAGS, VIP, hop
from support.replies import CLIENT, about, ip, link

OWN, PEER = "192.0.2.1", "192.0.2.129"


def config(encapsulation="gre"):
    """Backends on the link, and a peer."""

    def change(config):
        config["tunnel"] = {"peers": ["192.0.2.128/25"]}
        config["pool"][0]["encapsulation"] = encapsulation
        config["pool"][0]["backends"] = config["pool"][0]["backends"][:2]

    return one_port().changed(change)


def syn(version, hops, **fields):
    field = "ttl" if version == 4 else "hlim"
    return ip(version, CLIENT[version], VIP[version], **{field: hops}, **fields) / TCP(sport=3000, dport=80, flags="S")


def tunnelled(packet):
    kind = 0x0800 if packet.version == 4 else 0x86DD
    return IP(src=PEER, dst=OWN) / GRE(proto=kind) / packet


def exceeded(version, packet, tags=()):
    """The frame with the error about a packet, back to its sender."""
    return link(about(version, packet, ICMP(type=11, code=0), ICMPv6TimeExceeded(code=0)), tags, back=True)


def verdicts(outcome):
    return {name: count for name, count in outcome.report["verdicts"].items() if count}


@pytest.mark.parametrize("version", (4, 6))
@pytest.mark.parametrize("hops", (0, 1))
def test_a_packet_at_its_last_hop_is_reported(run_replay, version, hops):
    packet = syn(version, hops)
    for settings, frames in (
        (config(), [link(tunnelled(packet))]),
        (config("l2"), [link(packet, tags) for tags in TAGS.values()]),
    ):
        outcome = run_replay(settings, frames)
        assert verdicts(outcome) == {"time_exceeded_replied": len(frames)}
        tags = TAGS.values() if len(frames) > 1 else [()]
        assert outcome.frames() == [exceeded(version, packet, tag) for tag in tags]


@pytest.mark.parametrize("version", (4, 6))
def test_two_hops_are_enough(run_replay, version):
    packet = syn(version, 2)
    (bare,) = run_replay(config("l2"), [link(packet)]).frames()
    assert bare[12:] == hop(link(packet))[12:]
    assert verdicts(run_replay(config(), [link(tunnelled(packet))])) == {"forwarded": 1}
    # GRE alone takes no hop: the outer header has hops of its own.
    assert verdicts(run_replay(config(), [link(syn(version, 1))])) == {"forwarded": 1}


def test_packets_that_allow_no_error_are_dropped(run_replay):
    quoted = IP(src=VIP[4], dst=CLIENT[4]) / TCP(sport=80, dport=3000)
    quoted6 = IPv6(src=VIP[6], dst=CLIENT[6]) / TCP(sport=80, dport=3000)
    packets = [
        IP(src=CLIENT[4], dst=VIP[4], ttl=1) / ICMP(type=3, code=1) / quoted,
        IPv6(src=CLIENT[6], dst=VIP[6], hlim=1) / ICMPv6DestUnreach() / quoted6,
    ]
    later = IP(src=CLIENT[4], dst=VIP[4], ttl=1, proto=17, frag=8) / Raw(bytes(40))
    frames = [link(tunnelled(packet)) for packet in (*packets, later)]
    assert verdicts(run_replay(config(), frames)) == {"hop_limit_exceeded": 3}
    frames = [link(packet) for packet in packets]
    assert verdicts(run_replay(config("l2"), frames)) == {"hop_limit_exceeded": 2}


def test_packets_to_the_node_itself_need_no_hop(run_replay):
    """RFC 1122, section 3.2.1.7."""
    echo4 = IP(src=CLIENT[4], dst=VIP[4], ttl=1) / ICMP(type=8)
    echo6 = IPv6(src=CLIENT[6], dst=VIP[6], hlim=1) / ICMPv6EchoRequest()
    frames = [link(packet) for packet in (echo4, echo6, tunnelled(echo4), tunnelled(echo6))]
    assert verdicts(run_replay(config(), frames)) == {"echo_replied": 4}
    closed = IP(src=CLIENT[4], dst=VIP[4], ttl=1) / UDP(sport=3000, dport=9)
    assert verdicts(run_replay(config(), [link(tunnelled(closed))])) == {"no_service": 1}


@pytest.mark.parametrize("version", (4, 6))
def test_a_loop_ends(run_replay, version):
    """Two nodes are each other's peer and backend: here one node receives its own packets again."""
    packet, rounds = syn(version, 5), 0
    while packet is not None:
        outcome = run_replay(config(), [link(tunnelled(packet))])
        rounds += 1
        assert rounds <= 5
        if verdicts(outcome) != {"forwarded": 1}:
            break
        (frame,) = outcome.frames()
        inner = frame[14 + (44 if frame[14] >> 4 == 6 else 24) :]
        packet = IP(inner) if version == 4 else IPv6(inner)
    assert (verdicts(outcome), rounds) == ({"time_exceeded_replied": 1}, 5)


def test_a_fragment_takes_a_hop(run_replay):
    """An IPv4 packet is fragmented for an `l2` backend."""

    def narrow(config):
        config["port"][0]["mtu"] = 1300

    packet = syn(4, 9) / Raw(bytes(1400))
    outcome = run_replay(config("l2").changed(narrow), [link(packet)])
    assert verdicts(outcome) == {"forwarded": 1}
    assert [IP(frame[14:]).ttl for frame in outcome.frames()] == [8, 8]
