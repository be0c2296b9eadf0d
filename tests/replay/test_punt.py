"""`--punt`: the frames that a live run gives to the kernel, in a capture."""

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw
from support import replay
from support.config import one_port, two_ports
from support.packets import APPLIANCE_MAC, CLIENT_MAC, client_packet, flow


def arp(number, tags=()):
    """An ARP request for the port's address."""
    frame = Ether(dst="ff:ff:ff:ff:ff:ff", src=CLIENT_MAC)
    for tag in tags:
        frame /= Dot1Q(vlan=tag)
    return bytes(frame / ARP(psrc=f"192.0.2.{50 + number % 100}", pdst="192.0.2.1"))


def echo(number):
    """A ping of the port's address."""
    packet = IP(src="192.0.2.9", dst="192.0.2.1") / ICMP(id=7, seq=number) / Raw(b"x" * (number % 1000))
    return bytes(Ether(dst=APPLIANCE_MAC, src=CLIENT_MAC) / packet)


def punted(tmp_path, port="edge0"):
    return replay.parse_pcap((tmp_path / f"{port}.punt.pcap").read_bytes())


def test_punted_frames_are_written_with_tags_and_times(run_replay, tmp_path):
    sent = [arp(1), client_packet(flow()).frame, echo(1), arp(2, tags=(200,)), echo(2), arp(3, tags=(7, 200))]
    outcome = run_replay(one_port(interface="edge0"), sent, "--punt", f"edge0={tmp_path}/edge0.punt.pcap")
    assert outcome.verdicts == {"punted": 5, "forwarded": 1}
    expected = [(number, frame) for number, frame in enumerate(sent) if number != 1]
    assert punted(tmp_path) == [((replay.START, number * 1000), frame) for number, frame in expected]


def test_without_a_file_punted_frames_are_counted(run_replay, tmp_path):
    outcome = run_replay(one_port(interface="edge0"), [arp(1), echo(1)])
    assert outcome.verdicts == {"punted": 2}
    none = run_replay(one_port(), [arp(1), echo(1)])
    assert none.verdicts == {"multicast_mac": 1, "no_vip": 1}


def test_each_port_has_its_own_file(run_replay, tmp_path):

    def change(config):
        config["port"][0].update(interface="edge0")
        config["port"][1].update(interface="core0", mac=APPLIANCE_MAC)

    config = two_ports().changed(change)
    captures = {"edge0": [arp(1), arp(2)], "core0": [arp(3)]}
    outcome = run_replay(config, captures, "--punt", f"core0={tmp_path}/core0.punt.pcap")
    assert outcome.verdicts == {"punted": 3}
    assert [frame for _, frame in punted(tmp_path, "core0")] == [arp(3)]


@pytest.mark.parametrize("workers", (1, 3))
def test_no_punted_frame_is_lost_and_their_order_stays(run_replay, tmp_path, workers):
    """More frames than any ring holds, of two classes, without a pause: the source waits."""
    limits = {"rate": 100_000, "burst": 100_000}
    config = one_port(interface="edge0")
    config["punt.neighbor"] = config["punt.own"] = limits
    sent = [(0, echo(number) if number % 3 else arp(number)) for number in range(6000)]
    arguments = ("--workers", workers, "--punt", f"edge0={tmp_path}/edge0.punt.pcap")
    outcome = run_replay(config, sent, *map(str, arguments))
    assert outcome.verdicts == {"punted": 6000}
    assert [frame for _, frame in punted(tmp_path)] == [frame for _, frame in sent]
