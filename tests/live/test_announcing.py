"""The interface of the virtual addresses: routes that lead there are gone whenever the forwarder does not forward."""

import contextlib
import fcntl
import http.client
import json
import signal
import socket
import struct
import subprocess
import time

import pytest
from support import replay
from support.config import one_port, two_ports
from support.daemon import Daemon, live
from support.events import Connection
from support.network import Namespace, Traffic, capturing
from support.packets import client_packet, flow
from support.threads import stopped

NAME = "gwvip"
ROUTES = ("192.0.2.9", "2001:db8:f::9")
SECONDS = 10
SIOCGIFFLAGS = 0x8913
IFF_UP = 1
FRAMES = [client_packet(flow(version, "udp", 7, 9000 + n), payload=bytes(8)).frame for version in (4, 6) for n in range(10)]


@pytest.fixture
def place(root):
    """A namespace with interfaces for two ports."""
    with Namespace() as made:
        ip(made, "link", "set", "lo", "up")
        for name in ("veth0", "veth1"):
            made.cable(name)
        yield made


def ip(place, *words, check=True):
    return subprocess.run(["ip", "-n", place.name, *words], check=check, capture_output=True, text=True, timeout=30)


def configured(directory, ports=1, workers=1, idle="pause", **announce):
    def change(config):
        config["announce"] = announce
        config["dpdk"]["idle"] = idle
        config["metrics"] = {"listen": [str(directory / "metrics.sock")]}
        if ports == 2:
            config["port"][1]["device"] = "net_af_packet1,iface=veth1"

    return live(two_ports() if ports == 2 else one_port(), "veth0", directory, workers).changed(change)


