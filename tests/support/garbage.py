"""Frames that must be dropped, each with its drop reason."""

import random
import struct

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_RS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from .packets import APPLIANCE_MAC, CLIENT_MAC, EXTRAS, TAGS, VIP, Sent, client_packet, flow

V4, V6 = VIP[4], VIP[6]
LINK = {"dst": APPLIANCE_MAC, "src": CLIENT_MAC}
FROM4, FROM6 = "198.51.100.99", "2001:db8:c::99"


def _drop(verdict, packet):
    return Sent(bytes(packet), verdict)


def _patched(verdict, packet, offset, value, checksum=False):
    """The frame (without tags) with bytes from an offset of its IP header overwritten.

    `checksum` says whether to correct the header's checksum."""
    frame = bytearray(bytes(packet))
    frame[14 + offset : 14 + offset + len(value)] = value
    if checksum:
        length = (frame[14] & 15) * 4
        frame[24:26] = b"\0\0"
        total = sum(struct.unpack(f"!{length // 2}H", frame[14 : 14 + length]))
        total = (total & 0xFFFF) + (total >> 16)
        frame[24:26] = struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
    return Sent(bytes(frame), verdict)


def truncated():
    """Frames truncated to every length."""
    tagged = TAGS["service and customer tag"]
    v4 = client_packet(flow(4, "tcp", 90), payload=b"x" * 10).frame
    v6 = client_packet(flow(6, "udp", 90), extra=EXTRAS[6]["all"], payload=b"x" * 10).frame
    for frame, header, inside, beyond in (
        (v4, 20, "ipv4_truncated", "ipv4_total_length"),
        (v6, 40, "ipv6_truncated", "ipv6_payload_length"),
    ):
        for length in range(len(frame)):
            verdict = "ethernet_truncated" if length < 14 else inside if length < 14 + header else beyond
            yield Sent(frame[:length], verdict)
    frame = client_packet(flow(4, "tcp", 90), tags=tagged).frame
    for length in range(14, len(frame)):
        verdict = "vlan_truncated" if length < 22 else "ipv4_truncated" if length < 42 else "ipv4_total_length"
        yield Sent(frame[:length], verdict)


def malformed():
    """Headers that contradict themselves."""
    tcp4 = Ether(**LINK) / IP(src=FROM4, dst=V4) / TCP(sport=9, dport=80)
    udp4 = Ether(**LINK) / IP(src=FROM4, dst=V4) / UDP(sport=9, dport=53) / Raw(b"12345678")
    tcp6 = Ether(**LINK) / IPv6(src=FROM6, dst=V6) / TCP(sport=9, dport=80)
    yield _patched("ipv4_version", tcp4, 0, b"\x65")
    yield _patched("ipv4_version", tcp4, 0, b"\x05")
    yield _patched("ipv6_version", tcp6, 0, b"\x40")
    yield _patched("ipv4_header_length", tcp4, 0, b"\x44")
    yield _patched("ipv4_checksum", tcp4, 8, b"\x01")
    yield _patched("ipv4_checksum", tcp4, 10, b"\0\0")
    yield _patched("ipv4_total_length", tcp4, 2, b"\0\x13", checksum=True)
    yield _patched("ipv4_total_length", tcp4, 2, b"\0\x29", checksum=True)
    yield _patched("transport_truncated", tcp4, 2, b"\0\x27", checksum=True)
    yield _patched("transport_truncated", udp4, 2, b"\0\x1b", checksum=True)
    yield _patched("ipv6_payload_length", tcp6, 4, b"\0\x15")
    yield _patched("transport_truncated", tcp6, 4, b"\0\x13")
    yield _patched("tcp_data_offset", tcp4, 32, b"\x40")
    yield _patched("tcp_data_offset", tcp4, 32, b"\x60")
    yield _patched("udp_length", udp4, 24, b"\0\x07")
    yield _patched("udp_length", udp4, 24, b"\0\x11")
    short = Ether(**LINK) / IPv6(src=FROM6, dst=V6, nh=60) / Raw(b"\x06\x01" + bytes(6))
    yield _drop("ipv6_extension_truncated", short)
    yield _drop("ipv6_extension_truncated", Ether(**LINK) / IPv6(src=FROM6, dst=V6, nh=0))
    late = Ether(**LINK) / IPv6(src=FROM6, dst=V6) / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop()
    yield _drop("ipv6_extension_order", late / TCP(sport=9, dport=80))
    long = Ether(**LINK) / IPv6(src=FROM6, dst=V6)
    for _ in range(9):
        long = long / IPv6ExtHdrDestOpt()
    yield _drop("ipv6_extension_limit", long / TCP(sport=9, dport=80))
    deep = Ether(**LINK) / Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / IP(src=FROM4, dst=V4)
    yield _drop("vlan_too_deep", deep / TCP(sport=9, dport=80))


