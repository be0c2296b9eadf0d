"""BIRD and FRR in a namespace, with the configurations of examples/ as they are."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from . import binaries
from .network import Namespace

EXAMPLES = binaries.ROOT / "examples"
FRR = Path("/usr/lib/frr")


def _run(*words, check=True):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=30)
    assert not check or done.returncode == 0, f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def ip(namespace, *words, check=True):
    return _run("ip", "-n", namespace.name, *words, check=check)


def until(holds, seconds=20, what=str):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


class Site:
    """The node and the router of the examples, on a cable, and an interface for virtual addresses."""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.node, self.router = (stack.enter_context(Namespace()) for _ in range(2))
            ip(self.node, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.router.name)
            for namespace, host in (self.node, "1"), (self.router, "254"):
                for interface in "all", "default", "eth0":
                    _run(*namespace.command("sysctl", "-qw", f"net.ipv6.conf.{interface}.accept_dad=0"))
                ip(namespace, "link", "set", "lo", "up")
                ip(namespace, "address", "add", f"192.0.2.{host}/24", "dev", "eth0")
                ip(namespace, "address", "add", f"2001:db8::{host}/64", "dev", "eth0")
                ip(namespace, "link", "set", "eth0", "up")
            ip(self.node, "tuntap", "add", "gwvip", "mode", "tun")
            ip(self.node, "link", "set", "gwvip", "up")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def route(self, verb, prefix, table, metric, protocol=200):
        """Adds or deletes the route of a virtual address, as the controller would."""
        words = ("dev", "gwvip", "table", table, "proto", protocol, "metric", metric)
        ip(self.node, "route", verb, prefix, *words)


class Daemon:
    """Programs in a namespace with a directory of theirs, from entry to exit."""

    def __init__(self, namespace, configuration):
        self.namespace = namespace
        self._original = configuration
        self._started = []

    def __enter__(self):
        # FRR's programs enter it as their own user.
        self.directory = Path(tempfile.mkdtemp(prefix="guideway-routing-"))
        self.directory.chmod(0o755)
        self.configuration = Path(shutil.copy(self._original, self.directory))
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self._started):
            process.kill()
            process.wait(10)
        shutil.rmtree(self.directory)

    def run(self, *words, wait_for):
        with (self.directory / "log").open("a") as log:
            process = subprocess.Popen(self.namespace.command(*words), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._started.append(process)
        end = time.monotonic() + 10
        while not wait_for.exists():
            assert process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.05)

    def stopped(self):
        """Waits for the end of the program that started last. Returns its process id."""
        process = self._started[-1]
        assert process.wait(10) == 0, self.log()
        return process.pid

    def log(self):
        return (self.directory / "log").read_text()


class Bird(Daemon):
    name = "bird"

    def start(self):
        self._control = self.directory / "bird.ctl"
        self.run("/usr/sbin/bird", "-f", "-c", self.configuration, "-s", self._control, wait_for=self._control)

    def ask(self, *words):
        return _run("/usr/sbin/birdc", "-s", self._control, *words, check=False)

    def established(self):
        return self.ask("show", "protocols").count(" Established ")

    def bfd_up(self):
        return self.ask("show", "bfd", "sessions").count(" Up ")

    def describe(self, prefix):
        """What it knows of a prefix, and how it came by it."""
        return self.ask("show", "route", "for", prefix, "all")

    def drains(self, prefix):
        return "BGP.community: (65535,0)" in self.describe(prefix)

    def sent(self, peer):
        """What it tells a peer, by name of the session."""
        return self.ask("show", "route", "export", peer)


class Frr(Daemon):
    name = "frr"

    def start(self):
        shutil.chown(self.directory, "frr", "frr")
        own = ("--vty_socket", self.directory, "-u", "frr", "-g", "frr", "-z", self.directory / "zserv.api")
        for program, more in ("zebra", ()), ("bgpd", ()), ("bfdd", ("--bfdctl", self.directory / "bfdd.sock")):
            files = ("-f", "/dev/null", "-i", self.directory / f"{program}.pid")
            self.run(FRR / program, *files, *own, *more, wait_for=self.directory / f"{program}.vty")
        # vtysh returns an error for a line that a daemon refuses.
        _run(*self._vtysh(), "-f", self.configuration)

    def _vtysh(self):
        return ("vtysh", "--vty_socket", self.directory)

    def ask(self, *words):
        return _run(*self._vtysh(), "-c", " ".join(words), check=False)

    def established(self):
        return self.ask("show", "bgp", "neighbors").count("BGP state = Established")

    def bfd_up(self):
        return self.ask("show", "bfd", "peers").count("Status: up")

    def describe(self, prefix):
        family = "ipv6" if ":" in prefix else "ipv4"
        return self.ask("show", "bgp", family, "unicast", prefix)

    def drains(self, prefix):
        return "graceful-shutdown" in self.describe(prefix)

    def sent(self, peer):
        """What it tells a peer, by address."""
        family = "ipv6" if ":" in peer else "ipv4"
        return self.ask("show", "bgp", family, "unicast", "neighbors", peer, "advertised-routes")
