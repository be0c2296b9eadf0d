"""`guideway-agent` on a real kernel: scapy's tunnel packets arrive decapsulated at the TUN device, byte for byte."""

import itertools
import random
import subprocess

import pytest
from scapy.layers.inet import IP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw
from support import agent, binaries, encapsulations, network
from support.agent import FORWARDER, OVER_IP, OVER_UDP, TUN, VIP, Agent, frame, inner_packet, tunnel

ECT0, CE = 0b10, 0b11
# (encapsulation, outer version, UDP checksum); None is a right checksum.
VARIANTS = [(name, version, None) for name in OVER_IP for version in (4, 6)]
VARIANTS += list(itertools.product(OVER_UDP, (4, 6), (0, None)))
IDS = [f"{name}-over-ipv{version}" + ("-checksum-0" if zero == 0 else "") for name, version, zero in VARIANTS]
FORWARDERS = [word for address in FORWARDER.values() for word in ("--peer", address)]
VIPS = [word for address in VIP.values() for word in ("--vip", address)]


@pytest.fixture(scope="module")
def running(root):
    """One agent with the usual options, for most tests."""
    with network.Namespace() as namespace, Agent(agent.Host(namespace), *VIPS, *FORWARDERS) as made:
        assert set(made.ready.split()) == agent.ready()
        yield made


@pytest.fixture(scope="module")
def host(namespace):
    """A host for agents with other options."""
    return agent.Host(namespace)


def by_family(packets):
    return [[packet.hex() for packet in packets if packet[0] >> 4 == version] for version in (4, 6)]


def exchange(running, packets, expected):
    """Sends outer packets. Exactly `expected` must arrive at the TUN device, in order within a family
    (`ipip` has a socket for each). Returns the growth of the counters."""
    namespace, peer = running.host.namespace, running.host.peer
    before = running.counters()
    with network.capturing(namespace, TUN) as capture:
        network.send(namespace, peer, [frame(packet) for packet in packets])
        arrived = capture.wait(len(expected))
    assert by_family(arrived) == by_family(expected)
    after = running.counters()
    dropped = sum(value for name, value in after.items() if name.startswith("dropped_"))
    by = sum(value for name, value in after.items() if name.startswith("by_"))
    assert after["received"] == after["delivered"] + dropped and by == after["delivered"]
    return {name: value - before[name] for name, value in after.items() if value != before[name]}


def test_each_encapsulation_is_tested():
    rows = {agent.encapsulation(name) for name in (*OVER_IP, *OVER_UDP)}
    encapsulations.assert_rows(rows, encapsulations.of_agent(), "OVER_IP or OVER_UDP of tests/support/agent.py")


@pytest.mark.parametrize("variant", VARIANTS, ids=IDS)
def test_inner_packet_arrives(running, variant):
    name, version, checksum = variant
    inner = [inner_packet(4, b"odd"), inner_packet(6, b"even"), inner_packet(4, bytes(1400)), inner_packet(6, bytes(1400))]
    grown = exchange(running, [tunnel(name, version, packet, checksum) for packet in inner], inner)
    total = sum(map(len, inner))
    assert grown == {"received": 4, "delivered": 4, "bytes": total, agent.counter(name): 4}


@pytest.mark.parametrize("variant", VARIANTS, ids=IDS)
def test_congestion_marks_reach_the_inner_packet(running, variant):
    """RFC 6040, figure 4: outer CE marks inner ECT(0), and drops inner packets that are Not-ECT."""
    name, version, checksum = variant
    packets, expected = [], []
    for family in (4, 6):
        able, unable = inner_packet(family, traffic_class=0x28 | ECT0), inner_packet(family, traffic_class=0x28)
        packets += [tunnel(name, version, packet, checksum, traffic_class=CE) for packet in (able, unable)]
        expected.append(inner_packet(family, traffic_class=0x28 | CE))
    grown = exchange(running, packets, expected)
    assert grown["dropped_congestion"] == 2


@pytest.mark.parametrize("variant", VARIANTS, ids=IDS)
def test_strangers_and_other_destinations_are_dropped(running, variant):
    name, version, checksum = variant
    stranger = "192.0.2.99" if version == 4 else "2001:db8:1::99"
    other = inner_packet(4, destination="203.0.113.11")
    packets = [
        tunnel(name, version, inner_packet(4), checksum, source=stranger),
        tunnel(name, version, other, checksum),
    ]
    grown = exchange(running, packets, [])
    assert grown == {"received": 2, "dropped_peer": 1, "dropped_vip": 1}


@pytest.mark.parametrize("variant", VARIANTS, ids=IDS)
def test_outer_fragments(running, variant):
    """The host reassembles them. The UDP checksum covers the whole packet."""
    name, version, checksum = variant
    inner = inner_packet(4, random.Random(1).randbytes(1400))
    whole = tunnel(name, version, inner, checksum)
    if version == 4:
        fragments = fragment(IP(bytes(whole)), 600)
    else:
        outer = IPv6(bytes(whole))
        rest = bytes(outer.payload)
        headers = IPv6(src=outer.src, dst=outer.dst, nh=44) / IPv6ExtHdrFragment(nh=outer.nh, id=9)
        fragments = [_ipv6_fragment(headers, rest, begin, 512) for begin in range(0, len(rest), 512)]
    assert len(fragments) > 2
    grown = exchange(running, fragments, [inner])
    assert grown["received"] == 1


