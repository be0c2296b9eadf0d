"""Two nodes that announce the same virtual addresses to one router, a client behind it and three servers.

    client ── router ──┬── lb1, lb2   guideway on a veth, guideway-controller, BIRD
              (ECMP)   └── s1..s3     guideway-agent; replies go to the client by the router

    client   198.51.100.1    2001:db8:c::1      on the bridge access, with the router's .254 and ::254
    router   192.0.2.254     2001:db8::254      on the bridge edge
    lb1, lb2 192.0.2.1, .2   2001:db8::1, ::2
    s1..s3   192.0.2.11-13   2001:db8::11-13

All are network namespaces of this machine, and go when the `with` block ends.
"""

import contextlib
import re
import socket
import threading
import time

from . import servers
from .conversations import FAMILY, KIND, Conversations
from .hosts import INTERFACE, Fabric, wait_until
from .nodes import Node
from .packets import PORT, VIP
from .routers import ROUTERS, RouteLog, plain

# Milliseconds between packets of BFD, of which three may be missing. When a session's own way leads through the forwarder it
# is BFD that finds the forwarder dead, for no message can leave the node any more. FAST is for who measures that, SLOW for who
# does not and shares a machine with other work.
FAST, SLOW = 25, 300
CLIENT = {4: "198.51.100.1", 6: "2001:db8:c::1"}
LENGTH = {4: 32, 6: 128}
PREFIX = {4: VIP[4], 6: VIP[6]}  # as `ip` writes a route to a single address


