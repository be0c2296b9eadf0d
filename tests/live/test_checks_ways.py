"""What a probe through the tunnel finds and a direct one does not, and what keeps probes or their answers from passing."""

import itertools
import re
import signal
import tempfile
import time
from pathlib import Path

import pytest
from support import servers
from support.checks import SOURCE, TABLE, TUN, Rig, check, pool, service
from support.hosts import tunnels, wait_until
from support.packets import VIP
from support.prometheus import get, samples

# Milliseconds. `fall` of them are longer than announce.stall, after which a forwarder that says nothing is taken for lost.
INTERVAL = 300
# The longest packets of a check with a `size`: with GRE over IPv4 and Ethernet they fit the link, and a way of HOLE not.
SIZE = 1440
HOLE = 1400
CHECKS = (
    check("tunnel", "tcp", interval=INTERVAL),
    check("tunnel6", "http", interval=INTERVAL, address=VIP[6]),
    check("direct", "tcp", interval=INTERVAL, via="direct"),
    check("sized", "ping", interval=INTERVAL, size=SIZE),
    check("sized-http", "http", interval=INTERVAL, size=SIZE, address=VIP[6]),
    check("echo", "ping", interval=INTERVAL),
)
ALL = [one["name"] for one in CHECKS]
THROUGH = [name for name in ALL if name != "direct"]


@pytest.fixture(scope="module")
def whole(root):
    pools = [pool(checks=ALL, panic_threshold=100)]

    def change(config):
        config["metrics"] = {"listen": ["127.0.0.1:9420"]}

    services = [service("web", 80)]
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Rig(Path(name), CHECKS, pools, services, change=change) as rig:
        yield rig


@pytest.fixture
def rig(whole):
    """Every check of every server says that it is up."""
    whole.checker.wait_for({(name, server): "up" for name in ALL for server in whole.servers})
    return whole


def found(rig, server, down, up):
    """Waits until these checks say that the server is down, and asserts that these say that it is up, as for all others."""
    rig.checker.wait_for({(name, server): "down" for name in down})
    states = rig.checker.states()
    assert {states[name, server] for name in up} <= {"up"}, rig.checker.report()
    assert {state for (_, other), state in states.items() if other != server} == {"up"}
    wait_until(lambda: rig.checker.backends()[server] == "down", 2, rig.checker.report)
    assert {state for other, state in rig.checker.backends().items() if other != server} == {"active"}


def test_an_agent_that_is_gone(rig):
    """Its kernel refuses the tunnel's packets then, and the row says so."""
    server = rig.servers["s1"]
    servers.kill(server.agent)
    try:
        assert server.run("ip", "address", "show", "dev", "lo").stdout.count(VIP[4]) == 1, "SIGKILL leaves the address"
        found(rig, "s1", THROUGH, ["direct"])
        row = rig.checker.row("tunnel")
        assert (row["result"]["code"], row["via"], row["target"]) == ("L4TOUT", "tunnel", f"{VIP[4]}:80")
        row = rig.checker.row("direct")
        assert (row["result"]["code"], row["via"], row["target"]) == ("L4OK", "direct", "192.0.2.11:80")
        # The setting names the check and the failing step.
        [backend] = [one for one in rig.node.daemon.ask("backend", "list") if one["name"] == "s1"]
        assert re.search(r"check \S+: L4TOUT in \d+ ms: \S", repr(backend)), backend
        # The kernel limits how often it says so.
        icmp, _ = wait_until(lambda: rig.checker.row("tunnel").get("icmp"), 10, rig.checker.report)
        assert "192.0.2.11" in icmp and "unreachable" in icmp, icmp
        assert not rig.checker.row("tunnel", "s2").get("icmp")
        assert icmp in rig.node.controller.ctl("check", "show", "tunnel/s1", output="table").stdout
    finally:
        server.agent = servers.start_agent(server)
    rig.checker.wait_for({(name, "s1"): "up" for name in ALL})
    wait_until(lambda: rig.checker.backends()["s1"] == "active", 2, rig.checker.report)


