"""The appliance's replies, the fragments that it makes, and ICMP errors for it to steer: built by scapy."""

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Dot1AD, Ether
from scapy.packet import Raw

from .model import Fleet
from .packets import APPLIANCE_MAC, CLIENT_MAC, VIP, Sent

CLIENT = {4: "198.51.100.1", 6: "2001:db8:c::1"}
ROUTER = {4: "203.0.113.254", 6: "2001:db8:7::7"}


def link(packet, tags=(), back=False):
    """A frame between the client's side and the appliance; `back`: towards the client."""
    source, destination = (APPLIANCE_MAC, CLIENT_MAC) if back else (CLIENT_MAC, APPLIANCE_MAC)
    types = [0x88A8 if tag is Dot1AD else 0x8100 for tag, _, _ in tags]
    types.append(0x86DD if packet.version == 6 else 0x0800)
    frame = Ether(dst=destination, src=source, type=types[0])
    for (tag, vlan, priority), ethertype in zip(tags, types[1:], strict=True):
        frame = frame / tag(vlan=vlan, prio=priority, type=ethertype)
    return bytes(frame / packet)


def ip(version, source, destination, **fields):
    if version == 6:
        return IPv6(src=source, dst=destination, **fields)
    return IP(src=source, dst=destination, **fields)


def inner_mtu(config, flow_):
    """The longest packet that fits in GRE to the backend of its flow."""
    return 1500 - (44 if ":" in Fleet(config).backend(flow_) else 24)


def echo(version, *, data=b"ping", number=1, tags=(), source=None, vip=None, extra=(), pad=0, **fields):
    """An echo request, its verdict and the replies that must leave."""
    source, vip = source or CLIENT[version], vip or VIP[version]
    if version == 4:
        message = {"id": 7, "seq": number}
        request = IP(src=source, dst=vip, id=number, ttl=57, options=list(extra), **fields)
        request = request / ICMP(type=8, **message) / Raw(data)
        # A reply does not echo congestion (RFC 3168).
        fields = {**fields, **({"tos": fields["tos"] & ~3} if "tos" in fields else {})}
        reply = IP(src=vip, dst=source, id=number, ttl=64, options=list(extra), **fields)
        reply = reply / ICMP(type=0, **message) / Raw(data)
    else:
        request = IPv6(src=source, dst=vip, hlim=57, **fields)
        for header in extra:
            request = request / header
        request = request / ICMPv6EchoRequest(id=7, seq=number, data=data)
        fields = {**fields, **({"tc": fields["tc"] & ~3} if "tc" in fields else {})}
        reply = IPv6(src=vip, dst=source, hlim=64, **fields) / ICMPv6EchoReply(id=7, seq=number, data=data)
    frame = link(request, tags)
    return frame + b"\xa5" * (pad - len(frame)), "echo_replied", [link(reply, tags, back=True)]


def about(version, packet, v4, v6):
    """The error that quotes as much of a packet as allowed: 576 bytes in all (RFC 1812 section 4.3.2.3),
    or 1280 (RFC 4443 section 2.4)."""
    quoted = bytes(packet)[: 548 if version == 4 else 1232]
    error = v4 if version == 4 else v6
    # Precedence 6: RFC 1812 section 4.3.2.5.
    back = {"ttl": 64, "id": 0, "tos": 0xC0} if version == 4 else {"hlim": 64}
    return ip(version, VIP[version], packet.src, **back) / error / Raw(quoted)


def ipv4_fragments(packet, mtu):
    """The fragments of an IPv4 packet, or of a fragment, by RFC 791."""
    payload = bytes(packet)[packet.ihl * 4 :]
    first = list(packet.options)
    later = [option for option in first if bytes(option)[0] & 0x80]
    fragments, offset = [], 0
    while True:
        options = later if fragments else first
        length = 20 + (sum(len(bytes(option)) for option in options) + 3) // 4 * 4
        last = len(payload) - offset <= mtu - length
        size = len(payload) - offset if last else (mtu - length) // 8 * 8
        header = IP(src=packet.src, dst=packet.dst, id=packet.id, tos=packet.tos, ttl=packet.ttl, proto=packet.proto)
        header.options, header.frag, header.flags = options, packet.frag + offset // 8, packet.flags if last else "MF"
        fragments.append(header / Raw(payload[offset : offset + size]))
        offset += size
        if last:
            return fragments


def error_about(one):
    """An ICMP error that quotes a packet from the virtual address to the client of a flow."""
    version = 6 if ":" in one.source else 4
    transport = (TCP if one.protocol == "tcp" else UDP)(sport=one.dport, dport=one.sport)
    quoted = ip(version, one.destination, one.source) / transport / Raw(b"quoted")
    message = ICMP(type=3, code=4, nexthopmtu=1400) if version == 4 else ICMPv6PacketTooBig(mtu=1400)
    packet = ip(version, ROUTER[version], one.destination) / message / Raw(bytes(quoted))
    return Sent(link(packet), "forwarded", one, bytes(packet))
