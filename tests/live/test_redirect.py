"""Two running forwarders of a cluster that redirect fragments to each other."""

from dataclasses import replace

from support import expectation, network
from support.config import one_port
from support.daemon import Daemon, live
from support.fragments import datagram, udp_flow
from support.model import Fleet
from support.packets import lowered, tunnel_packet


def neighbours(directory, own, other, edge, core, mac):
    """The configuration of a forwarder that takes the other for the owner of all fragments."""

    def change(config):
        config["node"] = {"name": f"lb{own}", "tunnel_source": [f"10.0.0.{own}", "2001:db8::1"]}
        config["port"].append(
            {
                "name": "core0",
                "device": f"net_af_packet1,iface={core}",
                "interface": "none",
                "addresses": [f"10.0.0.{own}/24"],
                "mtu": 1600,
                "mac": mac[own],
            }
        )
        config["neighbor"].append({"address": f"10.0.0.{other}", "mac": mac[other]})
        config["cluster"] = {"members": ["10.0.0.1", "10.0.0.2"], "down": [f"10.0.0.{own}"]}

    directory.mkdir()
    return live(one_port(), edge, directory).changed(change)


def test_two_forwarders_that_redirect_to_each_other(namespace, directory):
    """Each takes the other for the owner, and still every fragment leaves once, by the second forwarder.

    Over IPv6, because the kernel reassembles fragments of IPv4 before DPDK's af_packet sees them."""
    mac = {1: "02:00:00:00:0c:01", 2: "02:00:00:00:0c:02"}
    edges = {1: namespace.cable("fa"), 2: namespace.cable("fb")}
    core = namespace.cable("core")
    configs = {
        1: neighbours(directory / "1", 1, 2, "fa", "core", mac),
        2: neighbours(directory / "2", 2, 1, "fb", core, mac),
    }
    sent = [p for client in range(1, 30) for p in datagram(udp_flow(6, client), count=3)]
    with Daemon(namespace, configs[1], directory / "1") as one, Daemon(namespace, configs[2], directory / "2") as two:
        before = {1: one.stats_at_rest(), 2: two.stats_at_rest()}
        for entry, leaving in ((1, 2), (2, 1)):
            with network.capturing(namespace, edges[leaving]) as capture:
                network.send(namespace, edges[entry], [packet.frame for packet in sent])
                captured = capture.wait(len(sent))
            fleet = Fleet(configs[leaving])
            # The tunnel between the two takes a hop.
            arrived = [replace(packet, inner=lowered(packet.inner)) for packet in sent]
            expected = [tunnel_packet(configs[leaving], fleet, packet)[1] for packet in arrived]
            assert sorted(expectation.without_labels(captured)) == sorted(expected)
        after = {1: one.stats_at_rest(), 2: two.stats_at_rest()}
    for number in (1, 2):
        # Each forwarder handled each fragment twice: once to redirect it, once as the owner.
        assert after[number]["transmitted"] - before[number]["transmitted"] == 2 * len(sent)
        assert after[number]["received"] - before[number]["received"] == 2 * len(sent)
