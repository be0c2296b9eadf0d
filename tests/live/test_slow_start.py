"""A backend that returns gets its share of new connections by the curve of its pool's slow start."""

import struct
import threading
import time

import pytest
from support import network
from support.clients import Connection
from support.daemon import Daemon, live_one_port
from support.packets import client_packet, flow
from support.states import change, state

PER_SECOND = 4000  # of each pool
RAMP = 9  # seconds
CURVES = {"linear": lambda part: part, "quadratic": lambda part: part * part}
# Outer destinations. The first returns.
BACKENDS = {curve: [f"10.9.{number}.{host}" for host in (1, 2, 3)] for number, curve in enumerate(CURVES)}
FEW = 1000


@pytest.fixture(scope="module")
def peer(namespace):
    return namespace.cable("gw0")


def configuration(directory):
    def change(config):
        for port, (curve, addresses) in enumerate(BACKENDS.items(), 81):
            backends = [{"name": f"b{n}", "address": address} for n, address in enumerate(addresses)]
            config["pool"].append({"name": curve, "slow_start": RAMP, "slow_start_curve": curve, "backends": backends})
            service = {"name": curve, "address": "203.0.113.10", "protocol": "tcp", "port": port, "pool": curve}
            config["service"].append(service)

    return live_one_port("gw0", directory).changed(change)


class Opener:
    """Sends SYNs to both pools in turn, each of another flow, at an even pace."""

    def __init__(self, namespace, peer):
        # By client, for each pool.
        self._frames = [[self._syn(client, port) for port in range(81, 81 + len(CURVES))] for client in range(1, 9)]
        self._socket = namespace.packet_socket(peer, 0)
        self._ending = False
        self._thread = threading.Thread(target=self._send, daemon=True)

    @staticmethod
    def _syn(client, port):
        frame = bytearray(client_packet(flow(client=client)).frame)
        struct.pack_into("!H", frame, 36, port)
        return frame

    def _send(self):
        begin, sent = time.monotonic(), 0
        with network.one_cpu():
            while not self._ending:
                due = int((time.monotonic() - begin) * PER_SECOND)
                # A receive ring holds some hundred frames.
                for number in range(sent, min(due, sent + 100)):
                    for frame in self._frames[number >> 15]:
                        # Guideway does not look at the checksum of TCP.
                        struct.pack_into("!H", frame, 34, number & 0x7FFF | 0x8000)
                        self._socket.send(frame)
                sent = min(due, sent + 100)
                time.sleep(0.002)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        self._thread.join()
        self._socket.close()


def arrivals(capture, curve):
    """When a connection of a pool came, and whether it was for the backend that returns."""
    wanted = [bytes(map(int, address.split("."))) for address in BACKENDS[curve]]
    seen = ((at, frame[30:34]) for at, frame in zip(capture.times, capture.frames, strict=True))
    return [(at, address == wanted[0]) for at, address in seen if address in wanted]


def expected(curve, begin, end):
    """The part of new connections that the returning backend of three equal ones gets in this time since its return."""
    steps = [CURVES[curve](min(1.0, (begin + (end - begin) * (n + 0.5) / 100) / RAMP)) for n in range(100)]
    return sum(share / (2 + share) for share in steps) / len(steps)


def test_new_connections_follow_the_curve(namespace, peer, directory):
    with Daemon(namespace, configuration(directory), directory) as daemon, Connection(daemon.socket) as control:

        def check(to):
            changes = [change(curve, "b0", state(to)) for curve in CURVES]
            control.ask("backend_set", changes=changes, source="controller")

        check("down")
        # A whole second begins with the ramp, so that each of its steps is one second.
        time.sleep(1.05 - time.time() % 1)
        with network.capturing(namespace, peer) as capture, Opener(namespace, peer):
            time.sleep(1)
            check("active")
            returned = time.time()
            time.sleep(RAMP + 2)
        stats = daemon.stats_at_rest()
    assert stats["verdicts"]["forwarded"] == len(capture.frames)
    for curve in CURVES:
        seen = arrivals(capture, curve)
        assert not any(is_returning for at, is_returning in seen if at < returned - 0.2)

        def compare(begin, end, curve=curve, seen=seen):
            here = [is_returning for at, is_returning in seen if begin <= at - returned < end]
            # A busy machine loses some.
            assert len(here) > PER_SECOND * (end - begin) / 2, "the test is too slow"
            wanted = expected(curve, begin, end) * len(here)
            print(f"{curve} {begin} to {end} s: {sum(here)} of {len(here)}, expected {wanted:.0f}")
            # Of its whole share; and of that of the time where chance adds little to it.
            assert abs(sum(here) - wanted) < 0.1 * len(here) / 3
            assert wanted < FEW or abs(sum(here) - wanted) < 0.1 * wanted

        for second in range(RAMP + 1):
            compare(second, second + 1)
        for third in range(3):
            compare(third * RAMP / 3, (third + 1) * RAMP / 3)
