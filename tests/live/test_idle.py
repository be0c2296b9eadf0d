"""A worker without packets: how much of its CPU it takes, and how soon it forwards the next packet.

The device is a TAP interface, whose driver has receive interrupts, or a veth end, whose driver has none.
Latency is printed (`pytest -s`). The tests assert only that no worker sleeps until something else wakes it.
"""

import os
import select
import statistics
import subprocess
import time
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether
from support.daemon import Daemon, live_one_port
from support.network import PACKET_IGNORE_OUTGOING, SOL_PACKET
from support.packets import client_packet, flow

FRAME = client_packet(flow(4, "udp", 4, 8000), payload=b"x" * 20).frame
TICKS = os.sysconf("SC_CLK_TCK")


def configured(directory, idle, device, workers=1):
    def change(config):
        config["dpdk"]["idle"] = idle
        config["port"][0]["device"] = device

    return live_one_port("none", directory, workers).changed(change)


class Worker:
    """The thread of a worker, as the kernel's files describe it."""

    def __init__(self, daemon, number=0):
        [task] = daemon.threads(f"worker{number}")
        self._task = Path(f"/proc/{daemon.process.pid}/task/{task}")

    def seconds(self):
        """The thread's CPU time so far."""
        fields = (self._task / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def share(self, seconds=2.0):
        """The share of a CPU that the thread takes."""
        before, start = self.seconds(), time.monotonic()
        time.sleep(seconds)
        return (self.seconds() - before) / (time.monotonic() - start)

    def voluntary_switches(self):
        """How often the thread gave up its CPU by itself."""
        status = (self._task / "status").read_text()
        return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def round_trip(port, sent=FRAME, protocol=47):
    """Sends a packet. Returns the seconds until one of the protocol comes back: encapsulated with GRE, or a reply."""
    start = time.perf_counter()
    port.send(sent)
    while select.select([port], [], [], 5)[0]:
        frame = port.recv(1 << 16)
        if frame[12:14] == b"\x08\x00" and frame[23] == protocol:
            return time.perf_counter() - start
    raise AssertionError("the packet did not come back")


def latencies(port, count=30, **packet):
    """Round trips, each after a rest."""
    found = []
    for _ in range(count):
        time.sleep(0.03)
        found.append(round_trip(port, **packet))
    return found


@pytest.mark.parametrize("idle", ("poll", "pause", "interrupt"))
def test_an_idle_worker_takes_its_share_of_a_cpu_and_wakes_for_a_packet(namespace, directory, idle):
    config = configured(directory, idle, "net_tap0,iface=gwtap0")
    with Daemon(namespace, config, directory) as daemon:
        worker = Worker(daemon)
        time.sleep(0.5)
        assert "instead of waiting" not in daemon.log()
        before = worker.voluntary_switches()
        share = worker.share()
        slept = worker.voluntary_switches() - before
        if idle == "poll":
            # Other threads may have taken the CPU meanwhile, but the worker did not give it up in every round.
            assert slept < 10
        else:
            # On a virtual machine, falling asleep and waking up take most of this share.
            assert share < {"pause": 0.7, "interrupt": 0.2}[idle]
            assert slept > 100
        with namespace.packet_socket("gwtap0") as port:
            port.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            times = sorted(latencies(port))
        print(f"\n{idle}: {100 * share:.1f} % of a CPU, {slept / 2:.0f} sleeps a second, a packet after a rest "
              f"takes {1e6 * statistics.median(times):.0f} us, at worst {1e6 * times[-1]:.0f} us")
        # Without an interrupt the bounded sleep would take 5 ms on average.
        assert statistics.median(times) < 0.004
        # A sleeping worker still takes part in queries and reloads.
        start = time.monotonic()
        assert daemon.ask("flow", "list")
        daemon.ctl("config", "reload")
        assert time.monotonic() - start < 2
        assert daemon.stop()[0] == 0


@pytest.mark.parametrize("workers", (1, 2))
def test_a_device_without_interrupts_is_logged_and_its_workers_pause(namespace, directory, workers):
    namespace.cable(f"gwi{workers}")
    config = configured(directory, "interrupt", f"net_af_packet0,iface=gwi{workers}", workers)
    with Daemon(namespace, config, directory) as daemon:
        assert "worker 0: dpdk.idle: pauses instead of waiting for interrupts: " in daemon.log()
        assert Worker(daemon).share() < 0.7
        if workers == 2:
            assert "worker 1: dpdk.idle: pauses instead of waiting for interrupts: it receives from" in daemon.log()
        assert daemon.stop()[0] == 0


@pytest.mark.parametrize("idle", ("poll", "pause", "interrupt"))
def test_a_sleeping_worker_wakes_for_what_the_kernel_sends(namespace, directory, idle):
    """A ping to the node goes through the port's interface, and its reply back through a worker that sleeps."""
    config = configured(directory, idle, "net_tap0,iface=gwtap0")
    config["port"][0]["interface"] = "edge0"
    with Daemon(namespace, config, directory) as daemon:
        assert "instead of waiting" not in daemon.log()
        neighbor = ("192.0.2.9", "lladdr", "02:00:00:00:00:09", "dev", "edge0")
        subprocess.run(namespace.command("ip", "neigh", "replace", *neighbor), check=True, timeout=30)
        echo = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:09") / IP(src="192.0.2.9", dst="192.0.2.1") / ICMP()
        with namespace.packet_socket("gwtap0") as port:
            port.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            # Other programs may have the CPUs for a while.
            for _ in range(5):
                times = sorted(latencies(port, sent=bytes(echo), protocol=1))
                if statistics.quantiles(times)[0] < 0.002:
                    break
        if idle == "interrupt":
            worker = Worker(daemon)
            time.sleep(0.5)
            assert worker.share() < 0.2
        print(f"\n{idle}: a ping after a rest takes {1e6 * statistics.median(times):.0f} us, at worst "
              f"{1e6 * times[-1]:.0f} us")
        # On a machine of one's own the median is below 1 ms. A worker that nobody wakes would be this quick for one
        # ping in five.
        assert statistics.quantiles(times)[0] < 0.002
        assert daemon.stop()[0] == 0
