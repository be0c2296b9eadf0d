"""BIRD beside the appliance: BGP with BFD, 3 x 100 ms, over the port's interface, from its address and from a loopback.

GUIDEWAY_BGP_SECONDS (2) is how long the sessions must stay up under each burden.
"""

import contextlib
import os
import subprocess
import time

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from support import hosts
from support.bird import Bird, Session
from support.hosts import INTERFACE, Fabric, Flood, arrivals, pool, running, wait_for_states, wait_until
from support.network import Traffic
from support.packets import client_packet, flow

SECONDS = float(os.environ.get("GUIDEWAY_BGP_SECONDS", "2"))
NODE, ROUTER = "10.255.0.1", "10.255.0.2"
NODE_MAC = hosts.APPLIANCE_MAC["gw0"]
BROADCAST = "ff:ff:ff:ff:ff:ff"
# Frames a second of each burden.
DATA, ARP_FLOOD, BGP_FLOOD, UDP_FLOOD = 5_000, 5_000, 5_000, 2_000


@pytest.fixture
def fabric(root):
    with Fabric() as made:
        made.end = made.cable("gw0", made.bridge("edge"))
        yield made


class Site:
    """An appliance with BIRD in its namespace, and a router that announces the backends."""

    def __init__(self, fabric, directory):
        self.fabric = fabric
        self.directory = directory
        self.router = fabric.host("edge", "192.0.2.254/24", "2001:db8::fe/64")
        self.attacker = fabric.host("edge", "192.0.2.66/24")
        for host in (self.router, self.attacker):
            host.knows_the_node()

    @contextlib.contextmanager
    def up(self):
        def change(config):
            pool(config, ["10.9.0.7", "2001:db8:b::7"])
            config["punt"] = {"routing_peers": [f"{ROUTER}/32"]}

        config = hosts.configuration(self.directory, change=change)
        with contextlib.ExitStack() as stack:
            self.daemon = stack.enter_context(running(self.fabric, config, self.directory))
            self._loopbacks()
            self.node = stack.enter_context(Bird(self.fabric.lb, self.directory, NODE, *self._sessions(True)))
            self.peer = stack.enter_context(Bird(self.router, self.directory, ROUTER, *self._sessions(False)))
            self.wait()
            wait_for_states(self.daemon, "active")
            yield self

    def _loopbacks(self):
        for host, own, other, via in ((self.fabric.lb, NODE, ROUTER, "192.0.2.254"), (self.router, ROUTER, NODE, "192.0.2.1")):
            host.ip("address", "add", f"{own}/32", "dev", "lo")
            host.ip("route", "add", f"{other}/32", "via", via)

    @staticmethod
    def _sessions(is_node):
        ends = (("192.0.2.1", "192.0.2.254"), ("2001:db8::1", "2001:db8::fe"), (NODE, ROUTER))
        ends = ends if is_node else [end[::-1] for end in ends]
        numbers = (65001, 65000) if is_node else (65000, 65001)
        prefixes = ([], [], []) if is_node else (["10.9.0.0/16"], ["2001:db8:b::/48"], [])
        names = ("four", "six", "loopback")
        return [
            Session(name, *end, *numbers, is_multihop=name == "loopback", announced=announced)
            for name, end, announced in zip(names, ends, prefixes, strict=True)
        ]

    def wait(self):
        return max(bird.wait() for bird in (self.node, self.peer))

    @contextlib.contextmanager
    def stays_up(self):
        """No session may go down meanwhile, at either end."""
        before = [len(bird.log()) for bird in (self.node, self.peer)]
        yield
        for bird, since in zip((self.node, self.peer), before, strict=True):
            lost = bird.losses(since)
            assert not lost, "\n".join([*lost, str(self.daemon.ask("punt", "list")), self.daemon.log()])
            assert bird.states()


@pytest.fixture
def site(fabric, directory):
    with Site(fabric, directory).up() as made:
        yield made


