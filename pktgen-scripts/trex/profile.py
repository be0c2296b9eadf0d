"""The traffic of capture.py as a stateless profile for TRex, with any number of flows.

    start -f profile.py -m 10mpps -p 0 -t --profile flows --flows 1000000

flows, syn      TCP to one service, --flows of them, --size bytes on the wire (64)
constant        one TCP flow
imix            TCP of 64, 594 and 1518 bytes, 7 to 4 to 1, --flows of each
ipv6            TCP over IPv6, 60,000 flows, 78 bytes or --size if that is more
fragments       UDP datagrams of 1,200 bytes in three fragments, whose order TRex chooses

--latency adds 1,000 probes per second, over UDP. TRex recognizes a returning probe by its outermost IP header, so
probes must return without a tunnel: the encapsulation must be "l2".

Ports and addresses change from packet to packet. The IPv4 checksum is updated, the TCP checksum is not, because
the appliance does not check it.
"""

import argparse

from trex_stl_lib.api import (
    IP,
    TCP,
    UDP,
    Ether,
    IPv6,
    Raw,
    STLFlowLatencyStats,
    STLPktBuilder,
    STLStream,
    STLTXCont,
    STLVmFixIpv4,
    STLVmFlowVar,
    STLVmTupleGen,
    STLVmWrFlowVar,
)

PROFILES = ("flows", "syn", "constant", "imix", "ipv6", "fragments")
CHECKSUM = 4
VIP4, VIP6 = "203.0.113.10", "2001:db8:f::10"
FIRST_CLIENT, LAST_CLIENT = "198.18.0.1", "198.18.0.250"
FIRST_PORT, LAST_PORT = 1024, 61023
# Offset of the last two bytes of the IPv6 source address, after Ethernet.
IPV6_SOURCE_END = 14 + 8 + 14
IMIX = ((64, 7), (594, 4), (1518, 1))
# Microseconds between the starts of streams that belong together, so that their packets do not form bursts.
APART = 10.0
PROBES, PROBE_GROUP = 1000, 7


class Guideway:
    def get_streams(self, tunables=(), **_):
        parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
        parser.add_argument("--profile", default="flows", choices=PROFILES)
        parser.add_argument("--flows", type=int, default=60000, help="up to 15 million")
        parser.add_argument("--size", type=int, default=64, help="bytes on the wire, checksum included")
        parser.add_argument("--mac", default="02:00:00:00:00:01", help="of the appliance's port")
        parser.add_argument("--latency", action="store_true")
        self.options = parser.parse_args(list(tunables))
        streams = getattr(self, self.options.profile)()
        if self.options.latency:
            streams.append(self.probes())
        return streams

    def flows(self):
        return [self.tcp(self.options.size)]

    def syn(self):
        return [self.tcp(self.options.size, flags="S")]

    def constant(self):
        return [stream(self.ipv4(self.options.size, TCP(sport=FIRST_PORT, dport=80, flags="A")))]

    def imix(self):
        return [self.tcp(size, pps=share, isg=APART * place) for place, (size, share) in enumerate(IMIX)]

    def ipv6(self):
        headers = IPv6(src="2001:db8:c::1", dst=VIP6) / TCP(sport=FIRST_PORT, dport=80, flags="A")
        steps = [
            STLVmFlowVar(name="client", min_value=1, max_value=250, size=2, op="inc"),
            STLVmWrFlowVar(fv_name="client", pkt_offset=IPV6_SOURCE_END),
            STLVmFlowVar(name="port", min_value=FIRST_PORT, max_value=LAST_PORT, size=2, op="inc"),
            STLVmWrFlowVar(fv_name="port", pkt_offset="TCP.sport"),
        ]
        return [stream(self.framed(max(self.options.size, 78), headers), steps)]

    def fragments(self):
        """A stream for each fragment. The streams count alike, so that the fragments belong together."""
        udp = bytes(UDP(sport=FIRST_PORT, dport=53, len=1200, chksum=0)) + bytes(1192)
        streams = []
        for place in range(3):
            more = "MF" if place < 2 else 0
            ip = IP(src=FIRST_CLIENT, dst=VIP4, proto=17, flags=more, frag=50 * place)
            packet = self.ether() / ip / Raw(udp[400 * place : 400 * (place + 1)])
            steps = [
                STLVmFlowVar(name="id", min_value=1, max_value=65535, size=2, op="inc"),
                STLVmWrFlowVar(fv_name="id", pkt_offset="IP.id"),
                STLVmFixIpv4(offset="IP"),
            ]
            streams.append(stream(packet, steps, isg=APART * place))
        return streams

    def probes(self):
        packet = self.ipv4(96, UDP(sport=FIRST_PORT, dport=53))
        return stream(packet, pps=PROBES, flow_stats=STLFlowLatencyStats(pg_id=PROBE_GROUP))

    def tcp(self, size, flags="A", pps=1, isg=0.0):
        packet = self.ipv4(size, TCP(sport=FIRST_PORT, dport=80, flags=flags))
        steps = [
            STLVmTupleGen(
                name="flow",
                ip_min=FIRST_CLIENT,
                ip_max=LAST_CLIENT,
                port_min=FIRST_PORT,
                port_max=LAST_PORT,
                limit_flows=self.options.flows,
            ),
            STLVmWrFlowVar(fv_name="flow.ip", pkt_offset="IP.src"),
            STLVmWrFlowVar(fv_name="flow.port", pkt_offset="TCP.sport"),
            STLVmFixIpv4(offset="IP"),
        ]
        return stream(packet, steps, pps=pps, isg=isg)

    def ipv4(self, size, transport):
        return self.framed(size, IP(src=FIRST_CLIENT, dst=VIP4) / transport)

    def framed(self, size, packet):
        frame = self.ether() / packet
        room = size - CHECKSUM - len(frame)
        return frame / Raw(bytes(room)) if room > 0 else frame

    def ether(self):
        return Ether(src="02:00:00:00:00:fe", dst=self.options.mac)


def stream(packet, steps=(), pps=1, isg=0.0, **rest):
    return STLStream(packet=STLPktBuilder(pkt=packet, vm=list(steps) or None), mode=STLTXCont(pps=pps), isg=isg, **rest)


def register():
    return Guideway()
