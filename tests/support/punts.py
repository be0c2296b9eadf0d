"""Which frames the kernel gets, written a second time from docs/operations.md.

Frames are described, not parsed: a `Case` says what its frame is made of, and `punt_class` reads the description.
"""

import ipaddress
from dataclasses import dataclass

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

CLASSES = ("routing", "neighbor", "probe", "own", "link_local", "multicast")

# What a frame carries that is no IP packet, with its Ethertype.
OTHERS = {"arp": 0x0806, "lldp": 0x88CC, "slow": 0x8809, "unknown": 0x1234}

# Packets: what they are, and what scapy puts behind the IP header.
TCP_OR_UDP = {
    "bgp": TCP(sport=50000, dport=179),
    "bgp reply": TCP(sport=179, dport=50000),
    "ssh": TCP(sport=50000, dport=22),
    "bfd": UDP(sport=49152, dport=3784),
    "multihop bfd": UDP(sport=49152, dport=4784),
    "bfd echo": UDP(sport=49152, dport=3785),
    "udp 179": UDP(sport=49152, dport=179),
}
PROTOCOLS = {"ospf": 89, "vrrp": 112, "pim": 103}
V6_ONLY = {"solicitation": ICMPv6ND_NS(tgt="2001:db8::1"), "advertisement": ICMPv6ND_NA(tgt="2001:db8::1")}
PACKETS = (*TCP_OR_UDP, *PROTOCOLS, *V6_ONLY, "ping")

GROUPS = {"ospf": {"224.0.0.5", "224.0.0.6", "ff02::5", "ff02::6"}, "vrrp": {"224.0.0.18", "ff02::12"}}
LINK_GROUP = "01:80:c2:00:00:02"


@dataclass(frozen=True)
class Node:
    """Addresses and networks as text."""

    mac: str
    own: tuple
    virtual: tuple
    on_link: tuple
    peers: tuple
    probing: tuple = ()


@dataclass(frozen=True)
class Case:
    """A frame. `mac` is "own", "other", "link group", "broadcast", or "group" for that of the destination."""

    mac: str
    tags: int
    content: str  # one of OTHERS or of PACKETS
    source: str = ""
    destination: str = ""
    hops: int = 64

    def frame(self, node, source_mac):
        mac = {"own": node.mac, "other": "02:00:00:00:09:09", "link group": LINK_GROUP}.get(self.mac, "ff:ff:ff:ff:ff:ff")
        if self.mac == "group":
            mac = group_mac(self.destination)
        frame = Ether(dst=mac, src=source_mac)
        for tag in range(self.tags):
            frame /= Dot1Q(vlan=100 + tag)
        if self.content == "arp":
            return bytes(frame / ARP())
        if self.content in OTHERS:
            frame.lastlayer().type = OTHERS[self.content]
            return bytes(frame / Raw(bytes(46)))
        return bytes(frame / self._packet())

    def _packet(self):
        v4 = ipaddress.ip_address(self.destination).version == 4
        number = PROTOCOLS.get(self.content)
        if v4:
            header = IP(src=self.source, dst=self.destination, ttl=self.hops)
        else:
            header = IPv6(src=self.source, dst=self.destination, hlim=self.hops)
        if number:
            setattr(header, "proto" if v4 else "nh", number)
            return header / Raw(bytes(24))
        if self.content == "ping":
            return header / (ICMP() if v4 else ICMPv6EchoRequest())
        return header / {**TCP_OR_UDP, **V6_ONLY}[self.content]


def group_mac(destination):
    """The MAC address of a multicast address: RFC 1112 section 6.4, RFC 2464 section 7."""
    packed = ipaddress.ip_address(destination).packed
    if len(packed) == 4:
        return f"01:00:5e:{packed[1] & 0x7F:02x}:{packed[2]:02x}:{packed[3]:02x}"
    return "33:33:" + ":".join(f"{byte:02x}" for byte in packed[-4:])


def punt_class(case, node):
    """The class that the kernel gets a frame in, without regard to limits; None if it does not."""
    if case.mac == "other" or case.tags > 2 or case.destination in node.virtual:
        return None
    if case.mac == "link group" or case.content in ("lldp", "slow"):
        return "link_local"
    if case.content == "arp":
        return "neighbor"
    is_group = case.mac != "own"
    if case.content not in OTHERS:
        is_own = case.destination in node.own + node.probing and not is_group
        found = _class_of_packet(case, node, is_own)
        if found in ("routing", "own") and case.destination in node.probing and case.source in node.virtual:
            return "probe"
        if found in ("routing", "own"):
            return found if _is_possible(case.source, node) else None
        if found:
            return found
    return "multicast" if is_group else None


def _class_of_packet(case, node, is_own):
    is_discovery = case.content in V6_ONLY and case.hops == 255
    if is_discovery and (is_own or ipaddress.ip_address(case.destination).is_multicast):
        return "neighbor"
    near = _is_in(case.source, node.on_link) or _is_in(case.source, ("fe80::/10",))
    trusted = near or case.hops == 255 or _is_in(case.source, node.peers)
    to_routing = is_own or case.destination in GROUPS.get(case.content, ())
    trusts = {"bfd echo": near, **dict.fromkeys(("bgp", "bgp reply", "bfd", "multihop bfd", "ospf", "vrrp"), trusted)}
    if to_routing and trusts.get(case.content):
        return "routing"
    return "own" if is_own else None


def _is_in(address, networks):
    address = ipaddress.ip_address(address)
    return any(address in ipaddress.ip_network(network) for network in networks)


def _is_possible(source, node):
    """docs/operations.md, "Sources", for packets to the node."""
    address = ipaddress.ip_address(source)
    if source in node.own + node.probing + node.virtual or address.is_multicast or address.is_loopback:
        return False
    return not _is_in(source, ("0.0.0.0/8", "240.0.0.0/4")) and not address.is_unspecified
