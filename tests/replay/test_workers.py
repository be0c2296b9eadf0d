"""Several workers send the same frames as one, and keep the order within a flow."""

from collections import defaultdict

import pytest
from support import expectation, garbage
from support.config import one_port, two_ports
from support.packets import Sent, client_packet, flow, inner_of
from support.replies import echo

ROUNDS = 25


def traffic():
    """Packets of many flows in turn, each numbered in its payload, with echo requests and garbage between."""
    sent = []
    for number in range(ROUNDS):
        sent += [
            client_packet(flow(version, protocol, 1, 3000 + n), flags="A", payload=number.to_bytes(2, "big"))
            for version in (4, 6)
            for protocol in ("tcp", "udp")
            for n in range(12)
        ]
        for version in (4, 6):
            frame, verdict, (reply,) = echo(version, number=number)
            sent.append(Sent(frame, verdict, reply=reply))
        sent += [*garbage.not_ours(), *garbage.icmp(), *garbage.fragments()]
    return sent


SENT = traffic()


def by_flow(frames):
    flow_of = {packet.inner: packet.flow for packet in SENT if packet.flow}
    flows, replies = defaultdict(list), {packet.reply for packet in SENT}
    for frame in frames:
        if frame not in replies:
            flows[flow_of[inner_of(frame)]].append(frame)
    return flows


@pytest.mark.parametrize("workers", (2, 3))
@pytest.mark.parametrize("make", (one_port, two_ports))
def test_frames_and_order_of_each_flow(run_replay, workers, make):
    config = make()
    ports = [port["name"] for port in config["port"]]
    captures = {port: [] for port in ports} | {"edge0": [packet.frame for packet in SENT]}
    outcome = run_replay(config, captures, "--workers", str(workers))
    expectation.check_verdicts(SENT, outcome.report)
    expected = expectation.expected_frames(config, SENT)
    for port in ports:
        got = expectation.without_labels(outcome.frames(port))
        assert sorted(got) == sorted(expected[port])
        assert by_flow(got) == by_flow(expected[port])


def test_workers_do_not_change_the_counts(run_replay):
    config, frames = one_port(), [packet.frame for packet in SENT]
    alone = run_replay(config, frames).report
    for workers in ("1", "2"):
        report = run_replay(config, frames, "--workers", workers).report
        assert report["verdicts"] == alone["verdicts"]
        assert report["received"] == alone["received"]
        assert report["transmitted"] == alone["transmitted"]
