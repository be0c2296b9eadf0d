"""A node of a fleet: the forwarder, its controller and a BIRD of its own, in a namespace, started as systemd would.

The session with the router is over the port's interface, so that BFD watches the forwarder itself.
"""

import contextlib
import json
import signal
import subprocess
import threading
import time

from . import binaries
from .config import one_port, services
from .daemon import Daemon, control, cpus
from .routers import BIRD, FIRST, PASSWORD, ended

PORT = "edge0"
ROUTER = {4: "192.0.2.254", 6: "2001:db8::254"}
SERVERS = {"s1": "192.0.2.11", "s2": "2001:db8::12", "s3": "192.0.2.13"}
TABLE = "1000"
# Where a controller serves its metrics, by the namespace's own loopback.
CONTROLLER = "127.0.0.1:9421"
PEER = {4: "tor4", 6: "tor6"}
# The prefixes of the virtual addresses.
ALLOWED = ["203.0.113.0/24", "2001:db8:f::/48"]


def configuration(number, directory, bfd=None, change=None):
    """The node's. But for its own addresses, all nodes have the same."""
    own = {4: f"192.0.2.{number}", 6: f"2001:db8::{number}"}
    config = one_port()
    del config["neighbor"]
    config["node"] = {"name": f"lb{number}", "tunnel_source": list(own.values())}
    # All nodes and tests share the machine.
    config["dpdk"] = {"workers": [cpus(2)[number % 2]], "hugepages": False, "memory": 192, "idle": "pause"}
    config["control"] = control(directory)
    port = config["port"][0]
    port.update(device="net_af_packet0,iface=gw0,blocksz=4096,framesz=2048,framecnt=4096", mtu=1500)
    port.update(addresses=[f"{own[4]}/24", f"{own[6]}/64"], mac=mac(number))
    del port["interface"], port["gateways"]
    config["pool"] = [{"name": "web", "backends": [{"name": name, "address": at} for name, at in SERVERS.items()]}]
    config["service"] = services()
    config["announce"] = {"bgp": "managed", "hold": 1, "linger": 500}
    config["bgp"] = {"local_as": 65001, "router_id": own[4], "allowed": ALLOWED, "directory": str(directory / "bird")}
    config["bgp.peer"] = [peer(version, own[version], directory) for version in (4, 6)]
    for one in config["bgp.peer"]:
        one["bfd_interval"] = bfd or 100
    if change:
        change(config)
    return config


def peer(version, source, directory):
    (directory / "password").write_text(PASSWORD + "\n")
    (directory / "password").chmod(0o600)
    return {
        "name": PEER[version],
        "address": ROUTER[version],
        "as": 65000,
        "source": source,
        "password_file": str(directory / "password"),
    }


def mac(number):
    return f"02:00:00:00:00:{number:02x}"


class Supervised:
    """A program that is started again when it ends, and the first time when its file is there."""

    def __init__(self, host, line, needed, log, pause):
        self._host = host
        self._line = line
        self._needed = needed
        self._log = log
        self._pause = pause
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.process = None
        self.starts = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()
        if self.process:
            ended(self.process)

    def _run(self):
        while not self._ending.wait(0.02):
            if self.process is None:
                is_due = self._needed.exists()
            else:
                is_due = self.process.poll() is not None
                if is_due and self._ending.wait(self._pause):
                    return
            if is_due:
                with self._log.open("a") as log:
                    self.process = self._host.start(*self._line, stdout=log, stderr=log)
                self.starts += 1


class Forwarder(Daemon):
    """`guideway run`, as if the machine had no other work."""

    def line(self):
        return [*FIRST, *super().line()]


