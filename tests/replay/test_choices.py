"""Each way to choose a backend gives each its weight's part of new flows, and keeps a flow where it is."""

import struct
from collections import Counter

import pytest
from scapy.utils import checksum
from support.config import one_port
from support.packets import client_packet, flow

FLOWS = 100_000
WEIGHTS = {"10.9.0.1": 1, "10.9.0.2": 2, "10.9.0.3": 3, "10.9.0.4": 0}
# Within this part of its own.
TOLERANCE = 0.02
CHOICES = ("maglev", "round-robin", "weighted-random", "least-flows", "source-hash")


def configuration(choice):
    def change(config):
        backends = [{"name": address, "address": address, "weight": weight} for address, weight in WEIGHTS.items()]
        config["pool"] = [{"name": "web", "choice": choice, "backends": backends}]

    return one_port().changed(change)


def syns(count=FLOWS):
    """The first packets of as many flows, each from an address and port of its own."""
    frame = bytearray(client_packet(flow()).frame)
    for number in range(count):
        # Multiplication by an odd number permutes. 11.0.0.0/8 is no special network.
        struct.pack_into("!I", frame, 26, 11 << 24 | number * 0x9E3779B1 & 0xFFFFFF)
        struct.pack_into("!H", frame, 34, 1024 + number % 60_000)
        struct.pack_into("!H", frame, 24, 0)
        struct.pack_into("!H", frame, 24, checksum(bytes(frame[14:34])))
        yield bytes(frame)


def served(outcome):
    """The outer destination of each packet, in the order of the packets."""
    return [".".join(map(str, frame[30:34])) for frame in outcome.frames()]


@pytest.mark.parametrize("choice", CHOICES)
def test_shares_are_those_of_the_weights(run_replay, choice):
    frames = list(syns())
    count = Counter(served(run_replay(configuration(choice), frames)))
    assert count.total() == FLOWS
    for address, weight in WEIGHTS.items():
        wanted = FLOWS * weight / sum(WEIGHTS.values())
        print(f"{choice} {address}: {count[address]}, by its weight {wanted:.0f}")
        assert abs(count[address] - wanted) <= TOLERANCE * wanted


@pytest.mark.parametrize("choice", CHOICES)
def test_a_flow_stays(run_replay, choice):
    frames = list(syns(500))
    # The second time without SYN.
    later = [frame[:47] + b"\x10" + frame[48:] for frame in frames]
    both = served(run_replay(configuration(choice), frames + later))
    first, second = both[:500], both[500:]
    assert first == second and len(set(first)) == 3


def test_all_flows_of_a_source_stay_together_by_source_hash(run_replay):
    frames = []
    for port in range(1024, 1044):
        for frame in syns(200):
            frames.append(frame[:34] + struct.pack("!H", port) + frame[36:])
    homes = {}
    for frame, address in zip(frames, served(run_replay(configuration("source-hash"), frames)), strict=True):
        assert homes.setdefault(frame[26:30], address) == address
    assert len(set(homes.values())) == 3
