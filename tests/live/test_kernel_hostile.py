"""Floods and accidents on the kernel's side: each ends in a counter, a line of the log or an error, and forwarding goes on."""

import contextlib
import subprocess
import time

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from support import hosts
from support.daemon import Daemon
from support.hosts import INTERFACE, Fabric, Flood, arrivals, pool, running, wait_for_states, wait_until
from support.network import Traffic
from support.packets import client_packet, flow

SERVER = {4: "192.0.2.5/24", 6: "2001:db8::5/64"}
ADDRESSES = ["192.0.2.5", "2001:db8::5"]
ATTACKER = "02:00:00:00:06:66"
PER_SECOND = 10_000
SECONDS = 4


@pytest.fixture
def fabric(root):
    with Fabric() as made:
        made.end = made.cable("gw0", made.bridge("edge"))
        yield made


@pytest.fixture
def server(fabric):
    return fabric.host("edge", *SERVER.values())


@pytest.fixture
def attacker(fabric):
    return fabric.host("edge")


def configuration(directory, change=None):
    def both(config):
        pool(config, ADDRESSES)
        if change:
            change(config)

    return hosts.configuration(directory, change=both)


@contextlib.contextmanager
def traffic(fabric):
    client = fabric.host("edge")
    flows = [flow(version, "udp", 7, 6000 + n) for n in range(50) for version in (4, 6)]
    templates = [client_packet(one, payload=bytes(8)).frame for one in flows]
    with Traffic(client, INTERFACE, templates, 2000) as sender:
        sender.wait(200)
        yield sender


@contextlib.contextmanager
def goes_on(fabric, server, daemon, least=0.99):
    """What clients send meanwhile arrives. A busy machine may lose a few packets."""
    with server.capture() as capture:
        with traffic(fabric) as sender:
            yield
        # A capture lags behind.
        seen = -1
        while len(capture.frames) > seen:
            seen = len(capture.frames)
            time.sleep(0.3)
        arrived = len(arrivals(capture, server.mac))
    assert arrived >= least * sender.sent, (arrived, sender.sent, daemon.ask("stats"))
    assert {backend["state"] for backend in daemon.ask("backend", "list")} == {"active"}, daemon.log()


def requests():
    """ARP requests for the node's address, from ever other hosts of its network 10.128.0.0/15. Also the offsets of what
    differs."""
    frame = Ether(dst="ff:ff:ff:ff:ff:ff", src=ATTACKER) / ARP(op=1, hwsrc=ATTACKER, psrc="10.129.0.0", pdst="192.0.2.1")
    return bytes(frame), (26, 30)


def replies():
    """ARP replies that nobody has asked for, to the node."""
    frame = Ether(dst=hosts.APPLIANCE_MAC["gw0"], src=ATTACKER)
    frame /= ARP(op=2, hwsrc=ATTACKER, psrc="10.129.0.0", hwdst=hosts.APPLIANCE_MAC["gw0"], pdst="192.0.2.1")
    return bytes(frame), (26, 30)


def solicitations():
    """The same by neighbour discovery."""
    frame = Ether(dst="33:33:ff:00:00:01", src=ATTACKER) / IPv6(src="2001:db8::1:0", dst="ff02::1:ff00:1", hlim=255)
    frame /= ICMPv6ND_NS(tgt="2001:db8::1") / ICMPv6NDOptSrcLLAddr(lladdr=ATTACKER)
    # The last word of the source, and one of the option, which keeps the checksum right.
    return bytes(frame), ((14 + 22, 14 + 40 + 24 + 6),)


def unknown_hosts():
    """Pings of the node by a hundred thousand hosts in its own network: the node has to ask for each."""
    frame = Ether(dst=hosts.APPLIANCE_MAC["gw0"], src=ATTACKER) / IP(src="10.128.0.0", dst="10.128.0.1", id=0) / ICMP()
    # The last word of the source, and the identification, which keeps the checksum right.
    return bytes(frame), ((14 + 14, 14 + 4),)