class Fleet:
    def __init__(self, directory, router="bird", prefix=None, nodes=2, bfd=None, **options):
        """`options`: see Node. `prefix`: of the namespaces' names. `bfd`: milliseconds from one packet to the next, in place
        of the examples' 100; BIRD is the router then."""
        self.directory = directory
        self._router = ROUTERS[router]
        self._prefix = prefix
        self._count = nodes
        self._bfd = bfd
        self._options = options

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._build(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def _build(self, stack):
        self.fabric = stack.enter_context(Fabric(self._prefix))
        for bridge in ("edge", "access"):
            self.fabric.bridge(bridge)
        host = self.fabric.host("edge", "192.0.2.254/24", "2001:db8::254/64", name="router")
        self._make_router(host)
        self.client = self.fabric.host("access", f"{CLIENT[4]}/24", f"{CLIENT[6]}/64", name="client")
        self.client.ip("link", "set", INTERFACE, "mtu", "1500")
        # A second after its FIN a port can be used again.
        self.client.sysctl(**{"ipv4.tcp_tw_reuse": 1})
        self._by_router(self.client, "198.51.100.254", "2001:db8:c::254")
        self.servers = {f"s{n}": self._server(n) for n in (1, 2, 3)}
        self.router = stack.enter_context(self._router(host))
        if self._bfd:
            packets = "min rx interval {0} ms; min tx interval {0} ms;"
            self.router.change(packets.format(100), packets.format(self._bfd))
        self.nodes = []
        for number in range(1, self._count + 1):
            own = self.fabric.lb if number == 1 else None
            node = Node(self.fabric, number, self.directory, own, bfd=self._bfd, **self._options)
            self.nodes.append(stack.enter_context(node))

    def _make_router(self, router):
        self.fabric.plug(router, "eth1", "access", "02:00:00:00:02:fe")
        for address in ("198.51.100.254/24", "2001:db8:c::254/64"):
            router.ip("address", "add", address, "dev", "eth1", *(("nodad",) if ":" in address else ()))
        router.ip("link", "set", "eth1", "mtu", "1500", "up")
        router.sysctl(**{"ipv4.ip_forward": 1, "ipv6.conf.all.forwarding": 1})
        # Ports count too, so that the connections of one client are spread.
        router.sysctl(**{f"ipv{version}.fib_multipath_hash_policy": 1 for version in (4, 6)})

    def _by_router(self, host, *gateways):
        for gateway in gateways:
            host.ip("route", "add", "default", "via", gateway, "dev", INTERFACE)

    def _server(self, number):
        made = servers.host(self.fabric, number)
        for version, gateway in ((4, "192.0.2.254"), (6, "2001:db8::254")):
            made.ip(f"-{version}", "route", "add", "default", "via", gateway, "dev", INTERFACE, "mtu", "1500")
        made.agent = servers.start_agent(made)
        return made

    # What the router knows.

    def next_hops(self, address):
        """The next hops of the router's route to a virtual address."""
        host, version = self.router.namespace, 6 if ":" in address else 4
        prefix = f"{address}/{LENGTH[version]}"
        shown = host.ip(f"-{version}", "route", "show", "exact", prefix)
        return {plain(one) for one in re.findall(r"\bvia (\S+)", shown)}

    def of(self, nodes, version):
        return {node.address[version] for node in nodes}

    def wait_for(self, nodes, seconds=20):
        """Waits until the router reaches both virtual addresses by exactly these nodes. Returns the seconds it took."""
        return wait_until(lambda: self.is_by(nodes), seconds, self.report)[1]

    def is_by(self, nodes):
        return all(self.next_hops(VIP[version]) == self.of(nodes, version) for version in (4, 6))

    def repair(self):
        """What a test has broken works again, and the router knows it."""
        for node in self.nodes:
            node.repair()
        self.wait_for(self.nodes)

    def losses(self, log, node, since, seconds=5):
        """By version, after how many seconds the router had no route by this node any more. Waits for it."""

        def found():
            times = {version: log.lost(VIP[version], node.address[version], since) for version in (4, 6)}
            return times if all(times.values()) else None

        times, _ = wait_until(found, seconds, self.report)
        took = {version: at - since for version, at in times.items()}
        for version in (4, 6):
            assert node.address[version] not in self.next_hops(VIP[version])
        return took

    def report(self):
        routes = {vip: self.next_hops(vip) for vip in VIP.values()}
        return "\n".join([str(routes), self.router.log()[-3000:], *(node.log() for node in self.nodes)])

    def routes(self):
        """Records the changes of the router's routes."""
        return RouteLog(self.router.namespace, self.directory)

    def carriers(self, conversations):
        """Which node carries each conversation, by what the router's kernel says of its ports and addresses."""
        found = []
        for version in (4, 6):
            # One program of each family asks for all.
            questions = [self._question(one) for one in conversations if one.version == version]
            done = self.router.namespace.run("ip", f"-{version}", "-o", "-batch", "-", input="".join(questions))
            found.append(iter(re.findall(r"\bvia (\S+)", done.stdout)))
        by_address = {address: node for node in self.nodes for address in node.address.values()}
        return [by_address[plain(next(found[one.version == 6]))] for one in conversations]

    @staticmethod
    def _question(one):
        address, port = one.local
        ends = f"{VIP[one.version]} from {address} iif eth1 ipproto {one.protocol}"
        return f"route get {ends} sport {port} dport {one.socket.getpeername()[1]}\n"

    # Traffic.

    @contextlib.contextmanager
    def conversations(self):
        """Conversations, and servers that answer them at TCP 80 and UDP 53."""
        with Conversations() as made:
            for name, host in self.servers.items():
                made.serve(host, name, (("tcp", 80), ("udp", 53)))
            yield made

    def carried(self, conversations, count):
        """Conversations of every kind, and the node that carries each."""
        made = [
            one
            for version in (4, 6)
            for protocol in ("tcp", "udp")
            for one in conversations.opened(self.client, count, PORT[protocol], protocol, version)
        ]
        return made, self.carriers(made)

    def connected(self, conversations, count):
        """Connections over each family."""
        return [one for version in (4, 6) for one in conversations.opened(self.client, count, 80, version=version)]


def describe(took):
    """What `Fleet.losses` has found."""
    return ", ".join(f"IPv{version} after {seconds * 1000:.1f} ms" for version, seconds in took.items())


class Attempt:
    def __init__(self, begun, took, error):
        self.begun = begun  # as time.time()
        self.took = took  # seconds
        self.error = error  # None if the connection was made


class Attempts:
    """New connections by a client, one after another by several threads, while a `with` block runs. A SYN that is lost
    is repeated by the kernel after a second: a connection that takes so long met a dead node."""

    PATIENCE = 5

    def __init__(self, fleet, version, threads=8, pause=0.01, port=80, local_ports=None):
        """`local_ports`: an iterator of those to connect from; by default the kernel chooses, and may use one again soon."""
        self.made = []
        self._fleet = fleet
        self._version = version
        self._pause = pause
        self._port = port
        self._local_ports = local_ports
        self._ending = False
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        for thread in self._threads:
            thread.join()

    def _run(self):
        while not self._ending:
            one = self._fleet.client.socket(FAMILY[self._version], KIND["tcp"])
            one.settimeout(self.PATIENCE)
            begun, error = time.time(), None
            try:
                if self._local_ports:
                    one.bind(("", next(self._local_ports)))
                one.connect((VIP[self._version], self._port))
            except OSError as failure:
                error = failure
            self.made.append(Attempt(begun, time.time() - begun, error))
            # Its port is free at once.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
            time.sleep(self._pause)

    def late(self, limit=0.9):
        """Those that failed or had to repeat their SYN."""
        return [attempt for attempt in self.made if attempt.error or attempt.took > limit]