def test_a_server_without_the_virtual_address(rig):
    server = rig.servers["s2"]
    prefixes = {4: f"{VIP[4]}/32", 6: f"{VIP[6]}/128"}
    for prefix in prefixes.values():
        server.ip("address", "del", prefix, "dev", "lo")
    try:
        found(rig, "s2", THROUGH, ["direct"])
    finally:
        for prefix in prefixes.values():
            server.ip("address", "add", prefix, "dev", "lo", *(("nodad",) if ":" in prefix else ()))


def test_a_fabric_that_drops_long_packets(rig):
    """Silently, as a link does whose MTU is smaller than its ends believe."""
    server = rig.servers["s3"]
    rig.fabric.switch.ip("link", "set", server.end, "mtu", str(HOLE))
    try:
        found(rig, "s3", ["sized", "sized-http"], ["tunnel", "tunnel6", "direct", "echo"])
        assert rig.checker.row("sized", "s3")["result"]["code"] == "L4TOUT"
        # The connection is made, and its first long segment is lost.
        assert rig.checker.row("sized-http", "s3")["result"]["code"] == "L7TOUT"
    finally:
        rig.fabric.switch.ip("link", "set", server.end, "mtu", "1600")


def test_probes_look_like_data(rig):
    """They come by the tunnel of the backend, with the outer source and port of the node, from few source ports each."""
    server = rig.servers["s1"]
    with server.capture() as capture:
        time.sleep(2)
        frames = [frame for _, _, frame in tunnels(capture.frames)]
    inner = [frame[14 + 20 + 4 :] for frame in frames]
    syns = [packet for packet in inner if packet[0] >> 4 == 4 and packet[9] == 6 and packet[33] & 0x12 == 2]
    assert len(syns) >= 5
    assert {frame[26:30] for frame in frames} == {bytes((192, 0, 2, 1))}, "the tunnel's source"
    assert {packet[12:16] for packet in syns} == {bytes((192, 0, 2, 101))}, "the probe's source"
    ports = [int.from_bytes(packet[20:22], "big") for packet in syns]
    assert 2 <= len(set(ports)) <= 4 and all(10_000 <= port <= 59_999 for port in ports), ports
    # By turns: no port is used twice in a row.
    assert all(one != other for one, other in itertools.pairwise(ports)), ports
    shown = rig.node.controller.ask("check", "show", "tunnel/s1")
    assert set(ports) == {int(source.rpartition(":")[2]) for source in shown["sources"]}, shown


def dropped(rig):
    """The forwarder's counter of packets that came by the TUN and have no pin."""
    page = samples(get(rig.node.host, "/metrics"))
    found = {labels: value for (name, labels), value in page.items() if name.startswith("guideway_check_packets")}
    return sum(value for labels, value in found.items() if "pin" in repr(labels)), found


def test_packets_without_a_pin_are_dropped_and_counted(rig):
    before, _ = dropped(rig)
    with rig.servers["s1"].capture() as capture:
        # A port outside of the reserved range, by the same way as probes.
        for version, source in SOURCE.items():
            line = f"import socket; s = socket.socket({'socket.AF_INET6' if version == 6 else 'socket.AF_INET'}, "
            line += f"socket.SOCK_DGRAM); s.bind(('{source}', 60123)); "
            line += f"[s.sendto(b'nobody', ('{VIP[version]}', 53)) for _ in range(50)]"
            rig.node.host.run("/usr/bin/python3", "-c", line)
        wait_until(lambda: dropped(rig)[0] >= before + 100, 5, lambda: f"{before} {dropped(rig)}")
        assert not [frame for _, _, frame in tunnels(capture.frames) if b"nobody" in frame]
    assert dropped(rig)[0] - before < 150


