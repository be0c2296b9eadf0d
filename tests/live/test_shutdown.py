"""The end of the appliance, and its messages when it cannot start."""

import re
import signal
import subprocess

import pytest
from support import binaries, network
from support.daemon import Daemon, live_one_port
from support.packets import client_packet, flow

TEMPLATES = [client_packet(flow(4, "udp", 7, 9000 + n), payload=bytes(8)).frame for n in range(20)]


@pytest.fixture(scope="module")
def peer(namespace):
    return namespace.cable("gw0")


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT), ids=lambda number: number.name)
@pytest.mark.parametrize("workers", (1, 2))
def test_a_signal_ends_it_under_traffic(namespace, peer, directory, number, workers):
    """It ends promptly, with exit code 0 and with every buffer back in its pool."""
    with Daemon(namespace, live_one_port("gw0", directory, workers), directory) as daemon:
        with network.Traffic(namespace, peer, TEMPLATES, 5000) as sender:
            sender.wait(200)
            code, seconds = daemon.stop(number)
        log = daemon.log()
    assert code == 0, log
    assert seconds < 5
    assert "panicked" not in log
    assert "every packet buffer is back in its pool" in log
    received, transmitted = re.search(r"received (\d+), transmitted (\d+)", log).groups()
    assert received == transmitted, "all received packets must still leave"


def test_a_signal_ends_it_at_rest(namespace, peer, directory):
    with Daemon(namespace, live_one_port("gw0", directory), directory) as daemon:
        code, seconds = daemon.stop()
    assert code == 0 and seconds < 5


def test_it_starts_again_at_once(namespace, peer, directory):
    for _ in range(2):
        with Daemon(namespace, live_one_port("gw0", directory), directory) as daemon:
            assert daemon.stop()[0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    (
        (lambda c: c["port"][0].update(device="net_af_packet0,iface=nosuch0"), "edge0"),
        (lambda c: c["port"][0].update(device="0000:ff:1f.7"), "0000:ff:1f.7"),
        (lambda c: c["dpdk"].update(workers=[1000]), "1000"),
        (lambda c: c["hash"].update(key="12"), "hash.key"),
        (lambda c: c["control"].update(socket="/dev/null/guideway.sock"), "/dev/null/guideway.sock"),
    ),
)
def test_a_failed_start_is_explained(namespace, peer, directory, change, message):
    config = live_one_port("gw0", directory).changed(change)
    line = namespace.command(binaries.guideway(), "run", "--config", config.write(directory / "guideway.toml"))
    done = subprocess.run(line, capture_output=True, text=True, timeout=30)
    assert done.returncode > 0, done
    assert message in done.stdout + done.stderr, done
    assert "panicked" not in done.stderr
