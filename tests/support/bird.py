"""BIRD in a namespace: BGP sessions with BFD."""

import re
import subprocess
import time

BFD = "min rx interval 100 ms; min tx interval 100 ms; multiplier {};"

COMMON = """
log stderr all;
router id {router};
protocol device {{ scan time 60; }}
protocol direct {{ disabled; }}
protocol bfd {{
    interface "*" {{ {bfd} }};
    multihop {{ {bfd} }};
}}
ipv4 table master4;
ipv6 table master6;
protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; scan time 10; }}
protocol kernel {{ ipv6 {{ import none; export where source = RTS_BGP; }}; scan time 10; }}
"""

SESSION = """
protocol bgp {name} {{
    debug {{ states, events }};
    local {local} as {own};
    neighbor {remote} as {other};
    {hops}
    bfd on;
    hold time 9; keepalive time 3;
    connect delay time 1; connect retry time 1; error wait time 1, 2; error forget time 5;
    graceful restart off;
    {family} {{ import all; export {export}; {next_hop} }};
}}
"""

LOST = re.compile("BGP session closed|State changed to (down|stop)|Received: |Hold timer|BFD session down")
STATIC = "protocol static {{ {family}; {routes} }}\n"


class Session:
    """One end of a session."""

    def __init__(self, name, local, remote, own, other, is_multihop=False, announced=(), next_hop=""):
        self.name = name
        self.announced = announced
        family = "ipv6" if ":" in local else "ipv4"
        routes = " ".join(f"route {prefix} blackhole;" for prefix in announced)
        self.text = SESSION.format(
            name=name,
            local=local,
            remote=remote,
            own=own,
            other=other,
            hops="multihop 4;" if is_multihop else "direct;",
            family=family,
            export="where source = RTS_STATIC" if announced else "none",
            next_hop=f"next hop address {next_hop};" if next_hop else "next hop self;",
        )
        if announced:
            self.text += STATIC.format(family=family, routes=routes)


class Bird:
    """A daemon, from entry to exit."""

    def __init__(self, host, directory, router, *sessions, multiplier=3):
        self.host = host
        self.sessions = sessions
        self._base = directory / f"bird-{router}"
        self._base.mkdir()
        common = COMMON.format(router=router, bfd=BFD.format(multiplier))
        (self._base / "bird.conf").write_text(common + "".join(session.text for session in sessions))

    def __enter__(self):
        files = ("-c", self._base / "bird.conf", "-s", self._base / "ctl", "-P", self._base / "pid")
        with (self._base / "log").open("w") as log:
            # The tests' own programs must not keep it from the CPU: the other end has one of its own elsewhere.
            self.process = self.host.start("nice", "-n", "-10", "/usr/sbin/bird", "-f", *files, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while not (self._base / "ctl").exists():
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def log(self):
        return (self._base / "log").read_text()

    def ask(self, *words):
        line = ["/usr/sbin/birdc", "-s", str(self._base / "ctl"), *words]
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=10).stdout

    def states(self):
        """Of each BGP session, whether it is established and whether its BFD session is up."""
        shown = self.ask("show", "protocols")
        established = {s.name: bool(re.search(rf"^{s.name} .*Established", shown, re.MULTILINE)) for s in self.sessions}
        up = re.findall(r"^\S+ +\S+ +Up ", self.ask("show", "bfd", "sessions"), re.MULTILINE)
        return all(established.values()) and len(up) == len(self.sessions)

    def wait(self, seconds=20):
        """Waits until all sessions are up. Returns the seconds that it took."""
        begin = time.monotonic()
        while not self.states():
            assert time.monotonic() - begin < seconds, self.ask("show", "protocols", "all") + self.log()
            time.sleep(0.1)
        return time.monotonic() - begin

    def losses(self, since=0):
        """Lines of the log that say that a session went down."""
        return [line for line in self.log()[since:].splitlines() if LOST.search(line)]