def _ipv6_fragment(headers, rest, begin, size):
    headers = headers.copy()
    headers[IPv6ExtHdrFragment].offset = begin // 8
    headers[IPv6ExtHdrFragment].m = int(begin + size < len(rest))
    return headers / Raw(rest[begin : begin + size])


@pytest.mark.parametrize("name", OVER_UDP)
def test_wrong_udp_checksum_is_dropped(running, name):
    """The kernel drops it, in both families. The right packet behind it shows that the socket is there."""
    right = inner_packet(4, b"right")
    for version in (4, 6):
        wrong = tunnel(name, version, inner_packet(4), 0x1234)
        grown = exchange(running, [wrong, tunnel(name, version, right)], [right])
        assert grown["received"] == 1


def test_garbage(running):
    """Packets that are no tunnels are counted, and do no harm."""
    dice = random.Random(6040)
    ports = [row(inner_packet(4))[0] for row in OVER_UDP.values()]
    packets = []
    for version, number in itertools.product((4, 6), range(300)):
        junk = Raw(dice.randbytes(dice.randrange(1, 120)))
        protocol = dice.choice((47, 4, 41))
        port = dice.choice(ports)
        if number % 2:
            packets.append(agent.outer(version, protocol, junk))
        else:
            packets.append(agent.datagram(version, port, junk, 0))
    grown = exchange(running, packets, [])
    assert grown["received"] == len(packets)
    assert all(name.startswith("dropped_") for name in grown if name != "received")


def test_a_restricted_list(host):
    """The agent receives only the listed encapsulations, at the configured port. It knows the forwarder's names."""
    arguments = ("--encapsulation", "gue0,mpls-gre,gue", "--gue-port", "19523")
    with Agent(host, *VIPS, *arguments) as some:
        assert some.ready == f"ready: {TUN} receives gue gre\n"
        inner = inner_packet(6, b"listed")
        moved = [agent.datagram(version, 19523, Raw(inner), 0) for version in (4, 6)]
        names = [name for name in (*OVER_IP, *OVER_UDP) if agent.counter(name) != "by_gre"]
        others = [tunnel(name, 4, inner_packet(4)) for name in names]
        grown = exchange(some, [*others, *moved, tunnel("gre", 4, inner)], [inner] * 3)
        assert grown["received"] == 3


@pytest.mark.parametrize("name", ("vxlan", "geneve"))
def test_one_virtual_network(host, name):
    with Agent(host, "--encapsulation", name, "--vni", "5000") as some:
        inner = inner_packet(4)
        grown = exchange(some, [tunnel(name, 6, inner)], [inner])
        assert grown[agent.counter(name)] == 1
    with Agent(host, "--encapsulation", name, "--vni", "5001") as some:
        assert exchange(some, [tunnel(name, 4, inner)], []) == {"received": 1, "dropped_network": 1}


def test_local_address(host):
    """The agent receives nothing for other addresses of the host."""
    with Agent(host, "--local", agent.LOCAL[6], *VIPS) as some:
        inner = inner_packet(4)
        names = ("gre", "ipip", "gue", "vxlan")
        packets = [tunnel(name, version, inner) for name in names for version in (4, 6)]
        assert exchange(some, packets, [inner] * 4)["received"] == 4


@pytest.fixture
def vxlan_port_taken(host):
    """Another process has the port of VXLAN, as the kernel's own VXLAN device would."""
    holder = subprocess.Popen(
        host.namespace.command(
            "/usr/bin/python3",
            "-c",
            "import socket, sys\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 4789))\n"
            "print('bound', flush=True); sys.stdin.read()",
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "bound\n"
    yield
    holder.stdin.close()
    holder.wait(10)


def test_a_port_that_is_taken(host, vxlan_port_taken):
    """By default the encapsulation is skipped with a warning. If it is listed, the port is an error."""
    with Agent(host, *VIPS) as rest:
        assert set(rest.ready.split()) == agent.ready("vxlan")
        inner = inner_packet(4)
        assert exchange(rest, [tunnel("gue", 4, inner)], [inner])["by_gue"] == 1
    assert "warning: skipping vxlan: cannot receive vxlan (UDP port 4789)" in rest.errors
    line = host.namespace.command(binaries.directory() / "guideway-agent", "--encapsulation", "vxlan")
    done = subprocess.run(line, capture_output=True, text=True, timeout=10)
    assert done.returncode == 1 and "another program or the kernel has the port" in done.stderr


def test_unknown_names(host):
    line = host.namespace.command(binaries.directory() / "guideway-agent", "--encapsulation", "gre,l2")
    done = subprocess.run(line, capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and "l2 needs no agent" in done.stderr
