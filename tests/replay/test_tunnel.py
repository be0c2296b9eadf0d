"""Tunnels to the node's own address: a peer's packet is decapsulated once and balanced."""

import itertools
from dataclasses import replace

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw
from support import expectation
from support.config import one_port
from support.fragments import datagram, frame_of, owner, udp_flow
from support.model import Fleet, Flow
from support.packets import APPLIANCE_MAC, Sent, client_packet, flow, lowered, tunnel_packet

OWN = {4: "192.0.2.1", 6: "2001:db8::1"}
PEER = {4: "192.0.2.129", 6: "2001:db8::81"}
STRANGER = {4: "192.0.2.127", 6: "2001:db8:1::1"}


def config(**cluster):
    def change(config):
        config["tunnel"] = {"peers": ["192.0.2.128/25", "2001:db8::/64"]}
        if cluster:
            config["cluster"] = cluster
            config["neighbor"].append({"address": "192.0.2.9", "mac": "02:00:00:00:09:09"})

    return one_port().changed(change)


def _ethertype(ip):
    return 0x86DD if ip[0] >> 4 == 6 else 0x0800


def _number(ip):
    return 41 if ip[0] >> 4 == 6 else 4


# For the bytes of an inner packet: the protocol of the outer header, and its payload.
TUNNELS = {
    "gre": lambda ip: (47, GRE(proto=_ethertype(ip)) / Raw(ip)),
    "gre, key": lambda ip: (47, GRE(proto=_ethertype(ip), key_present=1, key=42) / Raw(ip)),
    "gre, checksum, key and number": lambda ip: (
        47,
        GRE(proto=_ethertype(ip), chksum_present=1, key_present=1, key=1, seqnum_present=1, sequence_number=2) / Raw(ip),
    ),
    "gre, marked": lambda ip: (47, GRE(proto=_ethertype(ip), recursion_control=1) / Raw(ip)),
    "ipip": lambda ip: (_number(ip), Raw(ip)),
    "vxlan": lambda ip: (
        17,
        UDP(sport=50000, dport=4789, chksum=0)
        / VXLAN(flags=8, vni=42)
        / Ether(dst="02:00:00:00:00:99", src="02:00:00:00:00:98", type=_ethertype(ip))
        / Raw(ip),
    ),
    "gue": lambda ip: (17, UDP(sport=50000, dport=6080, chksum=0) / Raw(ip)),
    "gue0": lambda ip: (17, UDP(sport=50000, dport=6080, chksum=0) / Raw(bytes([0, _number(ip), 0, 0]) + ip)),
    "gue0, private data": lambda ip: (
        17,
        UDP(sport=50000, dport=6080, chksum=0) / Raw(bytes([1, _number(ip), 0, 0, 1, 2, 3, 4]) + ip),
    ),
}


def tunnelled(sent, kind, version=4, source=None, traffic_class=0, tags=()):
    """The packet in a tunnel to the node."""
    number, payload = TUNNELS[kind](sent.inner)
    source = source or PEER[version]
    if version == 6:
        outer = IPv6(src=source, dst=OWN[6], nh=number, tc=traffic_class, hlim=60)
    else:
        outer = IP(src=source, dst=OWN[4], proto=number, tos=traffic_class, ttl=60, flags="DF")
    frame = frame_of(outer / payload, APPLIANCE_MAC, tags)
    return Sent(frame, sent.verdict, sent.flow, lowered(sent.inner), sent.tags, sent.traffic_class)


def clients():
    return [
        client_packet(flow(version, protocol, 1, 3000 + n), payload=b"tunnelled", ttl=50)
        if version == 4
        else client_packet(flow(version, protocol, 1, 3000 + n), payload=b"tunnelled", hlim=50)
        for version in (4, 6)
        for protocol in ("tcp", "udp")
        for n in range(5)
    ]


@pytest.mark.parametrize("version", (4, 6))
@pytest.mark.parametrize("kind", TUNNELS)
def test_tunnels_of_peers_are_balanced(run_replay, kind, version):
    sent = [tunnelled(packet, kind, version) for packet in clients()]
    expectation.check_frames(config(), sent, run_replay(config(), [packet.frame for packet in sent]))


@pytest.mark.parametrize("version", (4, 6))
@pytest.mark.parametrize("kind", TUNNELS)
def test_tunnels_of_strangers_are_dropped(run_replay, kind, version):
    sent = [tunnelled(p, kind, version, STRANGER[version]).dropped("tunnel_unknown_peer") for p in clients()]
    expectation.check_frames(config(), sent, run_replay(config(), [packet.frame for packet in sent]))


def test_without_peers_everyone_is_a_stranger(run_replay):
    sent = [tunnelled(p, kind).dropped("tunnel_unknown_peer") for kind in TUNNELS for p in clients()]
    expectation.check_frames(one_port(), sent, run_replay(one_port(), [packet.frame for packet in sent]))


@pytest.mark.parametrize("inner_version", (4, 6))
@pytest.mark.parametrize("inner, outer", itertools.product(TUNNELS, TUNNELS))
def test_a_tunnel_in_a_tunnel_is_dropped(run_replay, inner, outer, inner_version):
    once = [tunnelled(packet, inner, inner_version) for packet in clients()]
    sent = [
        tunnelled(Sent(packet.frame, "tunnel_nested", packet.flow, packet.frame[14:]), outer) for packet in once
    ]
    expectation.check_frames(config(), sent, run_replay(config(), [packet.frame for packet in sent]))


