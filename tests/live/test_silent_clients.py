"""Clients die without a word while their backend drains, and forged packets change nothing about it."""

import contextlib
import itertools
import random
import threading
import time

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from support import states
from support.hosts import APPLIANCE_MAC, INTERFACE
from support.packets import VIP
from support.states import SERVERS, at, disturbed, service

DYING = 500
LIVING = 120
FORGED = 10_000  # packets a second
TIMEOUTS = {"established": 5, "closing": 1, "udp": 5, "unconfirmed": 2, "syn": 2}
# The whole flow table is swept in this time.
SWEEP = 10
# The client's RST leaves the flow the time of `closing`, whenever it comes.
LATEST = TIMEOUTS["established"] + TIMEOUTS["closing"] + SWEEP


def forged(mac, source, port, to, flags):
    """A packet of a connection by somebody who cannot know its sequence numbers."""
    version = 6 if ":" in source else 4
    header = (IPv6 if version == 6 else IP)(src=source, dst=VIP[version])
    numbers = {"seq": random.getrandbits(32), "ack": random.getrandbits(32) if "A" in flags else 0}
    return bytes(Ether(src=mac, dst=APPLIANCE_MAC["gw0"]) / header / TCP(sport=port, dport=to, flags=flags, **numbers))


class Forger:
    """Sends frames in turn from a host."""

    def __init__(self, host, frames):
        self.sent = 0
        self._socket = host.packet_socket(INTERFACE, 0)
        self._frames = itertools.cycle(frames)
        self._ending = False
        self._thread = threading.Thread(target=self._send, daemon=True)

    def _send(self):
        begin = time.monotonic()
        while not self._ending:
            due = int((time.monotonic() - begin) * FORGED)
            # A busy machine skips packets rather than to send them all at once.
            for frame in itertools.islice(self._frames, min(due - self.sent, 100)):
                with contextlib.suppress(OSError):
                    self._socket.send(frame)
            self.sent = due
            time.sleep(0.002)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        self._thread.join()
        self._socket.close()


def test_a_drain_ends_when_clients_die_under_a_flood(root, directory):
    services = [service("web", "tcp", 80), service("dns", "udp", 53), service("other", "tcp", 81, pool="other")]
    config = states.configuration(directory, [states.pool(), states.pool("other")], services, 1, TIMEOUTS)
    with states.rig(directory, config) as rig:
        neighbor, attacker = states.client_of(rig.fabric, 101), rig.fabric.host("edge")
        dying = rig.open(DYING * 4 // 5, 80) + rig.open(DYING // 5, 53, "udp")
        living = [one for version in (4, 6) for one in rig.conversations.opened(neighbor, LIVING // 2, 81, version=version)]
        assert len(at(dying, "s1")) > DYING / 5 and len(at(living, "s1")) > LIVING / 6
        frames = [
            forged(attacker.mac, *one.local, port, flags)
            for some, port, kinds in ((dying, 80, ("S", "R")), (living, 81, ("S", "R", "A", "PA")))
            for one in some
            for flags in kinds
            if one.protocol == "tcp"
        ]
        # Only their own client could send these: they belong to no connection.
        frames += [forged(attacker.mac, dying[0].local[0], port, 80, "A") for port in range(1024, 1324)]
        random.shuffle(frames)
        accepted = rig.servers["s1"].accepted
        with rig.monitor() as monitor:
            # In every pool that has the address.
            order = {"address": SERVERS["s1"], "set": states.state("draining")}
            assert len(rig.control.ask("backend_set", changes=[order])["backends"]) == 2
            with Forger(attacker, frames):
                time.sleep(3)
                assert not disturbed(dying + living)
                rig.client.ip("link", "set", INTERFACE, "down")
                died = time.monotonic()
                monitor.until("backend_drained", LATEST + 1, pool="web", backend="s1")
                took = time.monotonic() - died
                print(f"drained {took:.1f} s after the clients died")
                assert took > TIMEOUTS["closing"]
                drained = [event["pool"] for event in monitor.events if event["event"] == "backend_drained"]
                assert drained == ["web"]
                assert not disturbed(living) and max(one.longest for one in living) < 2
                new = [one for version in (4, 6) for one in rig.conversations.opened(neighbor, 20, 81, version=version)]
                assert not at(new, "s1")
        assert rig.live("s1") == 0
        assert rig.live("s1", "other") == len(at(living, "s1"))
        assert rig.servers["s1"].accepted == accepted, "a connection entered the draining server"
        assert rig.daemon.ask("stats")["verdicts"]["backend_draining"] > FORGED / 4
