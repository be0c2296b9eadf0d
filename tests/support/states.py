"""An appliance whose backends' states change while hosts hold conversations through it."""

import contextlib
from dataclasses import dataclass

from . import hosts
from .clients import Connection
from .conversations import Conversations
from .daemon import Daemon
from .events import Monitor
from .hosts import INTERFACE, LB, Fabric
from .packets import VIP

SERVERS = {"s1": "192.0.2.11", "s2": "192.0.2.12", "s3": "192.0.2.13"}


def service(name, protocol, port, pool="web", **keys):
    """A service at both virtual addresses."""
    return [
        {"name": f"{name}-{version}", "address": VIP[version], "protocol": protocol, "port": port, "pool": pool, **keys}
        for version in (4, 6)
    ]


def pool(name="web", backends=SERVERS, **keys):
    made = [{"name": server, "address": address} for server, address in backends.items()]
    return {"name": name, "encapsulation": "l2", "backends": made, **keys}


def client_of(fabric, number=100):
    """A host that sends what is for the virtual addresses to the node."""
    client = fabric.host("edge", f"192.0.2.{number}/24", f"2001:db8::{number}/64")
    client.knows_the_node()
    # A second after its FIN a port can be used again.
    client.sysctl(**{"ipv4.tcp_tw_reuse": 1})
    for version, address in VIP.items():
        client.ip("route", "add", address, "via", LB[version], "dev", INTERFACE)
    return client


def server_of(fabric, address):
    """A host with the virtual addresses, which answers clients itself and no question for the virtual addresses."""
    server = fabric.host("edge", f"{address}/24", f"2001:db8::{address.rpartition('.')[2]}/64")
    server.sysctl(**{"ipv4.conf.all.arp_ignore": 1, "ipv4.conf.all.arp_announce": 2})
    for version, vip in VIP.items():
        server.ip("address", "add", f"{vip}/{32 if version == 4 else 128}", "dev", "lo", *(("nodad",) if version == 6 else ()))
    return server


def configuration(directory, pools, services, workers=1, timeouts=None):
    """With several workers the device's queues carry the flows to them."""

    def change(config):
        config["pool"], config["service"] = pools, [one for both in services for one in both]
        if timeouts:
            config["flow"] = {"timeout": timeouts}
        # A worker that waits for its CPU must lose nothing.
        config["port"][0]["device"] += ",blocksz=4096,framesz=2048,framecnt=8192"
        if workers > 1:
            config["port"][0]["device"] += f",qpairs={workers}"
            config["port"][0]["steering"] = "queues"

    return hosts.configuration(directory, workers=workers, change=change)


@dataclass
class Rig:
    """The appliance, a client and the servers."""

    fabric: Fabric
    daemon: Daemon
    client: hosts.Host
    hosts: dict  # the servers' hosts by name
    servers: dict  # by name
    conversations: Conversations
    control: Connection

    def set(self, backend, order, pool="web", **fields):
        """Sets a state or weight of a backend, or unsets it. It is in force afterwards."""
        return self.control.ask("backend_set", changes=[change(pool, backend, order)], **fields)["backends"]

    def listed(self, backend, pool="web"):
        """A backend as it is listed."""
        found = [one for one in self.control.ask("backend_list") if (one["pool"], one["name"]) == (pool, backend)]
        return found[0]

    def live(self, backend, pool="web"):
        """The flows that a backend has."""
        return self.listed(backend, pool)["traffic"]["live"]

    def monitor(self):
        """The events from now on."""
        return contextlib.closing(Monitor(self.daemon.socket, since=0))

    def open(self, count, port, protocol="tcp", **options):
        """Conversations that have begun, half of them over IPv6."""
        both = (self.conversations.opened(self.client, count // 2, port, protocol, version, **options) for version in (4, 6))
        return [one for some in both for one in some]


def change(pool, backend, order):
    """A change for `backend_set`: of one backend, or with None of all of the pool."""
    return {"pool": pool, "set": order, **({"backend": backend} if backend else {})}


def state(name):
    return {"state": name}


@contextlib.contextmanager
def rig(directory, config, servers=SERVERS):
    """Everything runs, and every backend is active."""
    ports = sorted({(service["protocol"], service["port"]) for service in config["service"]})
    with Fabric() as fabric:
        fabric.cable("gw0", fabric.bridge("edge"))
        client = client_of(fabric)
        machines = {name: server_of(fabric, address) for name, address in servers.items()}
        with Conversations() as conversations:
            named = {name: conversations.serve(machine, name, ports) for name, machine in machines.items()}
            with hosts.running(fabric, config, directory) as daemon:
                hosts.wait_for_states(daemon, "active")
                with Connection(daemon.socket) as control:
                    yield Rig(fabric, daemon, client, machines, named, conversations, control)
                conversations.check()


def at(conversations, *servers):
    """Those that these servers answer."""
    return [one for one in conversations if one.server in servers]


def disturbed(conversations):
    """Those that have broken or moved, and how."""
    return [(one.number, one.broken, one.moves) for one in conversations if one.broken or one.moves]
