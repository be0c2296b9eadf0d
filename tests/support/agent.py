"""`guideway-agent` in a namespace, and the tunnel packets that it receives, built by scapy."""

import re
import select
import signal
import struct
import subprocess

from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from . import binaries

LOCAL = {4: "192.0.2.11", 6: "2001:db8:1::11"}
FORWARDER = {4: "192.0.2.1", 6: "2001:db8:1::1"}
VIP = {4: "203.0.113.10", 6: "2001:db8:f::10"}
CLIENT = {4: "198.51.100.1", 6: "2001:db8:c::1"}
TUN = "gw-tun0"
MAC = "02:00:00:00:00:11"

ETHERTYPE = {4: 0x0800, 6: 0x86DD}
PROTOCOL = {4: 4, 6: 41}


def inner_packet(version, payload=b"", traffic_class=0, destination=None):
    """A client's packet to the virtual address."""
    destination = destination or VIP[version]
    if version == 4:
        network = IP(src=CLIENT[4], dst=destination, tos=traffic_class, id=7)
    else:
        network = IPv6(src=CLIENT[6], dst=destination, tc=traffic_class, fl=0x54321)
    return bytes(network / UDP(sport=40000, dport=5300) / Raw(payload))


def outer(version, protocol, payload, traffic_class=0, source=None):
    source = source or FORWARDER[version]
    if version == 4:
        return IP(src=source, dst=LOCAL[4], proto=protocol, tos=traffic_class) / payload
    return IPv6(src=source, dst=LOCAL[6], nh=protocol, tc=traffic_class) / payload


def datagram(version, port, payload, checksum, **options):
    """UDP from a port of flow entropy; with `checksum` None scapy computes the checksum."""
    return outer(version, 17, UDP(sport=51234, dport=port, chksum=checksum) / payload, **options)


def gue0_header(inner, private=b""):
    return struct.pack("!BBH", len(private) // 4, PROTOCOL[inner[0] >> 4], 0) + private


def ethertype(inner):
    return ETHERTYPE[inner[0] >> 4]


LABELS = MPLS(label=1000, cos=5, s=0, ttl=64) / MPLS(label=16, s=1, ttl=64)

# Encapsulations over IP: the IP protocol, and header and inner packet.
OVER_IP = {
    "gre": lambda inner: (47, GRE(proto=ethertype(inner)) / Raw(inner)),
    "gre with key": lambda inner: (47, GRE(proto=ethertype(inner), key_present=1, key=0xCAFE) / Raw(inner)),
    "mpls-gre": lambda inner: (47, GRE(proto=0x8847) / LABELS / Raw(inner)),
    "ipip": lambda inner: (PROTOCOL[inner[0] >> 4], Raw(inner)),
}
# Encapsulations over UDP: the port, and header and inner packet.
OVER_UDP = {
    "gue": lambda inner: (6080, Raw(inner)),
    "gue0": lambda inner: (6080, Raw(gue0_header(inner) + inner)),
    "gue0 with private data": lambda inner: (6080, Raw(gue0_header(inner, b"private.") + inner)),
    "gre-udp": lambda inner: (4754, GRE(proto=ethertype(inner)) / Raw(inner)),
    "vxlan": lambda inner: (
        4789,
        VXLAN(vni=5000) / Ether(dst=MAC, src="02:00:00:00:00:01", type=ethertype(inner)) / Raw(inner),
    ),
    "geneve": lambda inner: (6081, GENEVE(proto=ethertype(inner), vni=5000) / Raw(inner)),
    "geneve with an option": lambda inner: (
        6081,
        GENEVE(proto=ethertype(inner), vni=5000, options=[GeneveOptions(classid=0x102, type=3, data=b"data")]) / Raw(inner),
    ),
    "mpls-udp": lambda inner: (6635, LABELS / Raw(inner)),
}
# Encapsulations that the agent counts as another one.
COUNTER = {"mpls-gre": "gre", "gue0": "gue"}


def encapsulation(name):
    """The encapsulation of a row of the two tables."""
    return name.split(" with ")[0]


def counter(name):
    """The agent's counter for a row of the two tables."""
    name = encapsulation(name)
    return "by_" + COUNTER.get(name, name)


def ready(*without):
    """The words of the agent's first line, if the agent receives all encapsulations but these."""
    names = {counter(name).removeprefix("by_") for name in (*OVER_IP, *OVER_UDP)}
    return {"ready:", TUN, "receives"} | names - set(without)


def tunnel(name, version, inner, checksum=0, **options):
    """An outer IP packet (scapy's) of that version around `inner` (bytes)."""
    if name in OVER_IP:
        return outer(version, *OVER_IP[name](inner), **options)
    return datagram(version, *OVER_UDP[name](inner), checksum, **options)


def frame(packet):
    """The packet as a frame on the cable to the agent."""
    return bytes(Ether(dst=MAC, src="02:00:00:00:00:01", type=ETHERTYPE[packet.version]) / packet)


class Host:
    """A server: a namespace's cable with the addresses that forwarders tunnel to."""

    def __init__(self, namespace, interface="gw0"):
        self.namespace = namespace
        self.peer = namespace.cable(interface)
        for line in (
            ("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", f"net.ipv4.conf.{interface}.rp_filter=0"),
            ("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", f"net.ipv6.conf.{interface}.disable_ipv6=0"),
            ("ip", "link", "set", "lo", "up"),
            ("ip", "link", "set", interface, "address", MAC),
            ("ip", "address", "add", f"{LOCAL[4]}/24", "dev", interface),
            ("ip", "address", "add", f"{LOCAL[6]}/64", "dev", interface, "nodad"),
        ):
            subprocess.run(namespace.command(*line), check=True, timeout=30)


class Agent:
    """The agent, started on entry and ended on exit. No address and no interface may remain."""

    def __init__(self, host, *arguments):
        self.host = host
        self.line = [binaries.directory() / "guideway-agent", *arguments]
        self.ready = self.errors = ""

    def __enter__(self):
        self.process = subprocess.Popen(
            self.host.namespace.command(*self.line), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        self.ready = self._line()
        assert self.ready.startswith("ready: "), (self.ready, self.process.stderr.read())
        return self

    def __exit__(self, *_):
        self.process.terminate()
        _, self.errors = self.process.communicate(timeout=10)
        assert self.process.returncode == 0, self.errors
        line = self.host.namespace.command("ip", "-o", "address")
        remaining = subprocess.run(line, capture_output=True, text=True, check=True, timeout=30).stdout
        assert TUN not in remaining and VIP[4] not in remaining and VIP[6] not in remaining, remaining

    def _line(self):
        assert select.select([self.process.stdout], [], [], 10)[0], "the agent prints nothing"
        return self.process.stdout.readline()

    def counters(self):
        self.process.send_signal(signal.SIGUSR1)
        return {name: int(value) for name, value in re.findall(r"(\S+)=(\d+)", self._line())}
