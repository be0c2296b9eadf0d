"""Neighbours that the node's kernel keeps: what changes about them is in force at the packets."""

import contextlib
import re
import subprocess
import time
from datetime import datetime

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from support import hosts
from support.hosts import IN_TIME, INTERFACE, Fabric, arrivals, pool, running, tunnels, wait_for_states, wait_until
from support.network import Traffic
from support.packets import client_packet, flow

BACKEND = {4: "192.0.2.5", 6: "2001:db8::5"}
PREFIX = {4: "192.0.2.5/24", 6: "2001:db8::5/64"}
BROADCAST = "ff:ff:ff:ff:ff:ff"
FORGED = {4: "request", 6: "advertisement"}
PER_SECOND = 2000
FAMILIES = (4, 6)


@pytest.fixture
def fabric(root):
    with Fabric() as made:
        made.end = made.cable("gw0", made.bridge("edge"))
        yield made


@contextlib.contextmanager
def appliance(fabric, directory, version, **neighbor):
    """An appliance with one backend, which is on the link."""

    def change(config):
        pool(config, [BACKEND[version]])
        if neighbor:
            config["neighbor"] = [{"address": BACKEND[version], **neighbor}]

    with running(fabric, hosts.configuration(directory, change=change), directory) as daemon:
        wait_for_states(daemon, "active")
        yield daemon