@pytest.mark.parametrize("flooded", (requests, replies, solicitations, unknown_hosts))
def test_floods_do_not_cost_a_neighbor(fabric, server, attacker, directory, flooded):
    """Longer than the kernel takes to doubt a neighbour that no longer answers."""
    config = configuration(directory, lambda config: config["port"][0]["addresses"].append("10.128.0.1/15"))
    frame, words = flooded()
    server.knows_the_node()
    with running(fabric, config, directory) as daemon:
        wait_for_states(daemon, "active")
        before = {punt["class"]: punt for punt in daemon.ask("punt", "list")}
        with goes_on(fabric, server, daemon, 0.95), Flood(attacker, frame, PER_SECOND, *words) as flood:
            time.sleep(SECONDS)
            sent = flood.stop()
        kind = "own" if flooded is unknown_hosts else "neighbor"
        after = {punt["class"]: punt for punt in daemon.ask("punt", "list")}
        done = {key: after[kind][key] - before[kind][key] for key in ("punted", "limited")}
        print(f"{flooded.__name__}: {sent} sent, {done}")
        assert sum(done.values()) > sent / 2, done
        # The node itself still has its neighbours.
        assert " 0% packet loss" in server.run("ping", "-c", 5, "-i", "0.2", "192.0.2.1").stdout


def test_the_interface_is_renamed(fabric, server, directory):
    with running(fabric, configuration(directory), directory) as daemon:
        wait_for_states(daemon, "active")
        with goes_on(fabric, server, daemon):
            fabric.lb.ip("link", "set", "edge0", "down")
            fabric.lb.ip("link", "set", "edge0", "name", "other0")
            fabric.lb.ip("link", "set", "other0", "up")
            wait_until(lambda: daemon.ask("interface", "list")[0]["interface"] == "other0", what=daemon.log)
            wait_for_states(daemon, "active", 5)
        assert daemon.ask("interface", "list")[0]["renamed_from"] == "edge0"
        assert "renamed" in daemon.log()
        assert " 0% packet loss" in server.run("ping", "-c", 3, "-i", "0.2", "192.0.2.1").stdout


def test_a_strict_source_filter_is_a_warning(fabric, server, directory):
    fabric.lb.sysctl(**{"ipv4.conf.all.rp_filter": 1})
    with running(fabric, configuration(directory), directory) as daemon:
        assert "net.ipv4.conf.all.rp_filter is 1" in daemon.log()


def test_the_interface_is_set_down(fabric, server, directory):
    """An operator may. The kernel forgets its neighbours then, and the listing says why."""
    with running(fabric, configuration(directory), directory) as daemon:
        wait_for_states(daemon, "active")
        fabric.lb.ip("link", "set", "edge0", "down")
        wait_until(lambda: daemon.ask("interface", "list")[0]["state"] == "set_down", what=daemon.log)
        fabric.lb.ip("link", "set", "edge0", "up")
        with goes_on(fabric, server, daemon):
            wait_for_states(daemon, "active", 5)


def test_devices_that_come_and_go(fabric, server, directory):
    """Thousands of messages about devices, addresses and neighbours that are none of Guideway's."""
    with running(fabric, configuration(directory), directory) as daemon:
        wait_for_states(daemon, "active")
        with goes_on(fabric, server, daemon):
            for _ in range(50):
                fabric.lb.batch(f"tuntap add x{n} mode tap" for n in range(10))
                fabric.lb.batch(f"link set x{n} up" for n in range(10))
                fabric.lb.batch(f"address add 172.30.{n}.1/24 dev x{n}" for n in range(10))
                fabric.lb.batch(f"link delete x{n}" for n in range(10))


def test_the_process_is_killed(fabric, server, directory):
    """No interface remains, and the next process starts."""
    config = configuration(directory)
    with Daemon(fabric.lb, config, directory) as daemon:
        wait_for_states(daemon, "active")
        daemon.process.kill()
        daemon.process.wait(10)
    assert "edge0" not in {link["ifname"] for link in fabric.lb.show("link", "show")}
    with running(fabric, config, directory) as daemon:
        wait_for_states(daemon, "active")


def test_no_access_to_dev_net_tun(fabric, directory):
    """The error names what is missing."""
    daemon = Daemon(fabric.lb, configuration(directory), directory)
    daemon.config.write(daemon.path)
    script = 'mount -t tmpfs none /dev/net && exec "$@"'
    line = fabric.lb.command("unshare", "--mount", "sh", "-c", script, "sh", *daemon.line())
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done
    assert "there is no /dev/net/tun; run `modprobe tun`, or write interface" in done.stdout + done.stderr
