"""A node that checks its backends: forwarder and controller on a link with servers, which take tunnels off and have nginx.

    lb1      192.0.2.1    2001:db8::1      probes come from .101 and ::101
    s1..s3   192.0.2.11-13, 2001:db8::11-13, and the virtual addresses on the loopback
    client   192.0.2.100  2001:db8::100    sends what is for the virtual addresses to the node

Nothing is announced. All are network namespaces of this machine, and go when the `with` block ends.
"""

import contextlib
import datetime
import time

from . import servers
from .conversations import Conversations
from .events import Monitor, kept
from .hosts import INTERFACE, Fabric, wait_until
from .nodes import Node
from .packets import VIP
from .servers import Nginx
from .states import client_of


def sources(number):
    """Where the node of this number sends its probes through tunnels from."""
    return {4: f"192.0.2.10{number}", 6: f"2001:db8::10{number}"}


SOURCE = sources(1)
TUN = "gwcheck"
TABLE = "1001"
# What a check has here unless its test says otherwise: quick, and without chance. Milliseconds.
QUICK = {"interval": 200, "timeout": 150, "rise": 2, "fall": 3, "jitter": 0}


def check(name, kind, **keys):
    """A `[[check]]`."""
    return {"name": name, "kind": kind, **QUICK, **keys}


def pool(name="web", backends=None, checks=(), **keys):
    """A pool of servers by GRE. `backends`: addresses by name; by default all servers, over IPv4."""
    backends = backends or {f"s{n}": servers.addresses(n)[4] for n in (1, 2, 3)}
    made = [{"name": backend, "address": address} for backend, address in backends.items()]
    return {"name": name, "backends": made, "checks": list(checks), **keys}


def service(name, port, pool="web", protocol="tcp", version=4, **keys):
    return {"name": name, "address": VIP[version], "protocol": protocol, "port": port, "pool": pool, **keys}


def probed(config, checks, number=1):
    """Adds checks, and where their probes come from."""
    own = sources(number)
    config["node"]["check_source"] = list(own.values())
    config["port"][0]["addresses"] += [f"{own[4]}/24", f"{own[6]}/64"]
    config["check"] = list(checks)


def changing(checks, pools, services):
    """The change of a node's configuration to one that has these checks, and announces nothing."""

    def change(config):
        for section in ("announce", "bgp", "bgp.peer"):
            del config[section]
        config["pool"], config["service"] = list(pools), list(services)
        probed(config, checks)

    return change


def moment(text):
    """A time of the programs, as time.time()."""
    return datetime.datetime.fromisoformat(text).timestamp()


class Checker:
    """What a node's controller says of its checks."""

    def __init__(self, node):
        self.node = node

    def list(self):
        """`check list`, whole."""
        return self.node.controller.ask("check", "list")

    def rows(self, **wanted):
        """The rows that have these fields."""
        return [row for row in self.list()["rows"] if wanted.items() <= row.items()]

    def row(self, check, backend="s1", pool="web"):
        [row] = self.rows(check=check, backend=backend, pool=pool)
        return row

    def states(self, check=None, pool="web"):
        """What the checks of a pool, or one of them, make of backends: states by (check, backend) or by backend."""
        rows = [row for row in self.rows(pool=pool) if check in (None, row["check"])]
        return {row["backend"] if check else (row["check"], row["backend"]): row["state"] for row in rows}

    def wait_for(self, wanted, check=None, pool="web", seconds=10):
        """Waits until these states are so, whatever others are. Returns the seconds that it took."""
        return wait_until(lambda: wanted.items() <= self.states(check, pool).items(), seconds, self.report)[1]

    def wait_for_results(self, seconds=10):
        """Waits until every target has had a result."""
        wait_until(lambda: (rows := self.rows()) and all(row.get("result") for row in rows), seconds, self.report)

    def wait_for_fresh_results(self, seconds=10):
        """Waits until every target has a result of a probe that began after now."""
        begin = time.time()

        def is_fresh(row):
            result = row.get("result")
            return result and moment(result["time"]) - result["latency_us"] / 1e6 > begin

        wait_until(lambda: (rows := self.rows()) and all(map(is_fresh, rows)), seconds, self.report)

    def monitor(self):
        """The controller's events from now on."""
        return contextlib.closing(Monitor(self.node.controller.socket, since=0))

    def events(self, *kinds):
        """The events that the controller keeps, of these kinds, or of all."""
        events, _ = kept(self.node.controller.socket)
        return [event for event in events if not kinds or event["event"] in kinds]

    def backends(self, pool="web"):
        """The forwarder's states of a pool's backends."""
        listed = self.node.daemon.ask("backend", "list")
        return {backend["name"]: backend["state"] for backend in listed if backend["pool"] == pool}

    def report(self):
        shown = self.node.controller.ctl("check", "list", output="table")
        return f"{shown.stdout}{shown.stderr}{self.node.log()[-6000:]}"


class Rig:
    """The node, the servers and a client. `count`: of servers. `more`: lines of their nginx's configuration."""

    def __init__(self, directory, checks, pools, services, count=3, more="", change=None):
        self._directory = directory
        self._change = changing(checks, pools, services)
        self._more_change = change
        self._count = count
        self._more = more

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._build(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def _build(self, stack):
        self.fabric = stack.enter_context(Fabric())
        self.fabric.bridge("edge")
        self.servers, self.web = {}, {}
        for number in range(1, self._count + 1):
            name = f"s{number}"
            made = self.servers[name] = servers.host(self.fabric, number)
            made.agent = servers.start_agent(made)
            self.web[name] = Nginx(made, self._directory, name, self._more)
        self.client = client_of(self.fabric)
        self.client.ip("link", "set", INTERFACE, "mtu", "1400")

        def change(config):
            self._change(config)
            if self._more_change:
                self._more_change(config)

        node = Node(self.fabric, 1, self._directory, self.fabric.lb, change=change)
        self.node = stack.enter_context(node)
        self.checker = Checker(self.node)

    @contextlib.contextmanager
    def conversations(self, port=81):
        """Conversations, and servers that answer them at a TCP port beside nginx's."""
        with Conversations() as made:
            for name, host in self.servers.items():
                made.serve(host, name, (("tcp", port),))
            yield made

    def reload(self, change):
        """Applies a changed configuration."""
        config = self.node.daemon.config = self.node.daemon.config.changed(change)
        config.write(self.node.daemon.path)
        self.node.daemon.ask("config", "apply", self.node.daemon.path)

    # What breaks the way of probes.

    def cut_answers(self, server):
        """The server's answers to probes go nowhere, those to clients do as ever."""
        for version, source in SOURCE.items():
            host = self.servers[server]
            host.ip(f"-{version}", "route", "add", "blackhole", f"{source}/{32 if version == 4 else 128}")

    def mend_answers(self, server):
        for version, source in SOURCE.items():
            host = self.servers[server]
            host.ip(f"-{version}", "route", "del", "blackhole", f"{source}/{32 if version == 4 else 128}")
