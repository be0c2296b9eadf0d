"""Workers poll every receive queue that gets packets, with any device's rules for the numbers of queues.

The kernel spreads flows over all `qpairs` of net_af_packet, polled or not, and net_tap accepts equal numbers
only. net_virtio does both, but needs a virtual machine.
"""

import time

import pytest
from support import network, replay
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
        assert port["steering"]["filled_queues"] == 4
        method = {"auto": "ring", "ring": "ring", "queues": "queues"}[steering] if workers > 1 else "one_worker"
        assert port["steering"]["method"] == method
        table = daemon.ctl("port", "list", output="table").stdout
        assert "; net_af_packet spreads packets over 4 receive queues  " in table
        polled = [queue for worker in daemon.ask("worker", "list") for queue in worker["queues"]]
        assert {queue["port"] for queue in polled} == {"edge0"}
        assert sorted(queue["queue"] for queue in polled) == list(range(4))
        assert daemon.stop()[0] == 0


@pytest.mark.parametrize("steering", ("auto", "ring"))
def test_tap_starts_with_rings_and_receives_every_flow(namespace, directory, steering):
    config = configured(directory, "net_tap0,iface=gwtap1", 2, steering)
    with Daemon(namespace, config, directory) as daemon:
        network.send(namespace, "gwtap1", frames())
        assert daemon.stats_at_rest()["verdicts"]["forwarded"] == FLOWS
        (port,) = daemon.ask("port", "list")
        assert (port["rx_queues"], port["tx_queues"]) == (2, 2)
        assert daemon.stop()[0] == 0


@pytest.mark.parametrize("spread", (False, True))
def test_a_device_that_does_not_spread_flows_is_logged_once(namespace, directory, spread):
    """The queues are captures. The first has all flows, or each has half of them."""
    packets = frames()
    queues = (packets[::2], packets[1::2]) if spread else (packets, [])
    device = "net_pcap0"
    for number, part in enumerate(queues):
        capture, sent = directory / f"in{number}.pcap", directory / f"out{number}.pcap"
        capture.write_bytes(replay.pcap([(0, frame) for frame in part]))
        device += f",rx_pcap={capture},tx_pcap={sent}"
    config = configured(directory, device, 2, "queues")
    with Daemon(namespace, config, directory) as daemon:
        assert daemon.stats_at_rest()["verdicts"]["forwarded"] == FLOWS
        warning = "200 new flows came to receive queue 0 and none to the other 1"
        steering = {"method": "queues", "rss": False, "filled_queues": None, "crowded_queue": None}
        sentence = "queues: a queue for each worker; net_pcap offers no RSS and spreads packets by its own method"
        if not spread:
            daemon.wait_for_log(warning)
            steering["crowded_queue"] = {"queue": 0, "flows": FLOWS}
            sentence += "; but all flows come to queue 0"
        time.sleep(2.5)
        assert daemon.log().count(warning) == (0 if spread else 1)
        assert daemon.ask("port", "list")[0]["steering"] == steering
        assert f"  {sentence}  " in daemon.ctl("port", "list", output="table").stdout
        assert daemon.stop()[0] == 0
