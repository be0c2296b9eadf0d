"""Link loss behind devices on kernel interfaces: `port list`, the log and the event report it."""

import signal
import subprocess
import time

import pytest
from support.daemon import Daemon, live_one_port
from support.network import Namespace

NAME = "veth0"


def ip(namespace, *words):
    subprocess.run(["ip", "-n", namespace.name, *words], check=True, capture_output=True, timeout=30)


@pytest.fixture
def namespace(root):
    """A namespace for each test, because the tests remove its interfaces."""
    with Namespace() as made:
        yield made


@pytest.fixture(params=["net_af_packet0,iface={}", "net_af_xdp0,iface={}", "net_pcap0,iface={}"])
def daemon(request, namespace, directory):
    namespace.cable(NAME)

    def change(config):
        config["port"][0]["device"] = request.param.format(NAME)

    with Daemon(namespace, live_one_port(NAME, directory).changed(change), directory) as daemon:
        wait_for_link(daemon, "up")
        yield daemon
        code, seconds = daemon.stop()
        assert code == 0, daemon.log()
        assert seconds < 5


def link(daemon):
    return daemon.ask("port", "list")[0]["link"]


def unchanged(daemon):
    """Seconds since the link changed."""
    return daemon.ask("port", "list")[0]["link_seconds"]


def wait_for_link(daemon, state):
    """Waits until the interface behind the port has the state, and the port's link with it."""
    end = time.monotonic() + 10
    up = state == "up"
    while (link(daemon)["up"], link(daemon)["interface"]) != (up, {"name": NAME, "state": state}):
        assert time.monotonic() < end, (link(daemon), daemon.log())
        time.sleep(0.02)


def went_down(daemon):
    return daemon.ask("stats")["events"]["link_down"]


def shown(daemon):
    """The link in the table."""
    return daemon.ctl("port", "list", output="table").stdout


@pytest.mark.parametrize("end, why", [(NAME, "set down"), (NAME + "p", "no carrier")])
def test_an_end_that_is_set_down(namespace, daemon, end, why):
    assert went_down(daemon) == 0
    for times in (1, 2):
        time.sleep(1.1)
        assert unchanged(daemon) >= 1
        ip(namespace, "link", "set", end, "down")
        wait_for_link(daemon, why.replace(" ", "_"))
        assert (link(daemon)["speed_mbps"], link(daemon)["duplex"]) == (None, None)
        assert f"down, interface {NAME}: {why}  " in shown(daemon)
        daemon.wait_for_log(f'WARN port "edge0": link down, interface {NAME}: {why}')
        since = len(daemon.log())
        ip(namespace, "link", "set", end, "up")
        wait_for_link(daemon, "up")
        assert link(daemon)["duplex"] == "full" and "up, " in shown(daemon)
        daemon.wait_for_log('INFO port "edge0": link up', since)
        assert went_down(daemon) == times
        assert unchanged(daemon) == 0


def test_an_interface_that_is_deleted_and_made_again(namespace, daemon):
    ip(namespace, "link", "del", NAME)
    wait_for_link(daemon, "removed")
    gone = link(daemon)
    assert f"down, interface {NAME} was removed: restart guideway  " in shown(daemon)
    daemon.wait_for_log('ERROR port "edge0": its interface was removed')
    assert "again" not in daemon.log()
    namespace.cable(NAME)
    daemon.wait_for_log(f'ERROR port "edge0": there is an interface {NAME} again')
    assert link(daemon) == gone
    assert went_down(daemon) == 1


def test_an_interface_that_is_moved_away_and_back(namespace, daemon):
    """The interface keeps its index, but the driver's socket has lost the interface."""
    with Namespace() as other:
        ip(namespace, "link", "set", NAME, "netns", other.name)
        wait_for_link(daemon, "removed")
        ip(other, "link", "set", NAME, "netns", namespace.name)
        ip(namespace, "link", "set", NAME, "up")
        daemon.wait_for_log(f"there is an interface {NAME} again")
        assert not link(daemon)["up"]


@pytest.mark.parametrize("change, state", [(f"set {NAME}p down", "no_carrier"), (f"del {NAME}", "removed")])
def test_a_link_change_is_found_after_lost_messages(namespace, daemon, change, state):
    """There are more changes than a socket's buffer holds. The kernel drops the last ones, and the daemon
    queries the state again."""
    made = [f"link add a{number} type veth peer name b{number}" for number in range(200)]
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        batch = "\n".join([*made, f"link {change}"]) + "\n"
        subprocess.run(["ip", "-n", namespace.name, "-batch", "-"], input=batch, text=True, check=True, timeout=60)
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    wait_for_link(daemon, state)
    assert went_down(daemon) == 1


def test_a_link_that_is_down_at_the_start(namespace, directory):
    peer = namespace.cable(NAME)
    ip(namespace, "link", "set", peer, "down")
    with Daemon(namespace, live_one_port(NAME, directory), directory) as daemon:
        wait_for_link(daemon, "no_carrier")
        assert went_down(daemon) == 1
        ip(namespace, "link", "set", peer, "up")
        wait_for_link(daemon, "up")


def test_other_devices_are_watched_by_dpdk(namespace, directory):
    """A memif link has no interface. Its driver knows whether the other side is connected."""

    def change(config):
        config["port"][0]["device"] = f"net_memif0,role=server,socket-abstract=no,socket={directory}/memif.sock"

    with Daemon(namespace, live_one_port("none", directory).changed(change), directory) as daemon:
        daemon.wait_for_log('WARN port "edge0": link down')
        assert link(daemon) == {"up": False, "speed_mbps": None, "duplex": None, "interface": None}
        assert went_down(daemon) == 1
