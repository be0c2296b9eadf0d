"""Without any [[neighbor]]: next hops that the node's kernel finds, from clients of the kernel to servers of the kernel."""

import contextlib

import pytest
from support import hosts
from support.hosts import Fabric, client_of, pool, running, send_datagrams, tunnels, wait_for_states

GATEWAY = {4: "192.0.2.254", 6: "2001:db8::fe"}
SERVERS = {4: ("192.0.2.5", "192.0.2.6"), 6: ("2001:db8::5", "2001:db8::6")}
FAR = {4: ("10.9.0.7", "10.9.0.8"), 6: ("2001:db8:b::7", "2001:db8:b::8")}
CORE = {4: ("10.0.0.5", "10.0.0.6"), 6: ("2001:db8:1::5", "2001:db8:1::6")}
LENGTH = {4: 24, 6: 64}
DATAGRAMS = 200
FAMILIES = (4, 6)


@pytest.fixture
def fabric(root):
    with Fabric() as made:
        made.cable("gw0", made.bridge("edge"))
        yield made


def check_datagrams(client, version, servers, wanted):
    """All datagrams arrive, as tunnels by the MAC addresses of `servers`, to the addresses `wanted`."""
    heard = []
    with contextlib.ExitStack() as stack:
        captures = [stack.enter_context(server.capture()) for server in servers]
        send_datagrams(client, version, DATAGRAMS)
        for capture, server in zip(captures, servers, strict=True):
            arrived = [(mac, address) for mac, address, _ in tunnels(capture.wait(1))]
            # A bridge that has not learnt a MAC address yet sends its frames everywhere.
            heard += [(mac, address) for mac, address in arrived if mac == server.mac]
    assert len(heard) == DATAGRAMS, heard[:5]
    assert {address for _, address in heard} == set(wanted)
    assert {mac for mac, _ in heard} == {server.mac for server in servers}


def bridge_and_cable(fabric, arms):
    """The bridge of the servers: the clients', or one of its own."""
    if arms == 1:
        return "edge"
    fabric.cable("gw1", fabric.bridge("core"))
    return "core"


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize("arms", (1, 2))
def test_backends_on_the_link(fabric, directory, arms, version):
    bridge = bridge_and_cable(fabric, arms)
    addresses = (SERVERS if arms == 1 else CORE)[version]
    servers = [fabric.host(bridge, f"{address}/{LENGTH[version]}") for address in addresses]
    client = client_of(fabric, version)
    config = hosts.configuration(directory, arms, change=lambda config: pool(config, addresses))
    with running(fabric, config, directory) as daemon:
        wait_for_states(daemon, "active")
        check_datagrams(client, version, servers, addresses)


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize("arms", (1, 2))
@pytest.mark.parametrize("way", ("static", "kernel"))
def test_backends_behind_a_gateway(fabric, directory, arms, version, way):
    """By `port.gateways`, or by a route that an operator has set in the kernel."""
    bridge = bridge_and_cable(fabric, arms)
    address = (GATEWAY if arms == 1 else {4: "10.0.0.254", 6: "2001:db8:1::fe"})[version]
    gateway = fabric.host(bridge, f"{address}/{LENGTH[version]}")
    client = client_of(fabric, version)

    def change(config):
        pool(config, FAR[version])
        if way == "static":
            config["port"][-1]["gateways"] = [address]

    with running(fabric, hosts.configuration(directory, arms, change=change), directory) as daemon:
        if way == "kernel":
            wait_for_states(daemon, "unreachable")
            device = "edge0" if arms == 1 else "core0"
            prefix = {4: "10.9.0.0/16", 6: "2001:db8:b::/48"}[version]
            fabric.lb.ip("route", "add", prefix, "via", address, "dev", device)
        wait_for_states(daemon, "active")
        check_datagrams(client, version, [gateway], FAR[version])
        route = daemon.ask("route", "show", "web/b0")
        assert (route["destination"], route["gateway"]) == (FAR[version][0], address), route
        assert route["next_hop"]["mac"] == gateway.mac, route


def test_an_ipv4_route_over_an_ipv6_next_hop(fabric, directory):
    """As BGP unnumbered sets them."""
    gateway = fabric.host("edge", "2001:db8::fe/64")
    client = client_of(fabric, 4)
    config = hosts.configuration(directory, change=lambda config: pool(config, FAR[4]))
    with running(fabric, config, directory) as daemon:
        fabric.lb.ip("route", "add", "10.9.0.0/16", "via", "inet6", "2001:db8::fe", "dev", "edge0")
        wait_for_states(daemon, "active")
        check_datagrams(client, 4, [gateway], FAR[4])


def test_a_backend_by_several_next_hops(fabric, directory):
    """Of several next hops one that lives is used."""
    first, second = (fabric.host("edge", f"192.0.2.{number}/24") for number in (253, 254))
    client = client_of(fabric, 4)
    config = hosts.configuration(directory, change=lambda config: pool(config, FAR[4]))
    with running(fabric, config, directory) as daemon:
        hops = ("nexthop", "via", "192.0.2.253", "dev", "edge0", "nexthop", "via", "192.0.2.254", "dev", "edge0")
        fabric.lb.ip("route", "add", "10.9.0.0/16", *hops)
        wait_for_states(daemon, "active")
        used = daemon.ask("route", "show", "web/b0")["next_hop"]["mac"]
        assert used in (first.mac, second.mac)
        check_datagrams(client, 4, [first if used == first.mac else second], FAR[4])


def test_unreachable_says_why(fabric, directory):
    """`backend list` has the reason, and forwarding to the others goes on."""
    server = fabric.host("edge", "192.0.2.5/24")
    client = client_of(fabric, 4)
    addresses = ["192.0.2.5", "172.31.0.1", "10.1.0.1", "10.2.0.1", "10.3.0.1", "10.4.0.1", "10.5.0.1", "192.0.2.77"]
    # A device that is no port.
    fabric.plug(fabric.lb, "other", fabric.bridge("other"), "02:00:00:00:00:77")
    fabric.lb.ip("address", "add", "172.31.0.1/24", "dev", "other")
    fabric.lb.ip("link", "set", "other", "up")
    for kind, prefix in (("blackhole", "10.1.0.0/16"), ("unreachable", "10.2.0.0/16"), ("prohibit", "10.3.0.0/16")):
        fabric.lb.ip("route", "add", kind, prefix)
    fabric.lb.ip("route", "add", "10.4.0.0/16", "via", "172.31.0.2", "dev", "other")
    config = hosts.configuration(directory, change=lambda config: pool(config, addresses))
    reasons = {
        "b1": {"reason": "own"},
        "b2": {"reason": "refused", "kind": "blackhole"},
        "b3": {"reason": "refused", "kind": "unreachable"},
        "b4": {"reason": "refused", "kind": "prohibit"},
        "b5": {"reason": "not_a_port", "interface": "other"},
        "b6": {"reason": "no_route"},
    }
    with running(fabric, config, directory) as daemon:

        def shown():
            listed = hosts.backends(daemon)
            states = {name: backend["state"] for name, backend in listed.items()}
            wanted = dict.fromkeys(reasons, "unreachable") | {"b0": "active", "b7": "unresolved"}
            return states == wanted and listed

        listed, _ = hosts.wait_until(shown, what=lambda: f"{hosts.backends(daemon)}: {daemon.log()}")
        for name, reason in reasons.items():
            assert listed[name]["next_hop"] == {"state": "unreachable", **reason}
        with server.capture() as capture:
            send_datagrams(client, 4, DATAGRAMS)
            assert any(address == "192.0.2.5" for _, address, _ in tunnels(capture.wait(1)))
