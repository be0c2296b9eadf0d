"""Fragments and ICMP errors of flows whose backend the Maglev table no longer chooses: only the flow's owner
knows the backend. Fragments are IPv6 only, because the kernel reassembles those of IPv4 before DPDK's
af_packet sees them. Errors are of both families."""

import itertools

import pytest
from support import expectation, network
from support.daemon import Daemon, live_one_port
from support.fragments import datagram, udp_flow
from support.model import Fleet
from support.packets import client_packet, tunnel_packet
from support.replies import error_about

ORDERS = list(itertools.permutations(range(3)))


@pytest.fixture(scope="module")
def peer(namespace):
    return namespace.cable("gw0")


def drain(name):
    def change(config):
        config.backends()[name]["weight"] = 0

    return change


@pytest.mark.parametrize("workers", (1, 2))
def test_flows_of_a_draining_backend_stay(namespace, peer, directory, workers):
    before = live_one_port("gw0", directory, workers)
    after = before.changed(drain("near4"))
    old, new = Fleet(before), Fleet(after)
    flows = [udp_flow(version, client) for version in (4, 6) for client in range(1, 40)]
    begun, late = flows[::2], flows[1::2]
    for version in (":", "."):
        moving = [one for one in begun if version in one.source and old.backend(one) != new.backend(one)]
        assert len(moving) >= 5, "the test proves less than it says"

    def later(some, fleet):
        """Fragments in every order and errors, and the frames that must leave."""
        sent = [error_about(one) for one in some]
        for number, one in enumerate(some):
            if ":" in one.source:
                parts = datagram(one, identification=number)
                sent += [parts[index] for index in ORDERS[number % len(ORDERS)]]
        return sent, [tunnel_packet(before, fleet, packet)[1] for packet in sent]

    def exchange(sent, expected):
        with network.capturing(namespace, peer) as capture:
            network.send(namespace, peer, [packet.frame for packet in sent])
            captured = capture.wait(len(expected))
        assert sorted(expectation.without_labels(captured)) == sorted(expected)

    with Daemon(namespace, before, directory) as daemon:
        whole = [client_packet(one) for one in begun]
        exchange(whole, [tunnel_packet(before, old, packet)[1] for packet in whole])
        done = daemon.ctl("config", "apply", after.write(directory / "next.toml"))
        assert done.returncode == 0, done.stderr
        exchange(*later(begun, old))
        exchange(*later(late, new))
        stats = daemon.stats_at_rest()
    assert stats["received"] == stats["transmitted"] == stats["verdicts"]["forwarded"]
    assert stats["events"]["flow_moved"] == 0