@contextlib.contextmanager
def traffic(fabric, version):
    """Packets of 50 flows to the service."""
    client = fabric.host("edge")
    templates = [client_packet(flow(version, "udp", 7, 6000 + n), payload=bytes(8)).frame for n in range(50)]
    with Traffic(client, INTERFACE, templates, PER_SECOND) as sender:
        sender.wait(PER_SECOND // 10)
        yield sender


def announcement(kind, mac):
    """What a host sends that takes over the backend's address: a gratuitous request as of RFC 5227, or a reply as other
    systems send; over IPv6 an unsolicited advertisement."""
    if kind == "advertisement":
        said = ICMPv6ND_NA(R=0, S=0, O=1, tgt=BACKEND[6]) / ICMPv6NDOptDstLLAddr(lladdr=mac)
        return Ether(dst="33:33:00:00:00:01", src=mac) / IPv6(src=BACKEND[6], dst="ff02::1", hlim=255) / said
    operation, target = {"request": (1, "00:00:00:00:00:00"), "reply": (2, mac), "broadcast reply": (2, BROADCAST)}[kind]
    said = ARP(op=operation, hwsrc=mac, psrc=BACKEND[4], hwdst=target, pdst=BACKEND[4])
    return Ether(dst=BROADCAST, src=mac) / said


def move(version, one, other):
    """The backend's address moves from one host to the other, which tells nobody."""
    one.ip("address", "del", PREFIX[version], "dev", INTERFACE)
    nodad = ("nodad",) if version == 6 else ()
    other.ip("address", "add", PREFIX[version], "dev", INTERFACE, *nodad)


def check_move(fabric, directory, version, limit, announce=None):
    one, other = fabric.host("edge", PREFIX[version]), fabric.host("edge")
    with appliance(fabric, directory, version) as daemon, traffic(fabric, version) as sender:
        with one.capture() as at_one, other.capture() as at_other:
            wait_until(lambda: arrivals(at_one, one.mac))
            assert not arrivals(at_other, other.mac)
            move(version, one, other)
            begin = time.time()
            if announce:
                raw = other.packet_socket(INTERFACE)
                raw.send(bytes(announcement(announce, other.mac)))
                raw.close()
            first = wait_until(lambda: arrivals(at_other, other.mac), 10, daemon.log)[0][0]
            sender.wait(PER_SECOND // 4)
            last = max(arrivals(at_one, one.mac))
        print(f"IPv{version}, {announce}: first by the new way after {(first - begin) * 1000:.0f} ms")
        assert first - begin < limit
        assert last - begin < limit
        assert hosts.backends(daemon)["b0"]["next_hop"]["mac"] == other.mac


@IN_TIME
@pytest.mark.parametrize("kind", ("request", "reply", "broadcast reply", "advertisement"))
def test_an_announced_mac_address_is_in_force_within_100_ms(fabric, directory, kind):
    check_move(fabric, directory, 6 if kind == "advertisement" else 4, 0.1, kind)


@IN_TIME
@pytest.mark.parametrize("version", FAMILIES)
def test_a_silent_change_is_found_within_5_s(fabric, directory, version):
    check_move(fabric, directory, version, 5)


@pytest.mark.parametrize("version", FAMILIES)
def test_a_forged_announcement_does_not_change_a_configured_neighbor(fabric, directory, version):
    server, forger = fabric.host("edge", PREFIX[version]), fabric.host("edge")
    with appliance(fabric, directory, version, mac=server.mac) as daemon, traffic(fabric, version) as sender:
        with server.capture() as at_server, forger.capture() as at_forger:
            raw = forger.packet_socket(INTERFACE)
            before = sender.sent
            for _ in range(10):
                raw.send(bytes(announcement(FORGED[version], forger.mac)))
                sender.wait(PER_SECOND // 20)
            raw.close()
            assert not arrivals(at_forger, forger.mac)
            assert len(arrivals(at_server, server.mac)) > 0.9 * (sender.sent - before)
        assert hosts.backends(daemon)["b0"]["next_hop"]["mac"] == server.mac


@pytest.mark.parametrize("version", FAMILIES)
def test_a_forged_announcement_of_a_learnt_neighbor_is_undone_within_5_s(fabric, directory, version):
    """ARP knows no better. The kernel asks again soon, and the real host answers."""
    server, forger = fabric.host("edge", PREFIX[version]), fabric.host("edge")
    with appliance(fabric, directory, version) as daemon, traffic(fabric, version):
        raw = forger.packet_socket(INTERFACE)
        raw.send(bytes(announcement(FORGED[version], forger.mac)))
        raw.close()
        with server.capture() as at_server:
            begin = time.time()

            def back():
                at = arrivals(at_server, server.mac)
                return hosts.backends(daemon)["b0"]["next_hop"].get("mac") == server.mac and at and at[-1] > begin

            wait_until(back, 5, daemon.log)


def managed(fabric):
    """The addresses that Guideway has entered, with a MAC address or without."""
    return {entry["dst"]: entry.get("lladdr") for entry in fabric.lb.show("neigh", "show", "dev", "edge0") if "managed" in entry}


def resolved(fabric, addresses):
    entries = managed(fabric)
    return all(entries.get(address) for address in addresses)


def missing(fabric):
    return [line for line in fabric.lb.ip("neigh", "show", "dev", "edge0").splitlines() if "lladdr" not in line] or "none"


def many(fabric):
    """A host that answers ARP for 10.64.0.0/19."""
    host = fabric.host("edge", "10.64.63.253/18")
    host.ip("route", "add", "local", "10.64.0.0/19", "dev", "lo")
    return host


def addresses_of_many(count):
    return [f"10.64.{n // 250}.{n % 250 + 1}" for n in range(count)]


def with_many(directory, addresses, table_size=65537):
    def change(config):
        config["port"][0]["addresses"].append("10.64.63.254/18")
        config["hash"]["table_size"] = table_size
        pool(config, addresses)

    return hosts.configuration(directory, change=change)


def test_managed_entries_are_back_after_carrier_loss(fabric, directory):
    addresses = [*addresses_of_many(200), BACKEND[6]]
    many(fabric)
    fabric.host("edge", PREFIX[6])
    with running(fabric, with_many(directory, addresses), directory) as daemon:
        wait_for_states(daemon, "active")
        assert resolved(fabric, addresses)
        for _ in range(3):
            fabric.switch.ip("link", "set", fabric.end, "down")
            wait_for_states(daemon, "unreachable", 2)
            assert not daemon.ask("port", "list")[0]["link"]["up"]
            assert hosts.backends(daemon)["b0"]["next_hop"]["reason"] == "link_down"
            fabric.switch.ip("link", "set", fabric.end, "up")
            _, seconds = wait_until(lambda: resolved(fabric, addresses), 5, lambda: missing(fabric))
            print(f"all {len(addresses)} entries are back after {seconds * 1000:.0f} ms")
            wait_for_states(daemon, "active", 5)
        assert set(managed(fabric)) == set(addresses)


@IN_TIME
def test_removed_entries_are_entered_again_within_100_ms(fabric, directory):
    addresses = addresses_of_many(200)
    many(fabric)
    with running(fabric, with_many(directory, addresses), directory) as daemon:
        wait_for_states(daemon, "active")
        monitor = fabric.lb.start("ip", "-o", "-ts", "monitor", "neigh", "dev", "edge0", stdout=subprocess.PIPE)
        wait_until(lambda: resolved(fabric, addresses))
        # It does not say when it listens.
        time.sleep(0.5)
        fabric.lb.batch(f"neigh del {address} dev edge0" for address in addresses)
        wait_until(lambda: resolved(fabric, addresses), 5, daemon.log)
        monitor.terminate()
        removed, entered = {}, {}
        for line in monitor.communicate(timeout=10)[0].splitlines():
            # [2026-11-29T19:00:00.123456] Deleted 10.64.0.1 lladdr ... or [...] 10.64.0.1 ... managed ...
            stamp, deleted, address = re.match(r"\[(\S+)\] (Deleted )?(\S+)", line).groups()
            at = datetime.fromisoformat(stamp).timestamp()
            if deleted:
                removed[address] = at
            elif "managed" in line and address in removed:
                entered.setdefault(address, at)
        late = {address: entered.get(address, 1e12) - at for address, at in removed.items()}
        assert set(removed) == set(addresses)
        print(f"entered again after at most {max(late.values()) * 1000:.0f} ms")
        assert max(late.values()) < 0.1
        wait_for_states(daemon, "active", 5)


def test_five_thousand_backends_on_the_link(fabric, directory):
    """More than the kernel's own limit of 1,024 neighbours, which does not count entries from outside."""
    addresses = addresses_of_many(5000)
    server = many(fabric)
    with running(fabric, with_many(directory, addresses, 524287), directory) as daemon:
        seconds = wait_for_states(daemon, "active", 60)
        print(f"5,000 neighbours are known after {seconds:.1f} s")
        client = hosts.client_of(fabric, 4)
        with server.capture() as capture:
            hosts.send_datagrams(client, 4, 2000)
            heard = list(tunnels(capture.wait(2000)))
        assert len(heard) == 2000
        assert {mac for mac, _, _ in heard} == {server.mac}
        # The kernel asks each of them again every two seconds or so.
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert {backend["state"] for backend in daemon.ask("backend", "list")} == {"active"}, daemon.log()
        assert len(managed(fabric)) == 5000
