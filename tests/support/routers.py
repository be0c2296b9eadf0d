"""Routers that learn virtual addresses by BGP: BIRD and FRR, configured by the files of examples/, as a site would be.

The kernel of the router's namespace has the routes, and says when each of them changed.
"""

import datetime
import re
import subprocess
import time
from pathlib import Path

from .routing import EXAMPLES, Bird, Frr

PASSWORD = "change-me"  # of the examples
BIRD = "/usr/sbin/bird"
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


class BirdRouter(Bird):
    """examples/router-bird.conf, or that text changed."""

    def __init__(self, host):
        super().__init__(host, EXAMPLES / "router-bird.conf")

    def start(self):
        self.configuration = Path(self.configuration)
        text = self.configuration.read_text()
        self.configuration.write_text(text.replace("log syslog all", "log stderr all"))
        super().start()

    def change(self, pattern, replacement, count=1):
        """Changes its configuration while it runs."""
        text, changes = re.subn(pattern, replacement, self.configuration.read_text())
        assert changes == count, f"{pattern}: {changes} times in {text}"
        self.configuration.write_text(text)
        done = self.ask("configure")
        assert "Reconfig" in done, done

    def sessions(self):
        """The names of the sessions that are established."""
        return set(re.findall(r"^(\S+) +BGP .*Established", self.ask("show", "protocols"), re.MULTILINE))

    def messages(self):
        """By session, how many routes were received and how many withdrawn since the session began."""
        found = {}
        for part in re.split(r"\n(?=\S)", self.ask("show", "protocols", "all")):
            counts = re.findall(r"Import (?:updates|withdraws): +(\d+)", part)
            if re.match(r"\S+ +BGP ", part) and counts:
                found[part.split(maxsplit=1)[0]] = tuple(map(int, counts))
        return found

    def count(self, table):
        """How many routes of BGP there are."""
        return int(re.search(r"^(\d+) of", self.ask("show", "route", "table", table, "count"), re.MULTILINE).group(1))


class FrrRouter(Frr):
    """examples/router-frr.conf."""

    def __init__(self, host):
        super().__init__(host, EXAMPLES / "router-frr.conf")


ROUTERS = {"bird": BirdRouter, "frr": FrrRouter}


def plain(address):
    """A node's address, in place of its link-local one, which FRR prefers as a next hop."""
    return address.replace("fe80::ff:fe00:", "2001:db8::")


class Change:
    """A route that the kernel has changed: when (as time.time()), whether it went, its prefix, its next hops."""

    def __init__(self, line):
        at, _, rest = line.partition("] ")
        self.at = datetime.datetime.fromisoformat(at.removeprefix("[")).timestamp()
        self.is_gone = rest.startswith("Deleted ")
        self.prefix = rest.removeprefix("Deleted ").split()[0]
        self.next_hops = {plain(one) for one in re.findall(r"\bvia (\S+)", rest)}

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
