"""Real hosts around an appliance: namespaces whose interfaces are plugged into bridges.

A host answers ARP, neighbour discovery and pings, and has routes. The appliance's own cables are silent: the kernel
of its namespace sees their frames too, and must answer only what the appliance gives it on the port's interface.
"""

import contextlib
import ipaddress
import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from .config import one_port, two_ports
from .daemon import Daemon, control, cpus
from .network import OFFLOADS, Capture, Namespace
from .packets import VIP

PYTHON = "/usr/bin/python3"
APPLIANCE_MAC = {"gw0": "02:00:00:00:00:01", "gw1": "02:00:00:00:00:02"}
# The node's own addresses.
LB = {4: "192.0.2.1", 6: "2001:db8::1"}
# Other work on the machine can only make a change later, so one of three trials in time is enough.
IN_TIME = pytest.mark.flaky(reruns=2)
# An interface's name in every host.
INTERFACE = "eth0"
GRE = 47
PROGRAM = Path(__file__).with_name("flood.py")


def run(*words, timeout=60, check=True, **options):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=timeout, **options)
    assert not check or done.returncode == 0, f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}"
    return done


class Host(Namespace):
    """A namespace with programs in it, which end with it."""

    def __init__(self, name=None):
        super().__init__(name)
        self._started = []

    def __enter__(self):
        super().__enter__()
        self.ip("link", "set", "lo", "up")
        # Some sysctls of `all` override an interface's own value.
        self.sysctl(**{f"ipv4.conf.{of}.rp_filter": 0 for of in ("all", "default")})
        self.sysctl(**{f"ipv6.conf.{of}.{key}": 0 for of in ("all", "default") for key in ("accept_dad", "accept_ra")})
        return self

    def __exit__(self, *_):
        for process in self._started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        super().__exit__()

    def ip(self, *words, check=True):
        return run("ip", "-n", self.name, *words, check=check).stdout

    def show(self, *words):
        """What `ip` prints as JSON."""
        return json.loads(run("ip", "-n", self.name, "-d", "-j", *words).stdout or "[]")

    def batch(self, lines):
        """Runs many commands of `ip` at once."""
        line = ["ip", "-n", self.name, "-batch", "-"]
        done = subprocess.run(line, input="\n".join(lines), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    def sysctl(self, **settings):
        """Sets sysctls below `net`, points for slashes."""
        for name, value in settings.items():
            run(*self.command("sysctl", "-qw", f"net.{name}={value}"))

    def run(self, *words, **options):
        return run(*self.command(*words), **options)

    def start(self, *words, **options):
        """Starts a program. It is killed with the host, at the latest."""
        process = subprocess.Popen(self.command(*words), text=True, **options)
        self._started.append(process)
        return process

    def knows_the_node(self):
        """The kernel has one table of neighbours for all namespaces. A flood that fills it must not cost other hosts
        theirs, which elsewhere have a table of their own."""
        for address in LB.values():
            self.ip("neigh", "replace", address, "lladdr", APPLIANCE_MAC["gw0"], "nud", "permanent", "dev", INTERFACE)

    def socket(self, family, kind):
        """A socket of the namespace."""
        return self.inside(lambda: socket.socket(family, kind))

    def counters(self):
        """The kernel's own counters, as nstat names them."""
        return json.loads(self.run("nstat", "-asz", "--json").stdout)["kernel"]

    def capture(self):
        return contextlib.closing(Capture(self, INTERFACE))


class Fabric:
    """Bridges, hosts and one appliance's namespace. Everything goes when the `with` block ends.

    With `prefix`, the namespaces have names that a person can type: the prefix and the host's own.
    """

    def __init__(self, prefix=None):
        self._prefix = prefix
        self._stack = contextlib.ExitStack()
        self._plugs = 0

    def __enter__(self):
        self._stack.__enter__()
        self.switch = self.place("switch")
        self.lb = self.place("lb1")
        return self

    def place(self, name):
        """A namespace without interfaces."""
        return self._stack.enter_context(Host(self._prefix and f"{self._prefix}-{name}"))

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def bridge(self, name):
        self.switch.ip("link", "add", name, "mtu", "1600", "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        self.switch.ip("link", "set", name, "up")
        return name

    def plug(self, host, interface, bridge, mac):
        """A cable. Returns the bridge's end. Without offloads, because a packet socket gets frames as they are in
        memory, where checksums would still be missing."""
        end = f"port{self._plugs}"
        self._plugs += 1
        peer = ("peer", "name", interface, "mtu", "1600", "address", mac, "netns", host.name)
        self.switch.ip("link", "add", end, "mtu", "1600", "type", "veth", *peer)
        for where, name in ((self.switch, end), (host, interface)):
            settings = [word for offload in OFFLOADS for word in (offload, "off")]
            # Some offloads are fixed, and ethtool reports a failure.
            where.run("ethtool", "-K", name, *settings, check=False)
            assert "tx-checksumming: off" in where.run("ethtool", "-k", name).stdout
        self.switch.ip("link", "set", end, "master", bridge, "up")
        return end

    def cable(self, interface, bridge, host=None, mac=None):
        """The cable of an appliance, by default of the only one: see the module's header. Returns the bridge's end."""
        host = host or self.lb
        end = self.plug(host, interface, bridge, mac or APPLIANCE_MAC[interface])
        host.sysctl(**{f"ipv6.conf.{interface}.disable_ipv6": 1, f"ipv4.conf.{interface}.rp_filter": 1})
        host.ip("link", "set", interface, "arp", "off", "up")
        return end

    def host(self, bridge, *addresses, mac=None, name=None):
        """A host with one interface. `name` counts if the fabric has a prefix."""
        made = self.place(name)
        made.mac = mac or f"02:00:00:00:01:{self._plugs:02x}"
        made.end = self.plug(made, INTERFACE, bridge, made.mac)
        made.ip("link", "set", INTERFACE, "up")
        for address in addresses:
            made.ip("address", "add", address, "dev", INTERFACE, *(("nodad",) if ":" in address else ()))
        return made


def configuration(directory, ports=1, workers=1, change=None):
    """A configuration without neighbours and gateways, for the cables gw0 and gw1."""
    config = (one_port if ports == 1 else two_ports)()
    del config["neighbor"]
    config["dpdk"] = {"workers": cpus(workers), "hugepages": False, "memory": 256, "idle": "pause"}
    config["control"] = control(directory)
    for number, port in enumerate(config["port"]):
        port["device"] = f"net_af_packet{number},iface=gw{number}"
        # Its name is the port's.
        del port["interface"]
        port.pop("gateways", None)
    if change:
        change(config)
    return config


def client_of(fabric, version, bridge="edge"):
    """A client that asks for the node's MAC address, and sends to the virtual address by way of the node."""
    client = fabric.host(bridge, {4: "192.0.2.100/24", 6: "2001:db8::100/64"}[version])
    client.ip("route", "add", VIP[version], "via", LB[version], "dev", INTERFACE)
    return client


def send_datagrams(client, version, count):
    """Datagrams by the client's kernel, each of another flow."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    for number in range(count):
        with client.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(number.to_bytes(4, "big"), (VIP[version], 53))


def pool(config, addresses, **keys):
    """Replaces the backends."""
    config["pool"] = [
        {"name": "web", "backends": [{"name": f"b{n}", "address": address} for n, address in enumerate(addresses)], **keys}
    ]


@contextlib.contextmanager
def running(fabric, config, directory):
    """An appliance in the fabric. At its end no buffer may be missing."""
    with Daemon(fabric.lb, config, directory) as daemon:
        yield daemon
        code, _ = daemon.stop()
        assert code == 0, daemon.log()
        assert "did not come back" not in daemon.log()


def backends(daemon):
    """The backends by name."""
    return {backend["name"]: backend for backend in daemon.ask("backend", "list")}


def wait_until(condition, seconds=10, what=None):
    """Waits until `condition` holds. Returns its value and the seconds that it took."""
    begin = time.monotonic()
    while not (value := condition()):
        assert time.monotonic() - begin < seconds, what() if what else "still waiting"
        time.sleep(0.01)
    return value, time.monotonic() - begin


def wait_for_states(daemon, wanted, seconds=10):
    """Waits until every backend's state is `wanted`. Returns the seconds that it took."""

    def states():
        return {backend["state"] for backend in backends(daemon).values()}

    return wait_until(lambda: states() == {wanted}, seconds, lambda: f"{states()}: {daemon.log()}")[1]


def tunnels(frames, proto=GRE):
    """Of the frames that are tunnelled to backends: (destination MAC, outer destination, frame)."""
    for frame in frames:
        kind = frame[12:14]
        if kind == b"\x08\x00" and frame[23] == proto:
            yield frame[:6].hex(":"), str(ipaddress.ip_address(frame[30:34])), frame
        elif kind == b"\x86\xdd" and frame[20] == proto:
            yield frame[:6].hex(":"), str(ipaddress.ip_address(frame[38:54])), frame


def arrivals(capture, mac):
    """When tunnels to this MAC address arrived."""
    timed = zip(capture.frames, capture.times, strict=False)
    return [at for frame, at in timed if any(to == mac for to, _, _ in tunnels([frame]))]


class Flood:
    """Frames with random words from a host, by a process of its own, until stopped. It leaves the CPU to others, as it
    is no part of the node."""

    def __init__(self, host, frame, per_second, *words):
        """`words`: the offsets of random 16-bit words, each alone or as a pair with the offset of a word that keeps a
        checksum over both right."""
        words = [":".join(map(str, word)) if isinstance(word, tuple) else word for word in words]
        line = ["nice", "-n", "10", PYTHON, PROGRAM, INTERFACE, bytes(frame).hex(), per_second, *words]
        self._process = host.start(*line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Returns how many frames were sent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self.sent = int(self._process.communicate(timeout=10)[0])
        return self.sent
