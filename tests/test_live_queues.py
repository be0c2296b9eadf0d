"""No packet goes to a receive queue that nobody polls, whatever the device makes of the numbers of its queues.

The kernel deals flows over all `qpairs` of net_af_packet, polled or not, and net_tap takes equal numbers
only: both as net_virtio does, which has to be tried in a virtual machine.
"""

import pytest
from support import network
from support.daemon import Daemon, live_one_port
from support.packets import client_packet, flow

FLOWS = 200


def configured(directory, device, workers, steering):
    def change(config):
        config["port"][0]["device"] = device
        config["port"][0]["steering"] = steering

    return live_one_port("none", directory, workers).changed(change)


def frames():
    return [client_packet(flow(6, "udp", 2, 1024 + n), payload=b"q" * 20).frame for n in range(FLOWS)]


@pytest.mark.parametrize(("workers", "steering"), ((1, "auto"), (2, "auto"), (2, "ring"), (2, "queues")))
def test_all_queue_pairs_of_af_packet_are_polled(namespace, directory, workers, steering):
    interface = f"gwq{workers}{steering[0]}"
    peer = namespace.cable(interface)
    config = configured(directory, f"net_af_packet0,iface={interface},qpairs=4", workers, steering)
    with Daemon(namespace, config, directory) as daemon:
        network.send(namespace, peer, frames())
        assert daemon.stats_at_rest()["verdicts"]["forwarded"] == FLOWS
        (port,) = daemon.ask("port", "list")
        assert (port["rx_queues"], port["tx_queues"]) == (4, workers)
        assert port["steering"].endswith("; net_af_packet deals packets over 4 receive queues")
        polled = [queue for worker in daemon.ask("worker", "list") for queue in worker["queues"]]
        assert sorted(polled) == [f"edge0:{queue}" for queue in range(4)]
        assert daemon.stop()[0] == 0


@pytest.mark.parametrize("steering", ("auto", "ring"))
def test_tap_starts_with_rings_and_takes_every_flow(namespace, directory, steering):
    config = configured(directory, "net_tap0,iface=gwtap1", 2, steering)
    with Daemon(namespace, config, directory) as daemon:
        network.send(namespace, "gwtap1", frames())
        assert daemon.stats_at_rest()["verdicts"]["forwarded"] == FLOWS
        (port,) = daemon.ask("port", "list")
        assert (port["rx_queues"], port["tx_queues"]) == (2, 2)
        assert daemon.stop()[0] == 0
