"""The appliance on a real interface: af_packet over veth, without huge pages."""

import itertools
import subprocess

import pytest
from support import expectation, garbage, network, replay
from support.config import two_ports
from support.daemon import Daemon, live, live_one_port
from support.model import Fleet
from support.packets import EXTRAS, TAGS, Sent, client_packet, flow, inner_of
from support.replies import echo

# Service tags are left out: DPDK's af_packet takes every outer tag for 802.1Q.
TAGGED = ("untagged", "one tag", "two tags")


def traffic():
    return [
        client_packet(flow(version, protocol, 2, 1024 + n), tags=TAGS[tags], extra=extra, payload=b"live", pad=60)
        for version in (4, 6)
        for protocol in ("tcp", "udp")
        for tags in TAGGED
        for extra in EXTRAS[version].values()
        for n in range(8)
    ]


def pings():
    for version, number in itertools.product((4, 6), (1, 2, 3)):
        frame, verdict, (reply,) = echo(version, number=number)
        yield Sent(frame, verdict, reply=reply)


@pytest.fixture(scope="module")
def peer(namespace):
    return namespace.cable("gw0")


@pytest.fixture
def other_namespace(root):
    with network.Namespace() as made:
        yield made


@pytest.mark.parametrize("workers", (1, 2))
def test_frames_leave_as_expected(namespace, peer, directory, workers):
    config = live_one_port("gw0", directory, workers)
    # Fragments are left out: the kernel reassembles those of IPv4 before DPDK's af_packet sees them.
    sent = [*traffic(), *pings(), *garbage.malformed(), *garbage.not_ours(), *garbage.icmp()]
    with Daemon(namespace, config, directory) as daemon, network.capturing(namespace, peer) as capture:
        network.send(namespace, peer, [packet.frame for packet in sent])
        expected = expectation.expected_frames(config, sent)["edge0"]
        captured = capture.wait(len(expected))
        stats = daemon.stats_at_rest()
    expectation.check_verdicts(sent, stats)
    assert stats["transmitted"] == len(expected)
    got = expectation.without_labels(captured)
    if workers == 1:
        expectation.compare(got, expected, "edge0")
    assert sorted(got) == sorted(expected)
    expectation.check_labels(sent, captured)


def test_tshark_reads_the_same(namespace, peer, directory):
    """Wireshark's dissectors as a second opinion on outer and inner addresses and ports."""
    config = live_one_port("gw0", directory)
    sent = [packet for packet in traffic() if not packet.tags]
    with Daemon(namespace, config, directory), network.capturing(namespace, peer) as capture:
        network.send(namespace, peer, [packet.frame for packet in sent])
        captured = capture.wait(len(sent))
    path = directory / "captured.pcap"
    path.write_bytes(replay.pcap(captured))
    fields = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "gre.proto", "tcp.srcport", "udp.srcport")
    line = ["tshark", "-n", "-r", str(path), "-T", "fields"]
    for field in fields:
        line += ["-e", field]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60)
    rows = [dict(zip(fields, row.split("\t"), strict=True)) for row in done.stdout.splitlines()]
    assert len(rows) == len(sent)
    fleet = Fleet(config)
    for packet, row in zip(sent, rows, strict=True):
        flow, backend = packet.flow, fleet.backend(packet.flow)
        addresses = {"ip.src": [], "ip.dst": [], "ipv6.src": [], "ipv6.dst": []}
        for source, destination in (
            (config.tunnel_source(6 if ":" in backend else 4), backend),
            (flow.source, flow.destination),
        ):
            family = "ipv6" if ":" in source else "ip"
            addresses[f"{family}.src"].append(source)
            addresses[f"{family}.dst"].append(destination)
        for field, expected in addresses.items():
            assert row[field] == ",".join(expected), (packet, row)
        assert row["gre.proto"] == ("0x86dd" if ":" in flow.source else "0x0800")
        assert row[f"{flow.protocol}.srcport"] == str(flow.sport)


def test_two_ports(namespace, peer, directory):
    core = namespace.cable("gw1")
    config = live(two_ports(), "gw0", directory)
    config["port"][1]["device"] = "net_af_packet1,iface=gw1"
    sent = [packet for packet in traffic() if not packet.tags]
    expected = expectation.expected_frames(config, sent)
    with Daemon(namespace, config, directory) as daemon, network.capturing(namespace, core) as at_core:
        with network.capturing(namespace, peer) as at_edge:
            network.send(namespace, peer, [packet.frame for packet in sent])
            captured = {"core0": at_core.wait(len(expected["core0"])), "edge0": at_edge.wait(len(expected["edge0"]))}
        stats = daemon.stats_at_rest()
    expectation.check_verdicts(sent, stats)
    for port, frames in captured.items():
        expectation.compare(expectation.without_labels(frames), expected[port], port)


def test_two_appliances_do_not_disturb_each_other(namespace, peer, directory, other_namespace):
    """One appliance starts, works and ends, while another forwards and loses nothing. They share files, sockets
    and memory, but no network: until it is bound, the socket of DPDK's af_packet receives from every
    interface of its namespace."""
    other_peer = other_namespace.cable("gw0")
    templates = [client_packet(flow(4, "udp", 3, 5000 + n), payload=bytes(8)).frame for n in range(20)]
    other_directory = directory / "other"
    other_directory.mkdir()
    one, other = live_one_port("gw0", directory), live_one_port("gw0", other_directory)
    with Daemon(namespace, one, directory) as first, network.capturing(namespace, peer) as capture:
        with network.Traffic(namespace, peer, templates, 500) as sender:
            with Daemon(other_namespace, other, other_directory) as second:
                with network.capturing(other_namespace, other_peer) as other_capture:
                    network.send(other_namespace, other_peer, templates)
                    assert len(other_capture.wait(len(templates))) == len(templates)
                sender.wait(200)
                assert second.stats_at_rest()["received"] == len(templates)
                assert second.stop()[0] == 0
            sender.wait(200)
        captured = capture.wait(sender.sent)
        assert len(captured) == sender.sent
        assert [int.from_bytes(inner_of(frame)[-4:], "big") for frame in captured] == list(range(sender.sent))
        assert first.stats_at_rest()["received"] == sender.sent
        assert first.stop()[0] == 0
