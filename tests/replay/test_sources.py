"""Packets with impossible sources: addresses that no host has, and the MAC addresses of our own ports."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Raw
from support.config import one_port
from support.packets import APPLIANCE_MAC, CLIENT_MAC, VIP

CLIENT = {4: "198.51.100.1", 6: "2001:db8:c::1"}
PEER = {4: "192.0.2.129", 6: "2001:db8::81"}
OWN = {4: "192.0.2.1", 6: "2001:db8::1"}

# RFC 1122 section 3.2.1.3, RFC 4291 sections 2.5 and 2.7; then the addresses of the configuration.
IMPOSSIBLE = {
    4: [
        *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "224.0.0.1", "239.255.255.250", "240.0.0.1"),
        *("255.255.255.255", VIP[4], "192.0.2.1", "192.0.2.255", "192.0.2.0"),
    ],
    6: ["::", "::1", "::ffff:198.51.100.1", "ff02::1", "ff0e::1", VIP[6], "2001:db8::1"],
}
LINK_LOCAL = {4: ["169.254.1.1"], 6: ["fe80::1", "febf::1"]}
# Possible addresses next to the impossible ones.
POSSIBLE = {
    4: ["1.0.0.1", "126.1.1.1", "128.0.0.1", "169.253.0.1", "223.255.255.254", "192.0.2.200"],
    6: ["64:ff9b::1", "2001:db8::77", "fd00::1", "fec0::1"],
}


def config():
    def change(config):
        config["tunnel"] = {"peers": ["192.0.2.128/25", "2001:db8::/64"]}
        for service in config["service"]:
            service["unreachable"] = True

    return one_port().changed(change)


def header(version, source, **fields):
    return IP(src=source, dst=VIP[4], **fields) if version == 4 else IPv6(src=source, dst=VIP[6], **fields)


def tcp(version, source):
    return header(version, source) / TCP(sport=3000, dport=80, flags="S")


def udp(version, source):
    return header(version, source) / UDP(sport=3000, dport=53) / Raw(b"question")


def closed(version, source):
    return header(version, source) / UDP(sport=3000, dport=9) / Raw(b"question")


def echo(version, source):
    return header(version, source) / (ICMP(type=8) if version == 4 else ICMPv6EchoRequest())


def error(version, source):
    if version == 4:
        quoted = IP(src=VIP[4], dst=CLIENT[4]) / TCP(sport=80, dport=3000)
        return header(4, source) / ICMP(type=3, code=4, nexthopmtu=1400) / quoted
    quoted = IPv6(src=VIP[6], dst=CLIENT[6]) / TCP(sport=80, dport=3000)
    return header(6, source) / ICMPv6DestUnreach() / quoted


def first_fragment(version, source):
    datagram = bytes(UDP(sport=3000, dport=53, len=108, chksum=1)) + bytes(56)
    if version == 4:
        return header(4, source, proto=17, flags="MF", id=7) / Raw(datagram)
    return header(6, source) / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=7) / Raw(datagram)


def later_fragment(version, source):
    if version == 4:
        return header(4, source, proto=17, frag=8, id=7) / Raw(bytes(44))
    return header(6, source) / IPv6ExtHdrFragment(nh=17, offset=8, m=0, id=7) / Raw(bytes(44))


def tunnelled(inner):
    """The packet in a GRE tunnel of a peer."""

    def packet(version, source):
        kind = 0x0800 if version == 4 else 0x86DD
        return IP(src=PEER[4], dst=OWN[4]) / GRE(proto=kind) / inner(version, source)

    return packet


BARE = {
    "tcp": tcp,
    "udp": udp,
    "closed port": closed,
    "echo": echo,
    "error": error,
    "first fragment": first_fragment,
    "later fragment": later_fragment,
}
TUNNELLED = {f"{name}, tunnelled": tunnelled(make) for name, make in BARE.items()}
FORWARDED = {name: BARE[name] for name in ("tcp", "udp", "error", "first fragment")}


def frame(packet, source=CLIENT_MAC):
    return bytes(Ether(src=source, dst=APPLIANCE_MAC) / packet)


def verdicts(outcome):
    return {name: count for name, count in outcome.report["verdicts"].items() if count}


@pytest.mark.parametrize("name", [*BARE, *TUNNELLED])
def test_impossible_sources_are_dropped(run_replay, name):
    make = (BARE | TUNNELLED)[name]
    frames = [frame(make(version, source)) for version in (4, 6) for source in IMPOSSIBLE[version]]
    # Each frame is sent twice: the first one recorded nothing.
    frames *= 2
    outcome = run_replay(config(), frames)
    assert verdicts(outcome) == {"source_invalid": len(frames)}
    assert outcome.frames("edge0") == []


@pytest.mark.parametrize("name", [*FORWARDED, *TUNNELLED])
def test_link_local_sources_are_not_forwarded(run_replay, name):
    make = (BARE | TUNNELLED)[name]
    frames = [frame(make(version, source)) for version in (4, 6) for source in LINK_LOCAL[version]]
    outcome = run_replay(config(), frames)
    assert verdicts(outcome) == {"source_invalid": len(frames)}


def test_link_local_hosts_on_the_link_get_replies(run_replay):
    frames = [frame(echo(version, source)) for version in (4, 6) for source in LINK_LOCAL[version]]
    assert verdicts(run_replay(config(), frames)) == {"echo_replied": len(frames)}


@pytest.mark.parametrize("name", ["tcp", "udp", "tcp, tunnelled"])
def test_neighbouring_sources_are_forwarded(run_replay, name):
    make = (BARE | TUNNELLED)[name]
    frames = [frame(make(version, source)) for version in (4, 6) for source in POSSIBLE[version]]
    assert verdicts(run_replay(config(), frames)) == {"forwarded": len(frames)}


def test_impossible_sources_of_tunnels_are_dropped(run_replay):
    """The network of peers contains our own address."""

    def change(config):
        config["tunnel"] = {"peers": ["192.0.2.0/24"]}

    inner = GRE(proto=0x0800) / tcp(4, CLIENT[4])
    frames = [frame(IP(src=source, dst=OWN[4]) / inner) for source in ("192.0.2.1", "192.0.2.255")]
    outcome = run_replay(one_port().changed(change), frames)
    assert verdicts(outcome) == {"source_invalid": 2}


def test_addresses_of_a_tunnel_source_prefix_are_ours(run_replay):
    def change(config):
        config["node"]["tunnel_source"] = ["192.0.2.64/26", "2001:db8::1"]

    frames = [frame(tcp(4, source)) for source in ("192.0.2.64", "192.0.2.127", "192.0.2.63")]
    outcome = run_replay(one_port().changed(change), frames)
    assert verdicts(outcome) == {"source_invalid": 2, "forwarded": 1}


@pytest.mark.parametrize("name", [*BARE, *TUNNELLED])
def test_our_own_frames_are_dropped(run_replay, name):
    make = (BARE | TUNNELLED)[name]
    frames = [frame(make(version, CLIENT[version]), source=APPLIANCE_MAC) for version in (4, 6)]
    assert verdicts(run_replay(config(), frames)) == {"looped_frame": 2}


def test_packets_of_recorded_flows_are_not_checked_again(run_replay):
    """The fast path does not check sources. The hop limit ends a loop."""
    ack = header(4, CLIENT[4]) / TCP(sport=3000, dport=80, flags="A")
    frames = [frame(tcp(4, CLIENT[4])), frame(ack), frame(ack, source=APPLIANCE_MAC)]
    assert verdicts(run_replay(config(), frames)) == {"forwarded": 3}
