"""The fleet's choice of backend, written a second time from the paper and the documentation.

SipHash-1-3 (Aumasson and Bernstein, 2012) of 64 and 128 bits, Maglev hashing (Eisenbud et al., 2016,
section 3.4) with weights, and the flow key. The model shares no code with the program: it predicts a
backend and never reads one from the program's output. `tests/replay/test_model.py` holds known answers.
"""

import functools
import ipaddress
import struct
from dataclasses import dataclass

MASK = (1 << 64) - 1
PROTOCOLS = {"tcp": 6, "udp": 17}


def _rotate(word, bits):
    return ((word << bits) | (word >> (64 - bits))) & MASK


def _round(v0, v1, v2, v3):
    v0 = (v0 + v1) & MASK
    v1 = _rotate(v1, 13) ^ v0
    v0 = _rotate(v0, 32)
    v2 = (v2 + v3) & MASK
    v3 = _rotate(v3, 16) ^ v2
    v0 = (v0 + v3) & MASK
    v3 = _rotate(v3, 21) ^ v0
    v2 = (v2 + v1) & MASK
    v1 = _rotate(v1, 17) ^ v2
    v2 = _rotate(v2, 32)
    return v0, v1, v2, v3


def _siphash(key, data, compressions, finals, wide):
    k0, k1 = struct.unpack("<QQ", key)
    state = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573)
    if wide:
        state = (state[0], state[1] ^ 0xEE, state[2], state[3])
    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        state = (*state[:3], state[3] ^ word)
        for _ in range(compressions):
            state = _round(*state)
        state = (state[0] ^ word, *state[1:])

    def finish(state):
        for _ in range(finals):
            state = _round(*state)
        return state, state[0] ^ state[1] ^ state[2] ^ state[3]

    state, first = finish((state[0], state[1], state[2] ^ (0xEE if wide else 0xFF), state[3]))
    if not wide:
        return first
    _, second = finish((state[0], state[1] ^ 0xDD, state[2], state[3]))
    return first, second


def siphash13(key, data):
    return _siphash(key, data, 1, 3, wide=False)


def siphash24(key, data):
    return _siphash(key, data, 2, 4, wide=False)


def siphash13_128(key, data):
    """The two halves of the digest."""
    return _siphash(key, data, 1, 3, wide=True)


def siphash24_128(key, data):
    return _siphash(key, data, 2, 4, wide=True)


@dataclass(frozen=True)
class Flow:
    """A 5-tuple; addresses and protocol as text."""

    source: str
    destination: str
    sport: int
    dport: int
    protocol: str

    def key(self):
        """13 bytes for IPv4, 37 for IPv6."""
        addresses = ipaddress.ip_address(self.source).packed + ipaddress.ip_address(self.destination).packed
        return addresses + struct.pack("!HHB", self.sport, self.dport, PROTOCOLS[self.protocol])


def quotas(size, weights):
    """Slots by the largest remainder method; among equal remainders the first wins."""
    total = sum(weights)
    shares = [size * weight // total for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(size * weights[i] % total), i))
    for i in order[: size - sum(shares)]:
        shares[i] += 1
    return shares


def fill(size, permutations, weights):
    """Candidates, (offset, skip) each, take turns. Returns the candidate's index for each slot."""
    slots = [None] * size
    if not permutations:
        return []
    left = quotas(size, weights)
    position = [offset for offset, _ in permutations]
    credit = [0] * len(weights)
    taken = 0
    while taken < size:
        for i, (_, skip) in enumerate(permutations):
            credit[i] += weights[i]
            if credit[i] < max(weights):
                continue
            credit[i] -= max(weights)
            if left[i] == 0:
                continue
            left[i] -= 1
            while slots[position[i]] is not None:
                position[i] = (position[i] + skip) % size
            slots[position[i]] = i
            taken += 1
    return slots


def identity(address):
    """The bytes that give a backend's permutation: its address, IPv4 as IPv4-mapped IPv6."""
    packed = ipaddress.ip_address(address).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


@functools.lru_cache(maxsize=64)
def maglev_table(key, size, candidates):
    """The address of each slot's candidate. `candidates`: (address, weight) of those that accept new flows."""
    candidates = sorted((c for c in candidates if c[1] > 0), key=lambda c: identity(c[0]))
    permutations = []
    for address, _ in candidates:
        first, second = siphash13_128(key, identity(address))
        permutations.append((first % size, second % (size - 1) + 1))
    slots = fill(size, permutations, [weight for _, weight in candidates])
    return [candidates[i][0] for i in slots]


class Fleet:
    """Every node with this configuration."""

    def __init__(self, config):
        self.key = bytes.fromhex(config["hash"]["key"])
        self.size = config["hash"].get("table_size", 65537)
        self.services = {}
        for service in config["service"]:
            backends = config.pool(service["pool"])["backends"]
            candidates = tuple((b["address"], b.get("weight", 1)) for b in backends if b.get("enabled", True))
            address = (ipaddress.ip_address(service["address"]), service["protocol"], service["port"])
            self.services[address] = candidates

    def backend(self, flow):
        """The address of the backend for a new flow; None if no backend accepts new flows."""
        service_address = (ipaddress.ip_address(flow.destination), flow.protocol, flow.dport)
        table = maglev_table(self.key, self.size, self.services[service_address])
        return table[(siphash13(self.key, flow.key()) * len(table)) >> 64] if table else None