class Interface:
    """The interface as the kernel has it, asked for without a program, which takes some microseconds."""

    def __init__(self, place, name=NAME):
        self._socket = place.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._name = name.encode()

    def is_up(self):
        """Whether it is up; None without such a device."""
        with contextlib.suppress(OSError):
            answer = fcntl.ioctl(self._socket, SIOCGIFFLAGS, struct.pack("16sH14x", self._name, 0))
            return bool(struct.unpack("16sH14x", answer)[1] & IFF_UP)
        return None

    def wait(self, *states, seconds=SECONDS):
        """Waits for one of the states. Returns the seconds until then."""
        begin = time.monotonic()
        while self.is_up() not in states:
            assert time.monotonic() < begin + seconds, (self.is_up(), states)
            time.sleep(0.0002)
        return time.monotonic() - begin

    def stays(self, state, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.is_up() == state
            time.sleep(0.002)


@contextlib.contextmanager
def running(place, config, directory):
    """A forwarder whose interface is up."""
    with Daemon(place, config, directory) as daemon:
        interface = Interface(place)
        interface.wait(True)
        wait_for_state(daemon, "up")
        yield daemon, interface


def announce(place):
    """Puts routes there, as the controller does."""
    for address in ROUTES:
        length = 128 if ":" in address else 32
        ip(place, "route", "add", f"{address}/{length}", "dev", NAME, "table", "1000", "proto", "200", "metric", "1000")
    assert announced(place) == sorted(ROUTES)


def announced(place):
    """The addresses that have a route."""
    found = []
    for family in ("-4", "-6"):
        # Without the table there is no route either.
        shown = ip(place, family, "-j", "route", "show", "table", "1000", check=False)
        found += [route["dst"] for route in json.loads(shown.stdout or "[]")]
    return sorted(found)


def state(daemon):
    return daemon.ask("status")["announcing"]


def wait_for_state(daemon, name, **more):
    end = time.monotonic() + SECONDS
    while (found := state(daemon)) != found | {"interface": NAME, "state": name, **more}:
        assert time.monotonic() < end, (found, daemon.log())
        time.sleep(0.01)


def happened(daemon):
    """What was recorded of the interface, without numbers and times."""
    kinds = ["announcing_began", "announcing_ended"]
    with Connection(daemon.socket) as connection:
        events = connection.ask("monitor", since=1, kinds=kinds, follow=False)["body"]["events"]
    assert all(event["interface"] == NAME for event in events), events
    return [(event["event"], event.get("state")) for event in events]


BEGAN = ("announcing_began", None)


def ended(why):
    return ("announcing_ended", why)


def page(directory, name):
    """The status of a page, and its text."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(SECONDS)
    connection.sock.connect(str(directory / "metrics.sock"))
    with contextlib.closing(connection):
        connection.request("GET", f"/{name}")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def metric(directory, name):
    lines = page(directory, "metrics")[1].splitlines()
    return [float(line.split()[1]) for line in lines if line.startswith(f"{name} ")]


def test_an_interface_that_carries_routes_and_nothing_else(place, directory):
    with running(place, configured(directory), directory) as (daemon, interface):
        [shown] = json.loads(ip(place, "-j", "-d", "address", "show", "dev", NAME).stdout)
        assert {"UP", "NOARP", "POINTOPOINT"} <= set(shown["flags"])
        assert shown["linkinfo"]["info_data"]["type"] == "tun" and not shown["linkinfo"]["info_data"]["persist"]
        addresses = {(found["local"], found["prefixlen"]) for found in shown["addr_info"]}
        assert addresses == {("192.0.0.8", 32), ("fe80::8", 128)}
        announce(place)
        # No rule looks up the table: the node's own packets take other ways.
        for address in ROUTES:
            assert NAME not in ip(place, "route", "get", address, check=False).stdout
        # An address of a forwarder with another route of the node leaves by that, with the node's own source.
        assert happened(daemon) == [BEGAN]
        assert metric(directory, "guideway_announcing") == [1]
        code, seconds = daemon.stop()
        assert code == 0 and seconds < 5, daemon.log()
    assert interface.is_up() is None


def test_without_the_section_there_is_no_interface_and_no_linger(place, directory):
    config = configured(directory).changed(lambda config: config.pop("announce"))
    with Daemon(place, config, directory) as daemon:
        daemon.wait_for_log("ready; control socket")
        time.sleep(0.3)
        assert Interface(place).is_up() is None and "announcing" not in daemon.ask("status")
        assert metric(directory, "guideway_announcing") == []
        code, seconds = daemon.stop()
        assert code == 0 and seconds < 1.5, daemon.log()
        assert "forwarding on" not in daemon.log()


def test_a_forwarder_that_is_killed_leaves_no_route(place, directory):
    times = []
    for _ in range(5):
        with running(place, configured(directory), directory) as (daemon, interface):
            announce(place)
            daemon.process.kill()
            times.append(interface.wait(False, None))
            assert announced(place) == []
            daemon.process.wait()
    print(f"\nroutes are gone {1000 * min(times):.1f} to {1000 * max(times):.1f} ms after SIGKILL")
    assert max(times) < 0.1, times


def test_a_worker_that_stands_still_and_works_again(place, directory):
    with running(place, configured(directory, workers=2), directory) as (daemon, interface):
        announce(place)
        [task] = daemon.threads("worker1")
        with stopped(task):
            seconds = interface.wait(False)
            print(f"\nroutes are gone {1000 * seconds:.0f} ms after a worker stopped, with a limit of 500 ms")
            assert 0.3 < seconds < 1 and announced(place) == []
            wait_for_state(daemon, "worker_stalled", worker=1)
            assert metric(directory, "guideway_announcing") == [0]
            # Whoever sets it up meanwhile has it down again at once.
            ip(place, "link", "set", NAME, "up")
            interface.wait(False, seconds=1)
        interface.wait(True)
        wait_for_state(daemon, "up")
        announce(place)
        assert happened(daemon) == [BEGAN, ended("worker_stalled"), BEGAN]
        assert daemon.stop()[0] == 0, daemon.log()


def test_a_limit_that_a_reload_changes(place, directory):
    with running(place, configured(directory, stall=60000), directory) as (daemon, interface):
        [task] = daemon.threads("worker0")
        with stopped(task):
            interface.stays(True, 1.5)
        lower = daemon.config.changed(lambda config: config["announce"].update(stall=100))
        lower.write(daemon.path)
        assert daemon.ctl("config", "reload").returncode == 0, daemon.log()
        with stopped(task):
            assert interface.wait(False, seconds=1) < 0.4
        interface.wait(True)
        renamed = lower.changed(lambda config: config["announce"].update(interface="other0"))
        renamed.write(daemon.path)
        refused = daemon.ctl("config", "reload")
        assert refused.returncode == 5 and "announce.interface" in refused.stderr, refused.stderr
        assert daemon.stop()[0] == 0, daemon.log()


def test_links_that_go_and_come(place, directory):
    with running(place, configured(directory, ports=2), directory) as (daemon, interface):
        announce(place)
        ip(place, "link", "set", "veth1p", "down")
        daemon.wait_for_log('port "core0": link down')
        interface.stays(True, 0.5)
        assert announced(place) == sorted(ROUTES), "one of two links is enough"
        begin = time.monotonic()
        ip(place, "link", "set", "veth0p", "down")
        interface.wait(False)
        seconds = time.monotonic() - begin
        print(f"\nroutes are gone {1000 * seconds:.0f} ms after the last link")
        assert seconds < 1 and announced(place) == []
        wait_for_state(daemon, "no_link")
        ip(place, "link", "set", "veth1p", "up")
        interface.wait(True)
        announce(place)
        assert happened(daemon) == [BEGAN, ended("no_link"), BEGAN]
        assert daemon.stop()[0] == 0, daemon.log()


def test_a_node_without_a_link_announces_nothing_from_the_start(place, directory):
    ip(place, "link", "set", "veth0p", "down")
    with Daemon(place, configured(directory), directory) as daemon:
        wait_for_state(daemon, "no_link")
        interface = Interface(place)
        assert interface.is_up() is False
        ip(place, "link", "set", "veth0p", "up")
        interface.wait(True)
        assert daemon.stop()[0] == 0, daemon.log()


def test_a_stop_withdraws_first_and_forwards_on(place, directory):
    with running(place, configured(directory, linger=1500), directory) as (daemon, interface):
        announce(place)
        assert page(directory, "readyz")[0] == 200
        with capturing(place, "veth0p") as capture, Traffic(place, "veth0p", FRAMES, 500) as traffic:
            traffic.wait(100)
            begin = time.monotonic()
            daemon.process.send_signal(signal.SIGTERM)
            withdrawn = interface.wait(False, None, seconds=1)
            assert announced(place) == []
            before = (traffic.sent, len(capture.frames))
            wait_for_state(daemon, "stopping")
            assert page(directory, "readyz")[0] == 503 and "stopping" in page(directory, "readyz")[1]
            assert page(directory, "healthz")[0] == 200 and metric(directory, "guideway_announcing") == [0]
            traffic.wait(400)
            assert daemon.process.poll() is None, daemon.log()
            after = (traffic.sent, len(capture.frames))
            assert daemon.process.wait(SECONDS) == 0, daemon.log()
            lasted = time.monotonic() - begin
        print(f"\nroutes are gone {1000 * withdrawn:.1f} ms after SIGTERM, and forwarding ends after {lasted:.2f} s")
        assert withdrawn < 0.2 and 1.5 <= lasted < 4
        sent, forwarded = (new - old for new, old in zip(after, before, strict=True))
        assert sent >= 400 and forwarded >= sent - 50, "packets are forwarded meanwhile"
        assert "every packet buffer is back in its pool" in daemon.log() and "ERROR" not in daemon.log()


@pytest.mark.parametrize("second", (signal.SIGTERM, signal.SIGINT), ids=lambda number: number.name)
def test_a_second_signal_ends_the_wait(place, directory, second):
    with running(place, configured(directory, linger=60000), directory) as (daemon, interface):
        daemon.process.send_signal(signal.SIGTERM)
        interface.wait(None, seconds=1)
        daemon.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert daemon.process.poll() is None, "a reload is no reason to stop"
        code, seconds = daemon.stop(second)
        assert code == 0 and seconds < 2, daemon.log()


@pytest.mark.parametrize("idle", ("poll", "pause", "interrupt"))
def test_a_worker_without_packets_has_not_stalled(place, directory, idle):
    device = {"device": "net_tap0,iface=gwtap0"} if idle == "interrupt" else {}
    config = configured(directory, idle=idle, stall=100).changed(lambda config: config["port"][0].update(device))
    with running(place, config, directory) as (daemon, interface):
        assert "instead of waiting" not in daemon.log()
        interface.stays(True, 3)
        assert happened(daemon) == [BEGAN]
        assert daemon.stop()[0] == 0, daemon.log()


def test_a_process_that_was_stopped_has_no_stalled_worker(place, directory):
    with running(place, configured(directory), directory) as (daemon, interface):
        announce(place)
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        daemon.process.send_signal(signal.SIGCONT)
        interface.stays(True, 1)
        assert announced(place) == sorted(ROUTES)
        assert happened(daemon) == [BEGAN]
        assert daemon.stop()[0] == 0, daemon.log()


def test_a_name_that_is_taken_fails_before_the_devices_start(place, directory):
    ip(place, "tuntap", "add", "dev", NAME, "mode", "tun")
    daemon = Daemon(place, configured(directory), directory)
    daemon.launch()
    assert daemon.process.wait(SECONDS) == 1
    assert f"announce.interface: there is a device {NAME} already; name another in announce.interface" in daemon.log()
    assert "DPDK" not in daemon.log()
    ip(place, "link", "del", NAME)


def test_a_name_that_is_taken_during_the_start_ends_the_forwarder(place, directory):
    """The workers have to wait for a CPU until the name is taken, as they may on a busy host."""
    daemon = Daemon(place, configured(directory, workers=2), directory)
    daemon.launch()
    end = time.monotonic() + SECONDS
    # The worker is there before it begins.
    while not (found := daemon.threads("worker1")):
        assert time.monotonic() < end and daemon.process.poll() is None, daemon.log()
        time.sleep(0.0005)
    with stopped(found[0]):
        ip(place, "tuntap", "add", "dev", NAME, "mode", "tun")
    assert daemon.process.wait(SECONDS) == 1, daemon.log()
    assert f"there is a device {NAME} already" in daemon.log()
    assert "panicked" not in daemon.log()
    ip(place, "link", "del", NAME)


def test_somebody_sets_it_down(place, directory):
    with running(place, configured(directory), directory) as (daemon, interface):
        announce(place)
        ip(place, "link", "set", NAME, "down")
        assert interface.wait(True, seconds=1) < 0.5
        wait_for_state(daemon, "up")
        announce(place)
        addresses = json.loads(ip(place, "-j", "address", "show", "dev", NAME).stdout)[0]["addr_info"]
        assert {found["local"] for found in addresses} == {"192.0.0.8", "fe80::8"}
        assert happened(daemon) == [BEGAN, ended("removed"), BEGAN]
        assert daemon.stop()[0] == 0, daemon.log()


def remove(place):
    ip(place, "link", "del", NAME)


def move_away(place):
    with Namespace() as other:
        ip(place, "link", "set", NAME, "netns", other.name)
        time.sleep(0.3)


@pytest.mark.parametrize("act", (remove, move_away))
def test_somebody_removes_it(place, directory, act):
    """Forwarding goes on, and the addresses stay withdrawn."""
    with running(place, configured(directory, linger=0), directory) as (daemon, interface):
        announce(place)
        act(place)
        wait_for_state(daemon, "removed")
        assert announced(place) == [] and interface.is_up() is None
        with capturing(place, "veth0p") as capture, Traffic(place, "veth0p", FRAMES, 500) as traffic:
            traffic.wait(200)
            assert len(capture.wait(150)) >= 150
        interface.stays(None, 0.5)
        assert happened(daemon) == [BEGAN, ended("removed")]
        assert daemon.stop()[0] == 0, daemon.log()


def test_what_the_node_sends_there_is_dropped_and_counted(place, directory):
    with running(place, configured(directory), directory) as (daemon, interface):
        before = state(daemon)["dropped"]
        ip(place, "route", "add", "192.0.2.9/32", "dev", NAME)
        with place.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
            # Far more than its queue holds.
            for _ in range(20_000):
                sender.sendto(b"x" * 1000, ("192.0.2.9", 9))
        end = time.monotonic() + SECONDS
        while state(daemon)["dropped"] < before + 20_000:
            assert time.monotonic() < end, (before, state(daemon))
            time.sleep(0.05)
        assert state(daemon)["dropped"] < before + 20_100
        time.sleep(1)
        assert metric(directory, "guideway_announce_dropped_packets_total") == [state(daemon)["dropped"]]
        assert interface.is_up() and happened(daemon) == [BEGAN]
        assert daemon.stop()[0] == 0, daemon.log()


def test_a_replay_makes_no_interface(place, tmp_path):
    """It would fail: the name is taken."""
    ip(place, "tuntap", "add", "dev", NAME, "mode", "tun")
    config = one_port().changed(lambda config: config.update(announce={}))
    replay.run_ok(tmp_path, config, {"edge0": FRAMES}, prefix=place.command())
    ip(place, "link", "del", NAME)
