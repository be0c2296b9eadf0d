"""The node as a host among hosts: fragments and datagrams by way of the port's interface."""

import socket

import pytest
from support import hosts
from support.hosts import LB, Fabric, pool, running, wait_for_states

SERVER = {4: ("192.0.2.5", 24), 6: ("2001:db8::5", 64)}
FAMILIES = (4, 6)
CHECKSUM_ERRORS = ("TcpInCsumErrors", "UdpInCsumErrors", "Udp6InCsumErrors", "IcmpInCsumErrors", "Icmp6InCsumErrors")


@pytest.fixture
def fabric(root):
    with Fabric() as made:
        made.end = made.cable("gw0", made.bridge("edge"))
        yield made


@pytest.fixture
def server(fabric):
    return fabric.host("edge", *(f"{address}/{length}" for address, length in SERVER.values()))


@pytest.fixture
def node(fabric, server, directory):
    """An appliance whose backends are the server's two addresses."""
    config = hosts.configuration(directory, change=lambda config: pool(config, [address for address, _ in SERVER.values()]))
    with running(fabric, config, directory) as daemon:
        wait_for_states(daemon, "active")
        yield daemon


def check_checksums(*ends):
    """No end has had a packet with a wrong checksum."""
    for end in ends:
        counters = end.counters()
        assert {name: counters.get(name, 0) for name in CHECKSUM_ERRORS} == dict.fromkeys(CHECKSUM_ERRORS, 0)


def ping(source, address, *words):
    return source.run("ping", "-n", "-i", "0.01", *words, address).stdout


@pytest.mark.parametrize("device", ("net_af_packet0,iface=gw0", "net_af_xdp0,iface=gw0"))
def test_fragments_to_the_node(fabric, server, directory, device):
    """Whole datagrams arrive, with their later fragments."""

    def change(config):
        pool(config, [address for address, _ in SERVER.values()])
        config["port"][0]["device"] = device

    with running(fabric, hosts.configuration(directory, change=change), directory) as daemon:
        wait_for_states(daemon, "active")
        for version in FAMILIES:
            if version == 4 and "af_packet" in device:
                # The kernel reassembles them before DPDK's af_packet sees them.
                continue
            for size in (1600, 4000, 20000):
                said = ping(server, LB[version], "-c", 20, "-s", size)
                assert " 0% packet loss" in said, said


@pytest.mark.parametrize("version", FAMILIES)
def test_datagrams_to_the_node(fabric, server, node, version):
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with fabric.lb.socket(family, socket.SOCK_DGRAM) as there, server.socket(family, socket.SOCK_DGRAM) as here:
        there.bind((LB[version], 7777))
        for end in (there, here):
            end.settimeout(5)
        for number in range(200):
            here.sendto(str(number).encode(), (LB[version], 7777))
            said, source = there.recvfrom(100)
            there.sendto(said, source)
            assert here.recv(100) == str(number).encode()
        # A port that nobody has: the kernel says so.
        here.connect((LB[version], 7778))
        here.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            here.recv(10)
    check_checksums(fabric.lb, server)
