"""Routers that learn virtual addresses by BGP: BIRD and FRR, configured by the files of examples/, as a site would be.

The kernel of the router's namespace has the routes, and says when each of them changed.
"""

import contextlib
import datetime
import re
import shutil
import subprocess
import time

from . import binaries
from .hosts import run

EXAMPLES = binaries.ROOT / "examples"
PASSWORD = "change-me"  # of the examples
BIRD, BIRDC = "/usr/sbin/bird", "/usr/sbin/birdc"
FRR = "/usr/lib/frr"
# The tests' own programs must not keep a daemon from the CPU: in a site each has a machine of its own.
FIRST = ("nice", "-n", "-10")


def ended(process, seconds=10):
    """Ends a process that this one has started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class BirdDaemon:
    """BIRD with a configuration as text, from entry to exit."""

    def __init__(self, host, directory, text):
        self.host = host
        self.directory = directory
        self.log_path = directory / "log"
        directory.mkdir(exist_ok=True)
        self.configure_file(text)

    def configure_file(self, text):
        # A test reads the log from a file.
        (self.directory / "bird.conf").write_text(text.replace("log syslog all", "log stderr all"))

    def __enter__(self):
        files = ("-c", self.directory / "bird.conf", "-s", self.directory / "bird.ctl")
        with self.log_path.open("a") as log:
            self.process = self.host.start(*FIRST, BIRD, "-f", *files, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while not (self.directory / "bird.ctl").exists():
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        ended(self.process)

    def log(self):
        return self.log_path.read_text()

    def ask(self, *words):
        line = [BIRDC, "-s", str(self.directory / "bird.ctl"), *words]
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=20).stdout

    def reconfigure(self, change):
        """Changes the text of its configuration, and applies it."""
        path = self.directory / "bird.conf"
        before = path.read_text()
        after = change(before)
        assert after != before, "nothing is changed"
        path.write_text(after)
        done = self.ask("configure")
        assert "Reconfig" in done, done


class BirdRouter(BirdDaemon):
    """examples/router-bird.conf."""

    name = "BIRD"

    def __init__(self, host, directory):
        super().__init__(host, directory / "router-bird", (EXAMPLES / "router-bird.conf").read_text())

    def established(self):
        """The names of the sessions that are established."""
        return set(re.findall(r"^(\S+) +BGP .*Established", self.ask("show", "protocols"), re.MULTILINE))

    def updates(self):
        """By session, how many routes were received and how many withdrawn, since the session's protocol began."""
        found = {}
        for part in re.split(r"\n(?=\S)", self.ask("show", "protocols", "all")):
            name = part.split(maxsplit=1)[0] if part.strip() else ""
            counts = re.findall(r"Import (?:updates|withdraws): +(\d+)", part)
            if " BGP " in part and counts:
                found[name] = tuple(map(int, counts))
        return found

    def paths(self, prefix):
        """How BIRD shows each path to a prefix, attributes too."""
        return self.ask("show", "route", "for", prefix.partition("/")[0], "all")