class Controller:
    """`guideway-controller` beside a forwarder."""

    def __init__(self, node):
        self._node = node
        self.socket = node.directory / "controller.sock"
        self.log_path = node.directory / "controller.log"
        self.process = None

    def start(self):
        """Starts it without waiting for it."""
        program = binaries.directory() / "guideway-controller"
        line = [*FIRST, program, "--forwarder", self._node.daemon.socket, "--socket", self.socket]
        line += ["--state-directory", self._node.directory / "controller", "--listen", CONTROLLER]
        with self.log_path.open("a") as log:
            self.process = self._node.host.start(*line, stdout=log, stderr=log)

    def wait(self, seconds=10):
        """Waits until it answers."""
        end = time.monotonic() + seconds
        while self.ctl("node", "show").returncode != 0:
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.02)

    def log(self):
        return self.log_path.read_text()

    def stop(self, number=signal.SIGTERM):
        """Ends it. Returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(10)

    def ctl(self, *arguments, output="json", stdin=None):
        line = [str(binaries.guidewayctl()), "--socket", str(self.socket), "-o", output, *map(str, arguments)]
        return subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=60)

    def ask(self, *arguments, stdin=None):
        """The JSON that a command prints. The command must succeed."""
        done = self.ctl(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def vips(self):
        """The virtual addresses, by address."""
        return {vip["address"]: vip for vip in self.ask("vip", "list")}

    def sessions(self):
        """The BGP sessions, by peer."""
        return {session["name"]: session for session in self.ask("bgp", "list")}

    def order(self, verb, addresses):
        """Gives an order about many virtual addresses at once."""
        return self.ask("vip", verb, "-", stdin="".join(f"{address}\n" for address in addresses))


class Node:
    """From entry to exit. `with_controller`: otherwise a test says what is announced, and how."""

    def __init__(self, fabric, number, directory, host=None, bfd=None, change=None, with_controller=True):
        self.number = number
        self.name = f"lb{number}"
        self.address = {4: f"192.0.2.{number}", 6: f"2001:db8::{number}"}
        self.host = host or fabric.place(self.name)
        # The bridge's end of the port's cable.
        self.end = fabric.cable("gw0", "edge", self.host, mac(number))
        self._switch = fabric.switch
        self.directory = directory / self.name
        self.directory.mkdir()
        self.bird_directory = self.directory / "bird"
        self.bird_directory.mkdir()
        self.daemon = Forwarder(self.host, configuration(number, self.directory, bfd, change), self.directory)
        self.controller = Controller(self)
        self._with_controller = with_controller
        at = self.bird_directory
        line = (*FIRST, BIRD, "-f", "-c", at / "bird.conf", "-s", at / "bird.ctl")
        self.bird = Supervised(self.host, line, at / "bird.conf", at / "log", pause=1)

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        with self._stack:
            self._stack.enter_context(self.bird)
            self._stack.callback(self._end)
            self.daemon.__enter__()
            if self._with_controller:
                self.controller.start()
                self.controller.wait()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def _end(self):
        """A test may have stopped or killed any of them."""
        for process in (self.controller.process, self.daemon.process):
            if process and process.poll() is None:
                process.send_signal(signal.SIGCONT)
        # The controller first: what it leaves to the forwarder is of no interest any more.
        for process in (self.controller.process, self.daemon.process):
            if process:
                ended(process)

    def repair(self):
        """Starts what a test has ended or stopped, and undoes its orders."""
        self.plug("up")
        for program in (self.daemon, self.controller):
            if program.process.poll() is None:
                program.process.send_signal(signal.SIGCONT)
        if self.daemon.process.poll() is not None:
            self.daemon.__enter__()
        if self.controller.process.poll() is not None:
            self.controller.start()
        self.controller.wait()
        self.controller.ask("node", "undrain")

    def kernel(self):
        """The routes of virtual addresses in the node's kernel: (address, metric)."""
        shown = [self.host.show(f"-{version}", "route", "show", "table", TABLE) for version in (4, 6)]
        return sorted((route["dst"], route["metric"]) for one in shown for route in one)

    def is_up(self):
        """Whether the interface that the routes need is there and up."""
        links = self.host.show("link", "show")
        return any(link["ifname"] == "gwvip" and "UP" in link["flags"] for link in links)

    def kill(self):
        """Kills the forwarder. Returns when, as time.time()."""
        at = time.time()
        self.daemon.process.kill()
        self.daemon.process.wait()
        return at

    def plug(self, state):
        """Takes the cable's other end `down` or `up`."""
        self._switch.ip("link", "set", self.end, state)

    def log(self):
        """What all three said, for a failure's message."""
        bird = self.bird_directory / "log"
        parts = {"forwarder": self.daemon.log_path, "controller": self.controller.log_path, "BIRD": bird}
        return "".join(f"-- {self.name}, {name}\n{path.read_text()}" for name, path in parts.items() if path.exists())