def link(destination=NODE_MAC):
    return Ether(dst=destination, src="02:00:00:00:06:66")


def arp_flood(site):
    """Requests for the node's address from ever other hosts, none of which is a router."""
    frame = bytes(link(BROADCAST) / ARP(op=1, hwsrc="02:00:00:00:06:66", psrc="10.66.0.0", pdst="192.0.2.1"))
    # The last words of the sender's MAC and IP addresses.
    return Flood(site.attacker, frame, ARP_FLOOD, 26, 30)


def bgp_flood(site):
    """Connections to port 179 from ever other ports, by one who is not configured and not on the link."""
    frame = bytes(link() / IP(src="198.51.100.66", dst="192.0.2.1") / TCP(sport=1024, dport=179, flags="S", seq=0x10000))
    # The port, and a word of the sequence number.
    return Flood(site.attacker, frame, BGP_FLOOD, (34, 40))


def udp_flood(site):
    frame = link() / IP(src="198.51.100.66", dst="192.0.2.1") / UDP(sport=1024, dport=9, chksum=0) / bytes(64)
    return Flood(site.attacker, bytes(frame), UDP_FLOOD, 34)


@contextlib.contextmanager
def pings(site):
    """Pings to the node by its neighbour, as fast as they are answered."""
    process = site.attacker.start("ping", "-q", "-i", "0.002", "192.0.2.1", stdout=subprocess.PIPE)
    yield
    process.send_signal(2)
    assert " 0 received" not in process.communicate(timeout=10)[0]


def data(site):
    flows = [flow(version, "udp", 7, 6000 + n) for n in range(50) for version in (4, 6)]
    templates = [client_packet(one, payload=bytes(8)).frame for one in flows]
    return Traffic(site.attacker, INTERFACE, templates, DATA)


BURDENS = {"data": data, "arp": arp_flood, "pings": pings, "udp": udp_flood, "bgp": bgp_flood}


@pytest.mark.parametrize("burdens", (*BURDENS, "data arp pings udp bgp"))
def test_sessions_stay_up(site, burdens):
    with contextlib.ExitStack() as stack, site.stays_up():
        for name in burdens.split():
            stack.enter_context(BURDENS[name](site))
        with site.router.capture() as capture:
            time.sleep(SECONDS)
            # Forwarding goes on as well.
            assert ("data" in burdens) == bool(arrivals(capture, site.router.mac))


def test_a_lost_link_is_seen_and_the_sessions_return(site):
    """BFD at the router, the link at the node. The backends are lost with their routes, and come back with them."""
    site.fabric.switch.ip("link", "set", site.fabric.end, "down")
    wait_until(lambda: site.peer.losses(), 2)
    wait_for_states(site.daemon, "unreachable", 5)
    site.fabric.switch.ip("link", "set", site.fabric.end, "up")
    print(f"all sessions are up again after {site.wait():.1f} s")
    wait_for_states(site.daemon, "active", 10)


def test_a_hundred_starts_of_tcpdump(site):
    with site.stays_up(), data(site):
        for _ in range(100):
            line = ("tcpdump", "-n", "-i", "edge0", "-w", "/dev/null")
            process = site.fabric.lb.start(*line, stderr=subprocess.PIPE)
            assert "listening on edge0" in process.stderr.readline()
            process.terminate()
            process.communicate(timeout=10)


def test_the_forwarder_starts_again(site):
    """The interface goes with the process, and the sessions with it. A new process brings both back."""
    assert site.daemon.stop()[0] == 0
    wait_until(lambda: site.peer.losses(), 2)
    assert "edge0" not in {link["ifname"] for link in site.fabric.lb.show("link", "show")}
    with running(site.fabric, site.daemon.config, site.directory) as daemon:
        site.fabric.lb.ip("route", "replace", f"{ROUTER}/32", "via", "192.0.2.254")
        site.wait()
        wait_for_states(daemon, "active")