class FrrDaemons:
    """zebra, bgpd and bfdd with a configuration as text, from entry to exit. Each has its sockets in a directory of its
    own, for there may be others on this machine."""

    def __init__(self, host, directory, text):
        self.host = host
        self.directory = directory
        self._processes = []
        directory.mkdir(exist_ok=True)
        (directory / "frr.conf").write_text(text)
        # The daemons leave root's rights.
        directory.parent.chmod(0o755)
        run("chown", "-R", "frr:frr", directory)

    def __enter__(self):
        self._kept = contextlib.ExitStack()
        try:
            for name in ("zebra", "bgpd", "bfdd"):
                self._launch(name)
            # One file configures all of them.
            self.shell("-f", self.directory / "frr.conf")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _launch(self, name):
        at = self.directory
        line = [f"{FRR}/{name}", "-f", "/dev/null", "-i", at / f"{name}.pid", "-z", at / "zserv.api", "--vty_socket", at]
        line += ["-u", "frr", "-g", "frr", "-P", "0", "--log", f"file:{at}/{name}.log"]
        line += ["--bfdctl", at / "bfdd.sock"] if name == "bfdd" else []
        log = self._kept.enter_context((at / f"{name}.out").open("a"))
        process = self.host.start(*FIRST, *line, stdout=log, stderr=log)
        self._processes.append(process)
        end = time.monotonic() + 15
        while not (at / f"{name}.vty").exists() or (name == "zebra" and not (at / "zserv.api").exists()):
            assert process.poll() is None and time.monotonic() < end, (at / f"{name}.out").read_text() + self.log()
            time.sleep(0.02)

    def __exit__(self, *_):
        for process in reversed(self._processes):
            ended(process)
        self._kept.close()

    def shell(self, *words):
        return self.host.run("vtysh", "--vty_socket", self.directory, *words, timeout=30).stdout

    def ask(self, command):
        return self.shell("-c", command)

    def log(self):
        return "".join(path.read_text() for path in sorted(self.directory.glob("*.log")))


class FrrRouter(FrrDaemons):
    """examples/router-frr.conf."""

    name = "FRR"

    def __init__(self, host, directory):
        super().__init__(host, directory / "router-frr", (EXAMPLES / "router-frr.conf").read_text())

    def established(self):
        """The addresses of the peers whose sessions are established: the last but two columns are a count then."""
        shown = self.ask("show bgp ipv4 unicast summary") + self.ask("show bgp ipv6 unicast summary")
        rows = [line.split() for line in shown.splitlines()]
        return {row[0] for row in rows if len(row) >= 10 and row[1] == "4" and row[9].isdigit()}


ROUTERS = {"bird": BirdRouter, "frr": FrrRouter}


def has_frr():
    return bool(shutil.which("vtysh"))


class Change:
    """A route that the kernel has changed: when (as time.time()), whether it went, its prefix, its next hops."""

    def __init__(self, line):
        at, _, rest = line.partition("] ")
        self.at = datetime.datetime.fromisoformat(at.removeprefix("[")).timestamp()
        self.is_gone = rest.startswith("Deleted ")
        self.prefix = rest.removeprefix("Deleted ").split()[0]
        self.next_hops = set(re.findall(r"\bvia (\S+)", rest))

    def __repr__(self):
        return f"{self.at:.6f} {'-' if self.is_gone else '+'} {self.prefix} {sorted(self.next_hops)}"


class RouteLog:
    """Every change of routes in a namespace, by the kernel's own messages, while a `with` block runs."""

    def __init__(self, host, directory):
        self._host = host
        self._path = directory / f"routes-{time.monotonic_ns()}.log"

    def __enter__(self):
        with self._path.open("w") as log:
            line = (*FIRST, "ip", "-o", "-ts", "monitor", "route")
            self._process = self._host.start(*line, stdout=log)
        # It has subscribed once it shows a route of our own.
        end = time.monotonic() + 5
        while not self._path.stat().st_size:
            assert time.monotonic() < end, "ip monitor shows nothing"
            self._host.ip("route", "replace", "blackhole", "192.0.0.192/32")
            self._host.ip("route", "del", "blackhole", "192.0.0.192/32")
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        ended(self._process)

    def changes(self, prefix=None):
        """The changes of a prefix, or of all."""
        lines = [line for line in self._path.read_text().splitlines() if line.startswith("[") and "192.0.0.192" not in line]
        made = [Change(line) for line in lines if not re.search(r"] (Deleted )?(local|broadcast|multicast|anycast) ", line)]
        return [change for change in made if prefix in (None, change.prefix)]

    def lost(self, prefix, next_hop, since):
        """When the prefix first had this next hop no more, as time.time(); None if that has not happened."""
        for change in self.changes(prefix):
            if change.at >= since and (next_hop in change.next_hops) == change.is_gone:
                return change.at
        return None