def test_congestion_marks_reach_the_inner_packet(run_replay):
    """RFC 6040, figure 4. Rows are the inner field, columns the outer field: Not-ECT, ECT(0), ECT(1), CE."""
    figure = {
        0b00: (0b00, 0b00, 0b00, None),
        0b10: (0b10, 0b10, 0b01, 0b11),
        0b01: (0b01, 0b01, 0b01, 0b11),
        0b11: (0b11, 0b11, 0b11, 0b11),
    }
    sent = []
    for (inner, row), version in itertools.product(figure.items(), (4, 6)):
        for outer, arrives in zip((0b00, 0b10, 0b01, 0b11), row, strict=True):
            one = flow(version, "udp", 2, 100 + inner)
            packet = tunnelled(client_packet(one, traffic_class=0xB8 | inner), "gre", traffic_class=0x48 | outer)
            if arrives is None:
                sent.append(packet.dropped("tunnel_congested"))
            else:
                after = client_packet(one, traffic_class=0xB8 | arrives)
                sent.append(Sent(packet.frame, "forwarded", one, lowered(after.inner), (), after.traffic_class))
    expectation.check_frames(config(), sent, run_replay(config(), [packet.frame for packet in sent]))


def test_malformed_tunnels_are_dropped(run_replay):
    inner = clients()[0].inner
    payloads = [
        (47, GRE(proto=0x86DD) / Raw(inner)),
        (47, GRE(proto=0x6558) / Raw(inner)),
        (47, Raw(b"\x40\x00\x08\x00" + inner)),
        (47, Raw(b"\x00\x00\x08")),
        (4, Raw(inner[:19])),
        (41, Raw(inner)),
        (17, UDP(sport=1, dport=4789, chksum=0) / VXLAN(flags=0, vni=1) / Ether(type=0x0800) / Raw(inner)),
        (17, UDP(sport=1, dport=6080, chksum=0) / Raw(b"\x20\x04\x00\x00" + inner)),
        (17, UDP(sport=1, dport=6080, chksum=0) / Raw(b"\x00\x04\x80\x00" + inner)),
        (17, UDP(sport=1, dport=6080, chksum=0) / Raw(b"\x80\x04\x00\x00" + inner)),
    ]
    frames = [frame_of(IP(src=PEER[4], dst=OWN[4], proto=number) / payload) for number, payload in payloads]
    outcome = run_replay(config(), frames)
    assert outcome.verdicts == {"tunnel_malformed": len(frames)}
    assert outcome.frames() == []


@pytest.mark.parametrize("version", (4, 6))
def test_marked_fragments_are_never_redirected(run_replay, version):
    """Members are peers. This node keeps their redirected fragments, even if another member owns them."""
    members = config(members=["192.0.2.1", "192.0.2.9"], down=["192.0.2.1"])
    sent = []
    for client in range(1, 20):
        one = udp_flow(version, client)
        assert owner(members, one) == "192.0.2.9"
        sent += [tunnelled(packet, "gre, marked", source="192.0.2.9") for packet in datagram(one)]
    fleet = Fleet(members)
    outcome = run_replay(members, [packet.frame for packet in sent])
    expected = [tunnel_packet(members, fleet, packet)[1] for packet in sent]
    assert [f.hex() for f in expectation.without_labels(outcome.frames())] == [f.hex() for f in expected]


def test_marked_fragments_wait_for_their_first(run_replay):
    members = config(members=["192.0.2.1", "192.0.2.9"])
    first, middle, last = (tunnelled(p, "gre, marked", source="192.0.2.9") for p in datagram(udp_flow(4)))
    fleet = Fleet(members)
    outcome = run_replay(members, [packet.frame for packet in (last, middle, first)])
    expected = [tunnel_packet(members, fleet, packet)[1] for packet in (first, last, middle)]
    assert expectation.without_labels(outcome.frames()) == expected


def shared():
    """A configuration whose virtual addresses are the node's tunnel addresses."""

    def change(config):
        for service in config["service"]:
            service["address"] = OWN[6 if ":" in service["address"] else 4]

    return config().changed(change)


def to_shared(packet):
    """The client packet of a service on the shared address."""
    one = replace(packet.flow, destination=OWN[6 if ":" in packet.flow.source else 4])
    return client_packet(one, payload=b"tunnelled")


@pytest.mark.parametrize("version", (4, 6))
@pytest.mark.parametrize("kind", TUNNELS)
def test_a_virtual_address_may_be_the_tunnel_address(run_replay, kind, version):
    bare = [to_shared(packet) for packet in clients()]
    sent = bare + [tunnelled(packet, kind, version) for packet in bare]
    expectation.check_frames(shared(), sent, run_replay(shared(), [packet.frame for packet in sent]))
    strangers = [tunnelled(p, kind, version, STRANGER[version]).dropped("tunnel_unknown_peer") for p in bare]
    expectation.check_frames(shared(), strangers, run_replay(shared(), [p.frame for p in strangers]))
    # A tunnel in a tunnel is still dropped.
    nested = [tunnelled(Sent(p.frame, "tunnel_nested", p.flow, p.frame[14:]), kind) for p in sent[len(bare) :]]
    expectation.check_frames(shared(), nested, run_replay(shared(), [packet.frame for packet in nested]))


def test_a_service_on_a_tunnel_port_comes_first(run_replay):
    """UDP port 6080 of the shared address belongs to the configured service."""

    def change(config):
        config["service"][1]["port"] = 6080

    one = Flow("198.51.100.1", OWN[4], 3000, 6080, "udp")
    sent = [client_packet(one, payload=clients()[0].inner)]
    both = shared().changed(change)
    expectation.check_frames(both, sent, run_replay(both, [packet.frame for packet in sent]))