def test_probes_go_no_other_way(rig):
    """Without the TUN they go nowhere: the table has no other route."""
    for version in (4, 6):
        shown = rig.node.host.ip(f"-{version}", "route", "show", "table", TABLE)
        assert f"default dev {TUN}" in shown and "unreachable default" in shown, shown
        rules = rig.node.host.ip(f"-{version}", "rule", "show")
        assert re.search(rf"from {SOURCE[version]} lookup {TABLE}", rules), rules


def test_a_strict_filter_is_found_and_said(rig):
    """Strict, the kernel drops the answers, whose way back would be the TUN."""
    interface = rig.node.daemon.config["port"][0]["name"]
    host = rig.node.host

    def effective():
        values = (host.run("sysctl", "-n", f"net.ipv4.conf.{of}.rp_filter").stdout for of in ("all", interface))
        return max(map(int, values))

    before = host.run("sysctl", "-n", f"net.ipv4.conf.{interface}.rp_filter").stdout.strip()
    assert effective() != 1 and not rig.checker.list().get("warnings")
    host.sysctl(**{f"ipv4.conf.{interface}.rp_filter": 1})
    try:
        rig.checker.wait_for({("tunnel", server): "down" for server in rig.servers})
        assert set(rig.checker.states("tunnel6").values()) == {"up"}, "IPv6 has no such filter"
        warnings, _ = wait_until(lambda: rig.checker.list().get("warnings"), 10, rig.checker.report)
        assert re.search(rf"rp_filter.*\b{interface}\b|\b{interface}\b.*rp_filter", " ".join(warnings)), warnings
        assert "warning: " in rig.node.controller.ctl("check", "list", output="table").stderr
        assert any("rp_filter" in repr(event) for event in rig.checker.events("check_path"))
    finally:
        host.sysctl(**{f"ipv4.conf.{interface}.rp_filter": int(before)})
    rig.checker.wait_for({("tunnel", server): "up" for server in rig.servers})
    wait_until(lambda: not rig.checker.list().get("warnings"), 10, rig.checker.report)


def test_somebody_flushes_the_rules(rig):
    """The way of probes is put back within a second; what was frozen or failed meanwhile recovers."""
    host = rig.node.host
    before = {version: host.ip(f"-{version}", "rule", "show") for version in (4, 6)}
    for version in (4, 6):
        host.ip(f"-{version}", "rule", "flush")
        host.ip(f"-{version}", "route", "flush", "table", TABLE)
    for version in (4, 6):
        wait_until(lambda v=version: host.ip(f"-{v}", "rule", "show") == before[v], 2, rig.checker.report)
        wait_until(lambda v=version: TUN in host.ip(f"-{v}", "route", "show", "table", TABLE), 2, rig.checker.report)
    rig.checker.wait_for_fresh_results()
    rig.checker.wait_for({(name, server): "up" for name in ALL for server in rig.servers})


def test_the_forwarder_stands_still(rig):
    """Its answers and the tunnels are missing: that says nothing about backends, so states freeze."""
    begin = time.monotonic()
    with rig.checker.monitor() as monitor:
        rig.node.daemon.process.send_signal(signal.SIGSTOP)
        try:
            frozen = monitor.until("checks_frozen", seconds=5)
            print(f"frozen after {time.monotonic() - begin:.2f} s: {frozen}")
            time.sleep(1.5)
            assert rig.checker.list()["frozen"]
            assert {state for (name, _), state in rig.checker.states().items()} == {"up"}, rig.checker.report()
        finally:
            rig.node.daemon.process.send_signal(signal.SIGCONT)
        monitor.until("checks_resumed", seconds=5)
    assert not rig.checker.list().get("frozen")
    # The direct way does not need the forwarder; its port's interface does. All are well again.
    rig.checker.wait_for_fresh_results()
    assert set(rig.checker.states().values()) == {"up"}
    assert set(rig.checker.backends().values()) == {"active"}
