"""The lab's echo server against datagrams to which it cannot reply."""

import subprocess
import time

import pytest
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from support import binaries, network

SCRIPT = binaries.ROOT / "ci" / "lab" / "echo.py"
PORT = 5300
MAC = "02:00:00:00:00:01"
SERVER = {4: "203.0.113.10", 6: "2001:db8:f::10"}
CLIENT = {4: "198.51.100.1", 6: "2001:db8:c::1"}
# The server's namespace has a route to the client's network only.
UNROUTABLE = {4: "192.0.2.99", 6: "2001:db8:bad::1"}
LONGEST = 65507  # bytes of a datagram over IPv4; the reply is longer


def datagram(version, source, data, sport=4000, **udp):
    ip = (IP if version == 4 else IPv6)(src=source, dst=SERVER[version])
    return ip / UDP(sport=sport, dport=PORT, **udp) / Raw(data)


def frame(packet):
    return bytes(Ether(dst=MAC, src="02:00:00:00:00:02") / packet)


def run(namespace, *line):
    subprocess.run(namespace.command(*line), check=True, timeout=30)


@pytest.fixture(scope="module")
def cable(namespace):
    """The test's end of a cable to a host with the server's addresses and routes to the client."""
    peer = namespace.cable("e0")
    run(namespace, "sysctl", "-qw", "net.ipv6.conf.e0.disable_ipv6=0", "net.ipv6.conf.e0.accept_dad=0")
    run(namespace, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.e0.rp_filter=0")
    run(namespace, "ip", "link", "set", "lo", "up")
    run(namespace, "ip", "link", "set", "e0", "address", MAC)
    for version, bits in ((4, 32), (6, 128)):
        run(namespace, "ip", "address", "add", f"{SERVER[version]}/{bits}", "dev", "lo")
        run(namespace, "ip", f"-{version}", "route", "add", f"{CLIENT[version]}/{bits}", "dev", "e0")
    return peer


@pytest.fixture
def server(namespace, cable):
    line = namespace.command("/usr/bin/python3", SCRIPT, "s1", PORT, *SERVER.values())
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True) as running:
        assert running.stdout.readline() == "ready\n"
        yield running
        running.terminate()
        _, errors = running.communicate(timeout=10)
        assert (running.returncode, errors) == (0, "")


def replies(namespace, cable, frames, wanted):
    """Sends the frames and returns the UDP replies, once there are `wanted` of them."""
    with network.capturing(namespace, cable) as capture:
        network.send(namespace, cable, frames)
        end = time.monotonic() + 10
        while True:
            packets = map(Ether, list(capture.frames))
            found = [bytes(packet[UDP].payload) for packet in packets if UDP in packet]
            if len(found) >= wanted or time.monotonic() > end:
                return found
            time.sleep(0.01)


def odd_ones():
    for version in (4, 6):
        client = CLIENT[version]
        yield pytest.param(datagram(version, UNROUTABLE[version], b"lost"), id=f"unroutable-{version}")
        yield pytest.param(datagram(version, client, b"lost", sport=0), id=f"port-0-{version}")
        yield pytest.param(datagram(version, client, b"lost", chksum=0x1234), id=f"checksum-{version}")
    yield pytest.param(datagram(4, CLIENT[4], bytes(LONGEST)), id="reply-too-long")


@pytest.mark.parametrize("odd", odd_ones())
def test_a_datagram_without_a_reply_does_not_end_the_server(namespace, cable, server, odd):
    fragments = fragment(odd, fragsize=1400) if IP in odd else [odd]
    good = [datagram(version, CLIENT[version], b"%d" % version) for version in (4, 6)]
    # Good datagrams come before and after, over both sockets.
    found = replies(namespace, cable, map(frame, [*good, *fragments, *good]), 4)
    assert sorted(found) == [b"s1 4", b"s1 4", b"s1 6", b"s1 6"]
    assert server.poll() is None
