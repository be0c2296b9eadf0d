"""Fragments and ICMP errors among several workers. The owner of a datagram, the owner of its flow and the
receiver of a packet may be three workers. The frames must equal one worker's, and none may be lost."""

import itertools
import random
from collections import defaultdict

import pytest
from support import expectation, garbage
from support.config import one_port, two_ports
from support.fragments import datagram, fragment_at, transport_of, udp_flow
from support.packets import Sent, client_packet, flow, inner_of
from support.replies import echo, error_about

WORKERS = pytest.mark.parametrize("workers", (2, 3))
CLIENTS = range(1, 9)


def permuted():
    """Datagrams whose fragments come in every order: pairs of the fragments as sent and as they leave."""
    for version, client in itertools.product((4, 6), CLIENTS):
        for number, order in enumerate(itertools.permutations(range(3))):
            parts = datagram(udp_flow(version, client, 40000 + number), identification=number)
            first = order.index(0)
            leaving = [parts[index] for index in (0, *order[:first], *order[first + 1 :])]
            yield [parts[index] for index in order], leaving


def shuffled(seed, lists):
    """The packets of all lists in random order. Packets of one list keep their order."""
    order = [index for index, packets in enumerate(lists) for _ in packets]
    random.Random(seed).shuffle(order)
    queues = [iter(packets) for packets in lists]
    return [next(queues[index]) for index in order]


def events(report, *without):
    return {name: count for name, count in report["events"].items() if name not in without}


def compare(run_replay, config, sent, workers):
    """Runs with one worker and with several. Returns the outcome of several."""
    ports = [port["name"] for port in config["port"]]
    captures = {port: [] for port in ports} | {"edge0": [packet.frame for packet in sent]}
    alone, outcome = run_replay(config, captures), run_replay(config, captures, "--workers", str(workers))
    expected = expectation.expected_frames(config, sent)
    for port in ports:
        # Flow labels depend on the flow only, and not on the worker.
        assert sorted(outcome.frames(port)) == sorted(alone.frames(port))
        assert sorted(expectation.without_labels(outcome.frames(port))) == sorted(expected[port])
    expectation.check_verdicts(sent, outcome.report)
    assert outcome.report["verdicts"] == alone.report["verdicts"]
    assert outcome.report["transmitted"] == alone.report["transmitted"]
    # During an owner query later fragments wait. With one worker they need not.
    assert events(outcome.report, "fragment_waited") == events(alone.report, "fragment_waited")
    assert outcome.report["events"]["fragment_waited"] >= alone.report["events"]["fragment_waited"]
    return outcome


@WORKERS
@pytest.mark.parametrize("make", (one_port, two_ports))
def test_every_order_of_three(run_replay, workers, make):
    """All frames leave, and each datagram's fragments leave behind its first in their order of arrival."""
    config, datagrams = make(), list(permuted())
    outcome = compare(run_replay, config, shuffled(workers, [parts for parts, _ in datagrams]), workers)
    number_of = {p.inner: number for number, (parts, _) in enumerate(datagrams) for p in parts}
    assert len(number_of) == sum(len(parts) for parts, _ in datagrams)
    departed = defaultdict(list)
    for port in outcome.files:
        for frame in outcome.frames(port):
            departed[number_of[inner_of(frame)]].append(inner_of(frame))
    for number, (_, leaving) in enumerate(datagrams):
        assert departed[number] == [packet.inner for packet in leaving]


@WORKERS
def test_first_fragments_and_errors_find_their_flow(run_replay, workers):
    """The flows began with a whole packet. No fragment and no error records its flow a second time."""
    config, lists = one_port(), []
    for version, protocol, client in itertools.product((4, 6), ("tcp", "udp"), CLIENTS):
        one = flow(version, protocol, client, 50000 + client)
        size = 460 if protocol == "tcp" else 472
        # Over IPv6 the protocol does not identify a datagram.
        number = {"identification": 7 if protocol == "tcp" else 8}
        first = fragment_at(one, 0, transport_of(one, size), **number)
        last = fragment_at(one, 480, b"x" * 24, more=False, **number)
        if client % 2:
            first, last = last, first
        again = client_packet(one, flags="A")
        lists.append([client_packet(one), error_about(one), first, last, error_about(one), again])
    outcome = compare(run_replay, config, shuffled(workers, lists), workers)
    happened = events(outcome.report)
    assert happened["flow_new"] == len(lists)
    # The first fragment and the second whole packet.
    assert happened["flow_hit"] >= 2 * len(lists)
    assert not happened["flow_moved"] and not happened["flow_table_full"]


@WORKERS
def test_a_flow_begins_with_a_fragment(run_replay, workers):
    """The owner of the flow records it, so that whole packets and other datagrams find it."""
    config, lists = one_port(), []
    for version, client in itertools.product((4, 6), CLIENTS):
        one = udp_flow(version, client)
        middle, *others = datagram(one, 1)[1:] + datagram(one, 1)[:1]
        lists.append([middle, *others, client_packet(one), *datagram(one, 2), error_about(one)])
    outcome = compare(run_replay, config, shuffled(workers, lists), workers)
    assert outcome.report["events"]["flow_new"] == len(lists)


@WORKERS
def test_every_reason_to_drop_fragments(run_replay, workers):
    """Each dropped fragment is counted once, with the same reason as with one worker."""

    def change(config):
        for service in config["service"]:
            if service["protocol"] == "tcp":
                service["fragments"] = "drop"

    config, lists = one_port().changed(change), [list(garbage.fragments())]
    for version, client in itertools.product((4, 6), CLIENTS):
        refused = flow(version, "tcp", client)
        lost, overlapped, sound = (udp_flow(version, client, sport) for sport in (1, 2, 3))
        for number in (10, 11):
            first = fragment_at(refused, 0, transport_of(refused, 460), identification=number).dropped("fragment_refused")
            last = fragment_at(refused, 480, b"x" * 24, more=False, identification=number).dropped("fragment_first_dropped")
            lists.append([first, last] if number == 10 else [last, first])
        lists.append([packet.dropped("fragment_timeout") for packet in datagram(lost, 20)[1:]])
        first = fragment_at(overlapped, 0, transport_of(overlapped, 472), identification=30)
        back = fragment_at(overlapped, 472, b"x" * 16, identification=30)
        behind = fragment_at(overlapped, 480, b"y" * 16, more=False, identification=30)
        lists.append([first, *(packet.dropped("fragment_overlap") for packet in (back, behind, first))])
        lists.append(datagram(sound, 40))
    compare(run_replay, config, shuffled(workers, lists), workers)


@WORKERS
def test_fragments_among_all_other_packets(run_replay, workers):
    config, lists = one_port(), [parts for parts, _ in permuted()]
    lists += [[packet] for packet in garbage.everything()]
    for version, number in itertools.product((4, 6), range(20)):
        frame, verdict, (reply,) = echo(version, number=number)
        lists.append([Sent(frame, verdict, reply=reply)])
        one = flow(version, "tcp", 9, 1000 + number)
        lists.append([client_packet(one), error_about(one)])
    compare(run_replay, config, shuffled(workers, lists), workers)
