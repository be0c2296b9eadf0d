"""Client packets and the tunnel packets that they must become: built by scapy, compared as bytes."""

import struct
from dataclasses import dataclass, replace

from scapy.layers.inet import IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import GRE, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import checksum

from .model import Flow

APPLIANCE_MAC = "02:00:00:00:00:01"
CLIENT_MAC = "02:00:00:00:00:fe"
VIP = {4: "203.0.113.10", 6: "2001:db8:f::10"}
PORT = {"tcp": 80, "udp": 53}

# Tags by name: (class, VLAN, priority) of each.
TAGS = {
    "untagged": (),
    "one tag": ((Dot1Q, 100, 5),),
    "service tag": ((Dot1AD, 7, 0),),
    "two tags": ((Dot1Q, 7, 1), (Dot1Q, 4094, 0)),
    "service and customer tag": ((Dot1AD, 4000, 7), (Dot1Q, 1, 3)),
}

# IPv4 options and IPv6 extension headers, by family.
EXTRAS = {
    4: {
        "plain": [],
        "router alert": [IPOption(b"\x94\x04\x00\x00")],
        "record route": [IPOption(b"\x07\x27\x04" + bytes(36)), IPOption(b"\x00")],
    },
    6: {
        "plain": [],
        "hop-by-hop": [IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])],
        "destination options": [IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)])],
        "routing": [IPv6ExtHdrRouting(addresses=["2001:db8:f::10"], segleft=0)],
        "all": [
            IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]),
            IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]),
            IPv6ExtHdrRouting(addresses=["2001:db8:f::10"], segleft=0),
            IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 20)]),
        ],
    },
}


@dataclass(frozen=True)
class Sent:
    """A frame, its expected verdict and the packets that must leave for it."""

    frame: bytes
    verdict: str = "forwarded"
    flow: Flow = None
    inner: bytes = b""
    tags: tuple = ()
    traffic_class: int = 0
    reply: bytes = b""  # the frame to its sender, by edge0
    fragments: tuple = ()  # the inner packets that must leave in its place

    def dropped(self, verdict):
        return replace(self, verdict=verdict)

    def replied(self, verdict, reply):
        return replace(self, verdict=verdict, reply=reply)

    def fragmented(self, fragments):
        return replace(self, fragments=tuple(bytes(fragment) for fragment in fragments))

    def inners(self):
        """The inner packets that leave if the packet is forwarded."""
        return self.fragments or (self.inner,)


def flow(version=4, protocol="tcp", client=1, sport=40000):
    source = f"198.51.100.{client}" if version == 4 else f"2001:db8:c::{client:x}"
    return Flow(source, VIP[version], sport, PORT[protocol], protocol)


def client_packet(
    flow,
    *,
    tags=(),
    extra=(),
    traffic_class=0,
    flags="S",
    payload=b"",
    pad=0,
    mac=APPLIANCE_MAC,
    dont_fragment=False,
    **ip_fields,
):
    """A client's packet. `pad`: the frame's least length, filled with bytes other than zero."""
    if flow.protocol == "tcp":
        transport = TCP(sport=flow.sport, dport=flow.dport, flags=flags, seq=1)
    else:
        transport = UDP(sport=flow.sport, dport=flow.dport)
    if ":" in flow.source:
        packet = IPv6(src=flow.source, dst=flow.destination, tc=traffic_class, fl=0x54321, **ip_fields)
        for header in extra:
            packet = packet / header
    else:
        packet = IP(src=flow.source, dst=flow.destination, tos=traffic_class, options=list(extra), **ip_fields)
        packet.flags = "DF" if dont_fragment else 0
    packet = packet / transport / Raw(payload)
    inner = bytes(packet)
    frame = bytes(_link(mac, CLIENT_MAC, tags, packet))
    frame += b"\xa5" * (pad - len(frame))
    return Sent(frame, "forwarded", flow, inner, tuple(tags), traffic_class)


def tunnel_packet(config, fleet, sent):
    """The port (its name) and the frame that must leave for a client packet. An IPv6 flow label is 0
    here; see `split_label`."""
    backend = fleet.backend(sent.flow)
    port, mac = config.next_hop(backend)
    inner = IPv6(sent.inner) if ":" in sent.flow.source else IP(sent.inner)
    gre = GRE(proto=0x86DD if inner.version == 6 else 0x0800)
    if ":" in backend:
        outer = IPv6(src=config.tunnel_source(6), dst=backend, hlim=64, tc=sent.traffic_class, nh=47)
    else:
        outer = IP(src=config.tunnel_source(4), dst=backend, ttl=64, flags="DF", id=0, tos=sent.traffic_class, proto=47)
    packet = outer / gre / Raw(sent.inner)
    return port["name"], bytes(_link(mac, port["mac"], sent.tags, packet))


def _link(destination, source, tags, packet):
    # Scapy would choose a wrong type between Dot1AD and Dot1Q.
    types = [0x88A8 if tag is Dot1AD else 0x8100 for tag, _, _ in tags]
    types.append(0x86DD if packet.version == 6 else 0x0800)
    frame = Ether(dst=destination, src=source, type=types[0])
    for (tag, vlan, priority), ethertype in zip(tags, types[1:], strict=True):
        frame = frame / tag(vlan=vlan, prio=priority, type=ethertype)
    return frame / packet


def hop(frame):
    """The frame with one hop less in its packet."""
    offset = l3_offset(frame)
    return frame[:offset] + lowered(frame[offset:])


def lowered(packet):
    """An IP packet, and any bytes behind it, with one hop less."""
    if packet[0] >> 4 == 6:
        return packet[:7] + bytes([packet[7] - 1]) + packet[8:]
    header = bytearray(packet[: (packet[0] & 15) * 4])
    header[8] -= 1
    header[10:12] = bytes(2)
    header[10:12] = struct.pack("!H", checksum(bytes(header)))
    return bytes(header) + packet[len(header) :]


def split_label(frame):
    """The frame with the flow label of its IPv6 header set to zero, and the label; None for IPv4."""
    offset = l3_offset(frame)
    if frame[offset] >> 4 != 6:
        return frame, None
    (word,) = struct.unpack_from("!I", frame, offset)
    return frame[:offset] + struct.pack("!I", word & 0xFFF00000) + frame[offset + 4 :], word & 0xFFFFF


def l3_offset(frame):
    """The offset of the IP header."""
    offset = 14
    while frame[offset - 2 : offset] in (b"\x81\x00", b"\x88\xa8"):
        offset += 4
    return offset


def inner_of(frame):
    """The inner packet of a GRE frame without optional fields."""
    offset = l3_offset(frame)
    return frame[offset + (44 if frame[offset] >> 4 == 6 else 24) :]
