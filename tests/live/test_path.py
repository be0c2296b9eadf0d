"""Path MTU discovery, large datagrams, ping and traceroute, with the standard MTU everywhere.

Clients and servers are Linux. No path MTU is configured, so they learn it or fail.
"""

import re

import pytest
from support import lab

VIP = {4: "203.0.113.10", 6: "2001:db8:f::10"}
CLIENT = {4: "198.51.100.1", 6: "2001:db8:c::1"}
BOTH = pytest.mark.parametrize("version", (4, 6), ids=("ipv4", "ipv6"))
# The room in 1500 bytes behind GRE over IPv4 and over IPv6.
PATH_MTUS = (1476, 1456)

DATAGRAM = """
import errno, random, socket, sys
address, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(2)
client.connect((address, port))
body = random.Random(1).randbytes(size)
# Over IPv6 the first datagram may be lost to an error with the path's MTU. Linux reports the error to the next call.
for attempt in range(4):
    try:
        client.send(body)
        name, _, back = client.recv(65535).partition(b" ")
    except TimeoutError:
        continue
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        continue
    assert back == body, "the datagram came back changed"
    print(name.decode())
    break
"""


@pytest.fixture(scope="module")
def standard(root):
    with lab.Lab("--fabric-mtu", 1500, "--driver", "af_xdp") as up:
        yield up


@BOTH
def test_an_upload_learns_the_path_mtu(standard, version):
    """RFC 1191 and RFC 8201: 100 MB, every packet with DF or over IPv6."""
    sizes = ("--connections", 1, "--uploads", 1, "--upload-bytes", 100_000_000, "--concurrency", 1)
    done = standard.drive("--vip", VIP[version], *sizes, "--timeout", 120, timeout=300)
    assert not done["errors"]
    assert (done["uploads"], done["uploads_failed"]) == (1, 0)
    route = standard.run("clients", "ip", "route", "get", VIP[version], "from", CLIENT[version]).stdout
    learnt = re.search(r"\bmtu (\d+)", route)
    assert learnt and int(learnt[1]) in PATH_MTUS, route


@BOTH
def test_a_large_datagram_arrives_whole(standard, version):
    """A server gets 60 KB in fragments and sends them back."""
    line = ("/usr/bin/python3", "-c", DATAGRAM, VIP[version], standard.environment["LAB_ECHO_PORT"], 60_000)
    done = standard.run("clients", *line)
    assert done.stdout.strip() in lab.SERVERS, done.stdout + done.stderr


@BOTH
def test_ping(standard, version):
    done = standard.run("clients", "ping", "-n", "-c", 5, "-i", 0.2, "-W", 2, VIP[version])
    assert " 0% packet loss" in done.stdout, done.stdout + done.stderr


@BOTH
@pytest.mark.parametrize("kind", ((), ("-I",), ("-T", "-p", 80)), ids=("udp", "icmp", "tcp"))
def test_traceroute(standard, version, kind):
    """Datagrams to no service, echo requests, and SYNs to a service all find the address one hop away."""
    line = ("traceroute", f"-{version}", "-n", "-q", 2, "-w", 2, "-m", 4, *kind, VIP[version])
    done = standard.run("clients", *line)
    hops = done.stdout.splitlines()[1:]
    assert len(hops) == 1 and hops[0].split()[:2] == ["1", VIP[version]], done.stdout + done.stderr
