"""Virtual addresses on a link: the kernel replies for them, and hosts there reach the services.

The listings of the kernel's side are looked at on the way.
"""

import re

import pytest
from support.daemon import Daemon
from support.network import Capture

from live.test_kernel_interface import CABLE, MAC, NEIGHBOR, NODE, TAP, configured, ip, network, ping, wait_until

__all__ = ["network"]

VIP = {4: "192.0.2.100", 6: "2001:db8::100"}
PEER = CABLE + "p"


def on_link(directory, answers=True):
    def change(config):
        for service in config["service"]:
            service["address"] = VIP[6 if ":" in service["address"] else 4]
            service["answer_on_link"] = answers

    return configured(directory).changed(change)


def addresses(daemon):
    [row] = daemon.ask("interface", "list")
    assert (row["port"], row["interface"], row["state"], row["mac"]) == ("edge0", TAP, "up", MAC)
    return row["addresses"]


def resolved(neighbor, address):
    shown = ip(neighbor, "neigh", "show", "dev", PEER)
    return re.search(rf"^{address} lladdr {MAC} REACHABLE", shown, re.MULTILINE)


@pytest.fixture
def captured(network):
    capture = Capture(network[1], PEER)
    yield capture.frames
    capture.close()


def test_hosts_on_the_link_reach_a_virtual_address(network, captured, directory):
    node, neighbor = network
    with Daemon(node, on_link(directory), directory) as daemon:
        hosts = [f"{VIP[4]}/32", f"{VIP[6]}/128"]
        wait_until(lambda: all(host in addresses(daemon) for host in hosts), lambda: addresses(daemon))

        # Both are announced, twice.
        def announcements():
            arp = [frame for frame in captured if frame[12:14] == b"\x08\x06" and frame[28:32] == bytes((192, 0, 2, 100))]
            advertised = [frame for frame in captured if frame[12:14] == b"\x86\xdd" and frame[54] == 136]
            return len(arp), len(advertised)

        wait_until(lambda: min(announcements()) >= 2, announcements)

        for version, vip in VIP.items():
            # The packet path replies to pings. The kernel would count them.
            assert len(ping(neighbor, vip)) == 20
            assert ip(neighbor, "neigh", "get", vip, "dev", PEER).split()[4] == MAC
            # A host verifies what it knows, by unicast.
            ip(neighbor, "neigh", "change", vip, "dev", PEER, "lladdr", MAC, "nud", "probe")
            wait_until(lambda vip=vip: resolved(neighbor, vip), lambda: ip(neighbor, "neigh", "show"))
            # The node's own connections have its own address.
            assert f" src {NODE[version]} " in ip(node, "route", "get", NEIGHBOR[version])
        assert daemon.ask("stats")["verdicts"]["echo_replied"] == 40

        # Without the key, and without a restart, the addresses go.
        on_link(directory, answers=False).write(daemon.path)
        assert any("nobody replies to ARP" in warning for warning in daemon.ask("config", "reload")["warnings"])
        wait_until(lambda: not any(host in addresses(daemon) for host in hosts), lambda: addresses(daemon))
        assert daemon.stop()[0] == 0, daemon.log()
        assert "panicked" not in daemon.log()


def test_listings_of_the_kernels_side(network, directory):
    node, neighbor = network

    def change(config):
        config["neighbor"] = []
        config.backends()["near4"]["address"] = NEIGHBOR[4]
        config["port"][0]["gateways"] = []

    with Daemon(node, configured(directory).changed(change), directory) as daemon:
        ip(node, "route", "add", "10.9.0.0/16", "via", NEIGHBOR[4], "dev", TAP, "proto", "static")
        route = {}

        def is_known():
            route.update(daemon.ask("route", "show", "web/far4"))
            return route["next_hop"]["state"] == "resolved"

        wait_until(is_known, lambda: route)
        learnt = {"from": "kernel", "table": 254, "prefix": "10.9.0.0/16", "protocol": 4}
        assert (route["learnt"], route["gateway"], route["interface"]) == (learnt, NEIGHBOR[4], TAP)

        # The kernel's part of a listing is up to a fifth of a second old.
        def gateway():
            rows = {row["address"]: row for row in daemon.ask("neighbor", "list")}
            return tuple(rows[NEIGHBOR[4]][key] for key in ("backends", "managed", "interface"))

        wait_until(lambda: gateway() == (2, True, TAP), gateway)
        states = {row["name"]: row["state"] for row in daemon.ask("backend", "list")}
        assert (states["near4"], states["far4"], states["far6"]) == ("active", "active", "unreachable")
        ip(node, "route", "add", "blackhole", "2001:db8:b::/48")
        refused = {"state": "unreachable", "reason": "refused", "kind": "blackhole"}

        def far6():
            return daemon.ask("route", "show", "far6")["next_hop"]

        wait_until(lambda: far6() == refused, far6)
        missing = daemon.ctl("route", "show", "nosuch")
        assert (missing.returncode, missing.stderr) == (4, "error: no backend is named nosuch\n")
        assert len(ping(neighbor, NODE[4], count=3)) == 3

        def punted():
            return {row["class"]: row["punted"] for row in daemon.ask("punt", "list")}

        wait_until(lambda: punted()["own"] >= 3 and punted()["neighbor"] >= 1, punted)
        [interface] = daemon.ask("interface", "list")
        assert interface["to_kernel"]["packets"] >= 4 and interface["from_kernel"]["packets"] >= 4
        assert daemon.stop()[0] == 0, daemon.log()
