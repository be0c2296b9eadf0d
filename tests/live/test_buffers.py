"""The number of packet buffers (`dpdk.buffers`), and their largest size."""

import subprocess
import time

import pytest
from scapy.utils import wrpcap
from support import binaries
from support.daemon import Daemon, live_one_port
from support.packets import client_packet, flow

# More than the default number of buffers for a worker and its port.
PACKETS = 20_000


@pytest.fixture
def endless(directory):
    """A configuration whose port is an endless capture. The driver keeps the capture in packet buffers."""
    capture = directory / "endless.pcap"
    frames = [client_packet(flow(4, "tcp", 1, 1024 + number), flags="A").frame for number in range(100)]
    wrpcap(str(capture), frames * (PACKETS // len(frames)), linktype=1)

    def change(config):
        config["port"][0]["device"] = f"net_pcap0,rx_pcap={capture},infinite_rx=1"

    return live_one_port("none", directory).changed(change)


def test_a_driver_may_keep_many(namespace, directory, endless):
    config = endless.changed(lambda config: config["dpdk"].update(buffers=32767))
    with Daemon(namespace, config, directory) as daemon:
        end = time.monotonic() + 10
        while (stats := daemon.ask("stats"))["received"] < 2 * PACKETS:
            assert time.monotonic() < end, stats
        code, _ = daemon.stop()
        log = daemon.log()
    assert code == 0, log
    assert stats["events"]["flow_hit"] > PACKETS
    assert "every packet buffer is back in its pool" in log


def test_the_default_number_of_buffers_is_too_small_for_that_driver(namespace, directory, endless):
    line = namespace.command(binaries.guideway(), "run", "--config", endless.write(directory / "guideway.toml"))
    done = subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode > 0, done
    assert 'port "edge0"' in done.stdout + done.stderr and "receive queue" in done.stdout + done.stderr, done


def test_frames_that_fill_more_than_a_page_are_refused_for_af_xdp(namespace, directory):
    """The kernel accepts no buffer that crosses a page."""

    def change(config):
        config["port"][0].update(device="net_af_xdp0,iface=lo", mtu=3431)

    config = live_one_port("none", directory).changed(change)
    line = namespace.command(binaries.guideway(), "run", "--config", config.write(directory / "guideway.toml"))
    done = subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1, done
    assert "net_af_xdp needs each packet in one page" in done.stderr and "3430 or less" in done.stderr, done
