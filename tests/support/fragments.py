"""Datagrams that scapy fragments, and the cluster member that owns them."""

import ipaddress

from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.packet import Raw

from .model import maglev_table, siphash13
from .packets import APPLIANCE_MAC, CLIENT_MAC, Sent, flow

SLOTS = 4099
# Bytes of a fragment's data; a multiple of 8.
FRAGMENT_SIZE = 480


def frame_of(packet, mac=APPLIANCE_MAC, tags=()):
    frame = Ether(dst=mac, src=CLIENT_MAC, type=0x8100 if tags else 0x86DD if packet.version == 6 else 0x0800)
    for vlan in tags:
        frame = frame / Dot1Q(vlan=vlan, type=0x86DD if packet.version == 6 else 0x0800)
    return bytes(frame / packet)


def sent_of(ip, flow, verdict="forwarded"):
    """A packet to send, from the bytes of an IP packet."""
    packet = IPv6(ip) if ip[0] >> 4 == 6 else IP(ip)
    return Sent(frame_of(packet), verdict, flow, ip)


def datagram(flow, identification=7, count=3, size=FRAGMENT_SIZE):
    """The fragments of a UDP datagram, the last one 20 bytes long."""
    data = bytes(n % 251 for n in range((count - 1) * size - 8 + 20))
    transport = UDP(sport=flow.sport, dport=flow.dport) / Raw(data)
    if ":" in flow.source:
        whole = IPv6(src=flow.source, dst=flow.destination, hlim=60) / IPv6ExtHdrFragment(id=identification) / transport
        parts = fragment6(whole, 40 + 8 + size)
    else:
        whole = IP(src=flow.source, dst=flow.destination, id=identification, ttl=60) / transport
        parts = fragment(whole, fragsize=size)
    assert len(parts) == count
    return [sent_of(bytes(part), flow) for part in parts]


def fragment_at(flow, offset, data, more=True, identification=7, protocol=None):
    """One fragment of any offset and data."""
    number = protocol or {"tcp": 6, "udp": 17}[flow.protocol]
    if ":" in flow.source:
        header = IPv6ExtHdrFragment(id=identification, offset=offset // 8, m=int(more), nh=number)
        packet = IPv6(src=flow.source, dst=flow.destination, hlim=60) / header / Raw(data)
    else:
        packet = IP(
            src=flow.source,
            dst=flow.destination,
            id=identification,
            ttl=60,
            proto=number,
            flags="MF" if more else 0,
            frag=offset // 8,
        ) / Raw(data)
    return sent_of(bytes(packet), flow)


def transport_of(flow, size=0):
    """A transport header and `size` bytes of payload."""
    kind = TCP(sport=flow.sport, dport=flow.dport, flags="A", seq=1) if flow.protocol == "tcp" else None
    kind = kind or UDP(sport=flow.sport, dport=flow.dport, len=1000)
    return bytes(kind / Raw(b"g" * size))


def owner(config, flow, protocol=17):
    """The address of the member that owns the fragments of a flow."""
    key = bytes.fromhex(config["hash"]["key"])
    cluster = config["cluster"]
    up = tuple((member, 1) for member in cluster["members"] if member not in cluster.get("down", []))
    table = maglev_table(key, SLOTS, up)
    ends = ipaddress.ip_address(flow.source).packed + ipaddress.ip_address(flow.destination).packed
    # Over IPv6 the next headers of later fragments may differ (RFC 8200 section 4.5).
    key_bytes = ends if ":" in flow.source else ends + bytes([protocol])
    return table[(siphash13(key, key_bytes) * SLOTS) >> 64]


def redirected(config, sent, member):
    """The frame that redirects a fragment to another member."""
    port, mac = config.next_hop(member)
    inner = IPv6(sent.inner) if ":" in sent.flow.source else IP(sent.inner)
    gre = GRE(recursion_control=1, proto=0x86DD if inner.version == 6 else 0x0800)
    if ":" in member:
        outer = IPv6(src=config.tunnel_source(6), dst=member, hlim=64, nh=47)
    else:
        outer = IP(src=config.tunnel_source(4), dst=member, ttl=64, flags="DF", id=0, proto=47)
    link = Ether(dst=mac, src=port["mac"], type=0x86DD if outer.version == 6 else 0x0800)
    return bytes(link / outer / gre / Raw(sent.inner))


def udp_flow(version, client=1, sport=40000):
    return flow(version, "udp", client, sport)