def not_ours():
    """Valid frames to other hosts, or of a kind that is not balanced."""
    tcp = TCP(sport=9, dport=80)
    v4, v6 = IP(src=FROM4, dst=V4), IPv6(src=FROM6, dst=V6)
    link = Ether(**LINK)
    yield _drop("not_ip", link / ARP(pdst=V4))
    yield _drop("multicast_mac", Ether(src=CLIENT_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(pdst=V4))
    yield _drop("multicast_mac", Ether(src=CLIENT_MAC, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(bytes(46)))
    yield _drop("multicast_mac", Ether(src=CLIENT_MAC, dst="01:00:5e:00:00:01") / v4 / tcp)
    yield _drop("not_ip", Ether(**LINK, type=0x88CC) / Raw(bytes(46)))
    yield _drop("not_ip", Ether(**LINK, type=46) / Raw(bytes(46)))
    yield _drop("not_ip", Ether(**LINK, type=0x8847) / Raw(bytes(46)))
    yield _drop("wrong_mac", Ether(src=CLIENT_MAC, dst="02:00:00:00:00:02") / v4 / tcp)
    yield _drop("no_vip", link / IP(src=FROM4, dst="203.0.113.11") / tcp)
    yield _drop("no_vip", link / IPv6(src=FROM6, dst="2001:db8:f::11") / tcp)
    yield _drop("no_vip", link / IPv6(src=FROM6, dst=f"::ffff:{V4}") / tcp)
    yield _drop("no_vip", link / IPv6(src=FROM6, dst=f"::{V4}") / tcp)
    yield _drop("no_vip", link / IP(src=FROM4, dst="192.0.2.1") / ICMP())
    yield _drop("no_service", link / v4 / TCP(sport=9, dport=81))
    yield _drop("no_service", link / v4 / TCP(sport=9, dport=53))
    yield _drop("no_service", link / v6 / UDP(sport=9, dport=80))
    yield _drop("unsupported_protocol", link / IP(src=FROM4, dst=V4, proto=132) / Raw(bytes(12)))
    yield _drop("unsupported_protocol", link / IP(src=FROM4, dst=V4, proto=47) / Raw(bytes(12)))
    yield _drop("unsupported_protocol", link / IPv6(src=FROM6, dst=V6, nh=50) / Raw(bytes(12)))
    yield _drop("unsupported_protocol", link / IPv6(src=FROM6, dst=V6, nh=59))


def icmp():
    """ICMP to a virtual address that gets no reply and is not steered."""
    v4, v6 = Ether(**LINK) / IP(src=FROM4, dst=V4), Ether(**LINK) / IPv6(src=FROM6, dst=V6)
    yield _drop("icmp_unsupported", v4 / ICMP(type=13))
    yield _drop("icmp_unsupported", v4 / ICMP(type=0) / Raw(b"pong"))
    yield _drop("icmp_unsupported", v6 / ICMPv6ND_RS())
    yield _drop("icmp_malformed", v4 / ICMP(chksum=1) / Raw(b"ping"))
    yield _drop("icmp_malformed", v6 / ICMPv6EchoRequest(data=b"ping", cksum=1))
    route = [IPOption(b"\x83\x07\x04\x0a\0\0\x01"), IPOption(b"\0")]
    yield _drop("source_routed", Ether(**LINK) / IP(src=FROM4, dst=V4, options=route) / ICMP())
    quoted4, quoted6 = IP(src=V4, dst=FROM4) / TCP(sport=81, dport=9), IPv6(src=V6, dst=FROM6) / UDP(sport=80, dport=9)
    yield _drop("icmp_unknown_flow", v4 / ICMP(type=3, code=1) / Raw(bytes(quoted4)))
    yield _drop("icmp_unknown_flow", v6 / ICMPv6DestUnreach(code=1) / Raw(bytes(quoted6)))
    yield _drop("icmp_embedded_malformed", v4 / ICMP(type=3, code=1) / Raw(bytes(quoted4)[:22]))
    yield _drop("icmp_embedded_malformed", v6 / ICMPv6DestUnreach(code=1) / Raw(bytes(quoted6)[:42]))


def fragments():
    """Fragments that are dropped, one datagram for each reason."""
    v4, v6 = IP(src=FROM4, dst=V4), IPv6(src=FROM6, dst=V6)
    udp, link = UDP(sport=9, dport=53), Ether(**LINK)
    # The first is lost.
    for part in fragment(v4 / udp / Raw(b"x" * 2000), 800)[1:]:
        yield _drop("fragment_timeout", link / part)
    for offset, more in ((10, 1), (20, 0)):
        header = IPv6ExtHdrFragment(nh=17, offset=offset, m=more, id=7)
        yield _drop("fragment_timeout", link / v6 / header / Raw(b"x" * 16))
    for version, number in ((4, 2), (6, 8)):
        for verdict, protocol, offset, more, data in (
            ("fragment_tiny", 6, 0, 1, bytes(TCP(sport=9, dport=80))[:16]),
            ("fragment_malformed", 17, 60, 1, b"x" * 12),
            ("fragment_malformed", 17, 8191, 0, b"x" * 8),
        ):
            if version == 4:
                packet = IP(src=FROM4, dst=V4, id=number, proto=protocol, frag=offset, flags="MF" if more else 0)
            else:
                packet = v6 / IPv6ExtHdrFragment(nh=protocol, offset=offset, m=more, id=number)
            number += 1
            yield _drop(verdict, link / packet / Raw(data))


def random_bytes(seed, count):
    """Noise to the appliance, of unknown ethertypes."""
    source = random.Random(seed)
    for _ in range(count):
        ethertype = source.randrange(0x9000, 0x10000)
        noise = source.randbytes(source.randrange(0, 200))
        yield _drop("not_ip", Ether(**LINK, type=ethertype) / Raw(noise))


def wild_bytes(seed, count):
    """Noise behind a known ethertype: every frame is malformed, for a reason that depends on the bytes."""
    source = random.Random(seed)
    for _ in range(count):
        ethertype = source.choice((0x0800, 0x86DD, 0x8100, 0x88A8))
        yield bytes(Ether(**LINK, type=ethertype) / Raw(source.randbytes(source.randrange(0, 200))))


def everything(seed=1):
    """All frames above whose drop reason is known."""
    return [*truncated(), *malformed(), *not_ours(), *icmp(), *fragments(), *random_bytes(seed, 50)]
