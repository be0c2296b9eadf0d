"""After a flood of fragments without a first, which any client can send, connections still work.

Each such fragment waits in a packet buffer, so that all buffers of the pool pass through the device's receive
ring. A buffer that the driver or the kernel loses never comes back, and at last the port receives nothing.

By default the test floods two workers over AF_XDP without huge pages, where buffers were lost: one worker
receives a buffer and the other frees it, so that buffers return by the pool. A single worker reuses the
buffers that it has just freed. With GUIDEWAY_FLOOD=all in the environment the test takes both drivers, with
and without huge pages, with one worker and with two. That needs 512 MiB of huge pages and two minutes.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from support import binaries, lab

# More than the pool's buffers, so that all of them are used.
PACKETS = 21_000
PER_SECOND = 4_000
CONNECTIONS = 200
# Buffers that the driver gives to the kernel for each receive queue. They do not come back at the end.
KEPT = 2048

MATRIX = [("af_xdp", False, 2)]
if os.environ.get("GUIDEWAY_FLOOD") == "all":
    DRIVERS = ("af_packet", "af_xdp")
    MATRIX = [(driver, huge, workers) for driver in DRIVERS for huge in (False, True) for workers in (1, 2)]

FLOOD = """
import socket, sys, time
frame, packets, rate, at = bytearray.fromhex(sys.argv[1]), *map(int, sys.argv[2:])
whole = int.from_bytes(frame[24:26], "big")
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(("c0", 0))
begin = time.monotonic()
for n in range(packets):
    # Each fragment has another identification, and so is of another datagram.
    frame[at:at + 2] = n.to_bytes(2, "big")
    # Eight sources, so that each of two workers owns some datagrams with any seed.
    frame[29 if at == 18 else 37] = 1 + n % 8
    if at == 18:  # IPv4: `whole` is the checksum of number 0 and the first source. Linux's bridge checks it.
        frame[24:26] = ((whole - n - n % 8) % 0xffff).to_bytes(2, "big")
    out.send(frame)
    ahead = begin + n / rate - time.monotonic()
    if ahead > 0.002:
        time.sleep(ahead)
print(time.monotonic() - begin)
"""


def fragment(driver, addresses):
    """A middle fragment of 64 bytes, and the offset of its identification. AF_PACKET gets IPv6, because the
    kernel reassembles IPv4 itself and would keep these fragments."""
    link = Ether(src="02:00:00:00:00:c0", dst=addresses["LAB_LB_MAC"])
    if driver == "af_xdp":
        header = IP(src="198.51.100.1", dst=addresses["LAB_VIP4"], proto=17, id=0, frag=185, flags="MF")
        return bytes(link / header / bytes(64)), 18
    header = IPv6ExtHdrFragment(nh=17, offset=185, m=1)
    return bytes(link / IPv6(src="2001:db8:c::1", dst=addresses["LAB_VIP6"]) / header / bytes(64)), 14 + 40 + 6


@contextlib.contextmanager
def reserved(pages):
    """Adds huge pages of 2 MiB."""
    path = Path("/proc/sys/vm/nr_hugepages")
    before = int(path.read_text())
    path.write_text(str(before + pages))
    try:
        assert int(path.read_text()) == before + pages, "the kernel has no memory for huge pages"
        yield
    finally:
        path.write_text(str(int(path.read_text()) - pages))


@contextlib.contextmanager
def forwarder(up, huge):
    """Runs the forwarder for a lab without one. Yields the process and its log."""
    config, log = Path(up.environment["LAB_CONFIG"]), up.directory / "flooded.log"
    text = config.read_text()
    assert "hugepages = false" in text
    config.write_text(text.replace("hugepages = false", f"hugepages = {str(huge).lower()}"))
    namespace = up.environment["LAB_NS_LB"]
    line = ["ip", "netns", "exec", namespace, binaries.guideway(), "run", "--config", config]
    with log.open("w") as stderr:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=stderr)
    try:
        end = time.monotonic() + 20
        while "ready" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        up.ready()
        yield process, log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.parametrize("driver, huge, workers", MATRIX)
def test_connections_after_a_flood(root, driver, huge, workers):
    with contextlib.ExitStack() as stack:
        if huge:
            stack.enter_context(reserved(256))
        numbers = " ".join(str(number) for number in range(workers))
        up = stack.enter_context(lab.Lab("--driver", driver, "--workers", numbers, "--no-forwarder"))
        process, log = stack.enter_context(forwarder(up, huge))

        before = up.ctl("stats")["received"]
        frame, at = fragment(driver, up.environment)
        done = up.run("clients", "/usr/bin/python3", "-c", FLOOD, frame.hex(), PACKETS, PER_SECOND, at)
        assert done.returncode == 0 and float(done.stdout) >= PACKETS / PER_SECOND - 0.1, done.stderr
        # A busy machine loses some packets. A port without buffers would miss far more.
        assert up.ctl("stats")["received"] - before > 0.9 * PACKETS

        done = up.drive("--connections", CONNECTIONS, "--uploads", 4)
        assert not done["errors"], done
        assert (done["connections"], done["uploads"]) == (CONNECTIONS, 4)

        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, log.read_text()
        words = "every packet buffer is back in its pool"
        if driver == "af_xdp":
            words += f", but for {KEPT} that drivers keep"
        assert re.search(f"{words}$", log.read_text(), re.MULTILINE), log.read_text()
