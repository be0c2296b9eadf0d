"""Pins: connections of the node itself reach one backend, by the tunnel that its traffic takes.

The node's socket is bound to an address of `node.check_source`, as a probe's is. The kernel's rule and route that lead
there are the controller's to keep; here the test puts them. The server has `guideway-agent` and no other way to get
the packets: they are to the virtual address.
"""

import contextlib
import http.client
import json
import signal
import socket
import time

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from support import binaries, prometheus
from support.daemon import Daemon
from support.events import Connection
from support.hosts import APPLIANCE_MAC, INTERFACE, LB, PYTHON, Fabric, Flood, configuration, running, wait_for_states, wait_until
from support.packets import VIP

DEVICE = "gwcheck"
SOURCE = {4: "10.255.0.9", 6: "2001:db8:e::9"}
# An address of probes that the port has.
OF_PORT = {4: "192.0.2.9", 6: "2001:db8::9"}
BACKEND = {4: "192.0.2.5", 6: "2001:db8::5"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
TABLE = 1001
SECONDS = 10
PORT = 20000
METRIC = "guideway_check_packets_total"

SERVER = """
import socket, sys, threading
def serve(family, address):
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, 80))
    server.listen(1024)
    while True:
        connection, (client, port, *_) = server.accept()
        connection.sendall(f"{client} {port}".encode())
        connection.close()
for family, address in ((socket.AF_INET, sys.argv[1]), (socket.AF_INET6, sys.argv[2])):
    threading.Thread(target=serve, args=(family, address)).start()
print("ready", flush=True)
"""


@pytest.fixture(scope="module")
def fabric(root):
    """A node and a server with an address of each family. The agent takes every encapsulation."""
    with Fabric() as made:
        made.bridge("edge")
        made.cable("gw0", "edge")
        made.server = made.host("edge", *(f"{BACKEND[version]}/{length}" for version, length in ((4, 24), (6, 64))))
        for version in (4, 6):
            # The node has the address on another interface than the one that it answers by.
            made.server.ip("route", "add", SOURCE[version], "via", LB[version], "dev", INTERFACE)
            for source in (SOURCE[version], OF_PORT[version]):
                made.lb.ip(f"-{version}", "rule", "add", "from", source, "lookup", str(TABLE))
        vips = [word for address in VIP.values() for word in ("--vip", address)]
        made.agent = made.server.start(binaries.directory() / "guideway-agent", *vips, stdout=-1)
        assert made.agent.stdout.readline().startswith("ready: ")
        server = made.server.start(PYTHON, "-c", SERVER, VIP[4], VIP[6], stdout=-1)
        assert server.stdout.readline() == "ready\n"
        yield made


def configured(directory, sources=(SOURCE, OF_PORT), encapsulation="gre", change=None):
    def adapt(config):
        config["node"]["check_source"] = [source[version] for source in sources for version in (4, 6)]
        config["metrics"] = {"listen": [str(directory / "metrics.sock")]}
        port = config["port"][0]
        port["addresses"] += [f"{OF_PORT[4]}/24", f"{OF_PORT[6]}/64"]
        backends = [{"name": f"b{version}", "address": BACKEND[version]} for version in (4, 6)]
        config["pool"] = [{"name": "web", "encapsulation": encapsulation, "backends": backends}]
        if change:
            change(config)

    return configuration(directory, change=adapt)


@contextlib.contextmanager
def node(fabric, config, directory):
    """A forwarder that knows the way to its backends, and the kernel's way to it."""
    with running(fabric, config, directory) as daemon:
        wait_for_states(daemon, "active")
        lead_there(fabric)
        with Connection(daemon.socket) as control:
            yield daemon, control


def lead_there(fabric):
    """Routes what comes from the addresses of probes to the device, as the controller does."""
    for version in (4, 6):
        fabric.lb.ip(f"-{version}", "route", "replace", "default", "dev", DEVICE, "table", str(TABLE), "proto", "200")


def pin(control, pins, removed=(), only=False):
    """Sets pins, given by source and backend. Returns how many there are then."""
    rows = [{"source": endpoint(source), "pool": "web", "backend": backend} for source, backend in pins.items()]
    answer = control.ask("pin_set", pins=rows, removed=list(map(endpoint, removed)), only=only)
    assert answer["response"] == "pins_set", answer
    return answer["body"]["pins"]


def endpoint(source):
    address, port = source
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def connect(fabric, source, timeout=2.0):
    """Connects to the virtual address from this source. Returns what the server says: whom it sees."""
    version = 6 if ":" in source[0] else 4
    with fabric.lb.socket(FAMILY[version], socket.SOCK_STREAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A reset, so that the port is free at once.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.settimeout(timeout)
        client.bind(source)
        client.connect((VIP[version], 80))
        return client.recv(100).decode()


def is_lost(fabric, source):
    with pytest.raises(TimeoutError):
        connect(fabric, source, timeout=0.3)
    return True


def outcomes(directory):
    """How many packets had which outcome."""
    connection = http.client.HTTPConnection("localhost", timeout=SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(directory / "metrics.sock"))
    connection.request("GET", "/metrics?scope=node")
    page = connection.getresponse().read().decode()
    connection.close()
    found = prometheus.samples(page).items()
    return {dict(labels)["outcome"]: int(count) for (name, labels), count in found if name == METRIC}


def grown(directory, before):
    """The outcomes since then. A page is a second old at the most."""
    time.sleep(1.1)
    return {name: count - before[name] for name, count in outcomes(directory).items() if count != before[name]}


def agents(fabric):
    fabric.agent.send_signal(signal.SIGUSR1)
    return dict(word.split("=") for word in fabric.agent.stdout.readline().split() if "=" in word)


@pytest.mark.parametrize("encapsulation", ("gre", "gue"))
def test_a_connection_reaches_the_backend_of_its_pin(fabric, directory, encapsulation):
    with node(fabric, configured(directory, encapsulation=encapsulation), directory) as (daemon, control):
        # Each family through a tunnel of each family, from an address of the device and one of the port.
        sources = [
            (address[inner], PORT + 10 * number + outer, f"b{outer}")
            for number, address in enumerate((SOURCE, OF_PORT))
            for inner in (4, 6)
            for outer in (4, 6)
        ]
        assert pin(control, {(address, port): backend for address, port, backend in sources}) == len(sources)
        before, received = outcomes(directory), agents(fabric)
        for address, port, _ in sources:
            assert connect(fabric, (address, port)) == f"{address} {port}"
        # Whatever is still on its way has arrived then.
        sent = grown(directory, before)["sent"]
        after = agents(fabric)
        by = f"by_{encapsulation}"
        through = int(after[by]) - int(received[by])
        # At least a SYN, an ACK and a RST of each.
        assert through >= 3 * len(sources) and through == int(after["delivered"]) - int(received["delivered"])
        assert sent == through
        # They are no traffic of the service, and have no verdict.
        stats = daemon.stats_at_rest()
        assert stats["verdicts"]["forwarded"] == 0
        assert stats["received"] == sum(stats["verdicts"].values())
        assert stats["verdicts"].get("source_invalid", 0) == 0, "servers answer from the virtual address"


def test_without_a_pin_nothing_leaves(fabric, directory):
    with node(fabric, configured(directory), directory) as (_, control):
        source = (SOURCE[4], PORT)
        before, received = outcomes(directory), agents(fabric)
        assert is_lost(fabric, source)
        assert pin(control, {(SOURCE[4], PORT + 1): "b4", (SOURCE[6], PORT): "b6"}) == 2
        assert is_lost(fabric, source), "neither another port nor another address"
        assert pin(control, {source: "nosuch"}) == 3
        assert is_lost(fabric, source), "nor a backend that is not there"
        changes = grown(directory, before)
        assert changes["no_pin"] >= 3 and "sent" not in changes, changes
        assert agents(fabric) == received
        assert pin(control, {source: "b4"}) == 3
        assert connect(fabric, source)
        assert pin(control, {}, removed=[source]) == 2
        assert is_lost(fabric, source)
        assert pin(control, {source: "b6"}, only=True) == 1
        assert connect(fabric, source)
        listed = control.ask("pin_list")["body"]
        assert listed == [{"source": endpoint(source), "pool": "web", "backend": "b6"}]


def test_a_backend_out_of_service_is_reached_and_one_without_a_way_is_not(fabric, directory):
    with node(fabric, configured(directory), directory) as (daemon, control):
        pin(control, {(SOURCE[4], PORT): "b4", (SOURCE[6], PORT): "far"})
        for state in ("down", "disabled"):
            change = {"pool": "web", "backend": "b4", "set": {"state": state}}
            assert control.ask("backend_set", changes=[change], source="controller")["response"] == "backends_set"
            assert connect(fabric, (SOURCE[4], PORT)), state
        before = outcomes(directory)
        beyond = {"name": "far", "address": "10.66.0.1"}
        far = configured(directory, change=lambda config: config.pool()["backends"].append(beyond))
        far.write(daemon.path)
        assert daemon.ctl("config", "reload").returncode == 0
        assert is_lost(fabric, (SOURCE[6], PORT))
        changes = grown(directory, before)
        assert changes["unresolved"] >= 1, changes
        assert connect(fabric, (SOURCE[4], PORT)), "the pin has outlived the reload"


def test_echo_requests_have_their_pin_by_their_identifier(fabric, directory):
    with node(fabric, configured(directory), directory) as (_, control):
        for version in (4, 6):
            line = ("ping", "-n", "-c", "1", "-W", "1", "-e", "4711", "-I", SOURCE[version], VIP[version])
            assert fabric.lb.run(*line, check=False).returncode == 1
            pin(control, {(SOURCE[version], 4711): "b4"})
            assert fabric.lb.run(*line, check=False).returncode == 0


def shown(fabric):
    """The device as the kernel has it: its MTU and addresses. None without it."""
    found = [link for link in fabric.lb.show("address", "show") if link["ifname"] == DEVICE]
    if not found:
        return None
    addresses = {info["local"] for info in found[0]["addr_info"] if not info["local"].startswith("fe80:")}
    return found[0]["mtu"], addresses, "UP" in found[0]["flags"]


def test_the_device_follows_reloads_and_comes_again(fabric, directory):
    # The tunnel over IPv6 has the longer headers: 40 bytes and 4 of GRE.
    whole = (1456, set(SOURCE.values()), True)
    with node(fabric, configured(directory), directory) as (daemon, control):
        assert shown(fabric) == whole
        source = (SOURCE[4], PORT)
        pin(control, {source: "b4"})
        assert connect(fabric, source)

        def reload(**changes):
            configured(directory, **changes).write(daemon.path)
            done = daemon.ctl("config", "reload")
            assert done.returncode == 0, done.stderr

        reload(sources=(OF_PORT,))
        wait_until(lambda: shown(fabric) == (1456, set(), True), what=lambda: shown(fabric))
        reload(sources=())
        wait_until(lambda: shown(fabric) is None)
        reload(encapsulation="vxlan", change=lambda config: config.pool().update(vni=7))
        # 40 bytes of IPv6, 8 of UDP, 8 of VXLAN, 14 of Ethernet.
        wait_until(lambda: shown(fabric) == (1430, whole[1], True), what=lambda: shown(fabric))
        lead_there(fabric)
        assert connect(fabric, source)
        reload()
        wait_until(lambda: shown(fabric) == whole)
        # Somebody sets it down, and somebody removes it.
        fabric.lb.ip("link", "set", DEVICE, "down")
        wait_until(lambda: shown(fabric) == whole, what=lambda: shown(fabric))
        lead_there(fabric)
        assert connect(fabric, source)
        fabric.lb.ip("link", "del", DEVICE)
        wait_until(lambda: shown(fabric) == whole)
        lead_there(fabric)
        assert connect(fabric, source)
        assert "is made again" in daemon.log()
    assert shown(fabric) is None


def test_a_kill_removes_the_device_and_a_restart_has_no_pins(fabric, directory):
    config = configured(directory)
    source = (SOURCE[6], PORT)
    with Daemon(fabric.lb, config, directory) as daemon, Connection(daemon.socket) as control:
        wait_for_states(daemon, "active")
        lead_there(fabric)
        pin(control, {source: "b6"})
        assert connect(fabric, source)
        daemon.process.kill()
        daemon.process.wait()
        assert shown(fabric) is None
    with node(fabric, config, directory) as (_, control):
        assert control.ask("pin_list")["body"] == []
        assert is_lost(fabric, source)
        pin(control, {source: "b6"})
        assert connect(fabric, source)


def test_a_strict_filter_of_the_host_does_not_keep_answers_away(fabric, directory):
    """The answer comes by the port's interface, and a packet back would leave by the device."""
    fabric.lb.sysctl(**{"ipv4.conf.all.rp_filter": 1})
    try:
        with node(fabric, configured(directory), directory) as (daemon, control):
            pin(control, {(SOURCE[4], PORT): "b4"})
            assert connect(fabric, (SOURCE[4], PORT))
            assert "strict" not in daemon.log()
    finally:
        fabric.lb.sysctl(**{"ipv4.conf.all.rp_filter": 0})


def test_a_device_of_that_name_keeps_the_forwarder_from_starting(fabric, directory):
    fabric.lb.ip("tuntap", "add", DEVICE, "mode", "tun")
    try:
        daemon = Daemon(fabric.lb, configured(directory), directory)
        daemon.launch()
        assert daemon.process.wait(SECONDS) == 1
        assert f"node.check_source: there is a device {DEVICE} already" in daemon.log()
    finally:
        fabric.lb.ip("link", "del", DEVICE)


def test_many_connections_at_once(fabric, directory):
    """More than a ring holds: what has no room is sent again by TCP."""
    with node(fabric, configured(directory), directory) as (_, control):
        ports = range(PORT, PORT + 400)
        assert pin(control, {(SOURCE[4], port): "b4" for port in ports}) == len(ports)
        clients = []
        try:
            for port in ports:
                client = fabric.lb.socket(socket.AF_INET, socket.SOCK_STREAM)
                client.setblocking(False)
                client.bind((SOURCE[4], port))
                clients.append(client)
            for client in clients:
                with contextlib.suppress(BlockingIOError):
                    client.connect((VIP[4], 80))
            for client in clients:
                client.settimeout(SECONDS)
                assert client.recv(100).decode() == "{} {}".format(*client.getsockname())
        finally:
            for client in clients:
                client.close()
        assert json.dumps(control.ask("pin_list")).count('"b4"') == len(ports)


def test_a_flood_to_the_node_costs_no_answer(fabric, directory):
    """Answers have an allowance and a queue of their own. The flood is to the very address that they are to."""

    def change(config):
        config["punt.own"] = {"rate": 10, "burst": 1}

    attacker = fabric.host("edge")
    with node(fabric, configured(directory, change=change), directory) as (daemon, control):
        source = (SOURCE[4], PORT)
        pin(control, {source: "b4"})
        frame = Ether(dst=APPLIANCE_MAC["gw0"], src=attacker.mac) / IP(src="10.8.1.1", dst=SOURCE[4])
        frame /= UDP(sport=9, dport=PORT, chksum=0) / bytes(18)
        with Flood(attacker, frame, 5000, 34):
            wait_until(lambda: daemon.ask("stats")["verdicts"].get("punt_limited_own", 0) > 1000)
            # An answer that was lost would come again a second later, and a probe would be over.
            for _ in range(50):
                assert connect(fabric, source, timeout=0.9)
        stats = daemon.stats_at_rest()
        # At least a SYN-ACK and the greeting of each.
        assert stats["events"]["punted_probe"] >= 100
        assert stats["verdicts"].get("punt_limited_probe", 0) == 0
