"""Compares the frames and counts of a replay with the model's."""

from collections import Counter, defaultdict
from dataclasses import replace

from .model import Fleet
from .packets import inner_of, split_label, tunnel_packet


def expected_frames(config, sent):
    """Frames by port, in the order of `sent`."""
    fleet, frames = Fleet(config), defaultdict(list)
    for packet in sent:
        if packet.verdict == "forwarded":
            for inner in packet.inners():
                port, frame = tunnel_packet(config, fleet, replace(packet, inner=inner))
                frames[port].append(frame)
        elif packet.reply:
            frames["edge0"].append(packet.reply)
    return frames


def without_labels(frames):
    return [split_label(frame)[0] for frame in frames]


def check_frames(config, sent, outcome, ports=("edge0",)):
    """Compares all frames byte by byte, in order: one worker keeps the order of the input."""
    expected = expected_frames(config, sent)
    assert set(expected) <= set(ports)
    for port in ports:
        compare(without_labels(outcome.frames(port)), expected[port], port)
    check_verdicts(sent, outcome.report)
    check_labels(sent, [frame for port in ports for frame in outcome.frames(port)])


def compare(got, expected, port):
    for index, (one, other) in enumerate(zip(got, expected, strict=False)):
        assert one.hex() == other.hex(), f"frame {index} of {port}"
    assert len(got) == len(expected), f"frames of {port}"


def check_verdicts(sent, stats):
    """Every packet was received and has its expected verdict; `stats` is the program's report."""
    happened = {name: count for name, count in stats["verdicts"].items() if count}
    assert happened == Counter(packet.verdict for packet in sent)
    assert stats["received"] == len(sent)


def check_labels(sent, frames):
    """Flow labels of outer IPv6 headers: never 0, the same within a flow, different between flows."""
    flow_of = {inner: packet.flow for packet in sent for inner in packet.inners()}
    replies = {packet.reply for packet in sent}
    labels = defaultdict(set)
    for frame in frames:
        bare, label = split_label(frame)
        if label is not None and bare not in replies:
            labels[flow_of[inner_of(frame)]].add(label)
    assert all(len(found) == 1 and 0 not in found for found in labels.values()), labels
    distinct = {label for found in labels.values() for label in found}
    assert len(distinct) >= 0.9 * len(labels)
