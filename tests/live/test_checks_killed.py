"""SIGKILL of the controller, of the forwarder and of both, at one of two nodes, with a server that is down.

That server's agent is dead, so that whatever is sent there is lost: a node that forgot the state would break connections.
"""

import contextlib
import ipaddress
import itertools
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest
from support import servers
from support.checks import QUICK, Checker, check, moment, probed, sources
from support.events import kept
from support.fleet import SLOW, Attempts, Fleet
from support.hosts import IN_TIME, tunnels, wait_until
from support.packets import VIP
from support.servers import Nginx

# Of the servers' health, beside the ports of services.
HEALTH = 8080
CHECKS = (check("health", "http", port=HEALTH),)
# Seconds until a result is a state at the forwarder, on a machine with other work.
INTERVAL, SOON = (QUICK["interval"] + QUICK["timeout"]) / 1000, 0.5


def with_checks(config):
    probed(config, CHECKS, int(config["node"]["name"].removeprefix("lb")))
    # A second server fails while the first is down.
    config.pool().update(checks=["health"], panic_threshold=100)


@pytest.fixture(scope="module")
def whole(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Fleet(Path(name), bfd=SLOW, change=with_checks) as made:
        made.web = {server: Nginx(host, Path(name), server, port=HEALTH) for server, host in made.servers.items()}
        made.checkers = [Checker(node) for node in made.nodes]
        made.wait_for(made.nodes)
        yield made


@pytest.fixture
def fleet(whole):
    """Nothing is broken, but s3 is down at both nodes."""
    whole.repair()
    for server in ("s1", "s2"):
        whole.web[server].be("well")
    victim = whole.servers["s3"]
    servers.kill(victim.agent)
    try:
        settle(whole)
        yield whole
    finally:
        victim.agent = servers.start_agent(victim)


DOWN = {"s1": "active", "s2": "active", "s3": "down"}


def settle(fleet):
    for checker in fleet.checkers:
        wait_until(lambda one=checker: one.backends() == DOWN, 15, checker.report)


# If a port is used again within 30 seconds after a RST, its flow may still be at a server that is down, and its SYN is dropped.
# The kernel chooses no ports below 32768.
ATTEMPTS = {"threads": 3, "pause": 0.02, "local_ports": itertools.cycle(range(1024, 32768))}


@contextlib.contextmanager
def undisturbed(fleet):
    """Connections through both nodes, and new ones, while a `with` block runs. None of them breaks or moves."""
    with fleet.conversations() as conversations:
        made = fleet.connected(conversations, 40)
        assert {one.server for one in made} == {"s1", "s2"}
        with Attempts(fleet, 4, **ATTEMPTS) as four, Attempts(fleet, 6, **ATTEMPTS) as six:
            yield made, (four, six)
        before = {one.number: one.answered for one in made}

        def silent():
            return [one for one in made if one.answered == before[one.number] and not one.broken]

        conversations.until(lambda: not silent(), 5, lambda: describe(fleet, silent()))
        found = [(one.local, one.server, one.broken, one.moves) for one in made if one.broken or one.moves]
        assert not found, f"{found}\n{fleet.report()}"


def describe(fleet, conversations):
    """Who carries and who serves these."""
    carriers = fleet.carriers(conversations)
    shown = [f"{one.local} {one.server} {node.name} {one.broken}" for one, node in zip(conversations, carriers, strict=True)]
    verdicts = {node.name: node.daemon.ask("stats")["verdicts"] for node in fleet.nodes}
    return f"{shown} {[{name: {k: v for k, v in some.items() if v} for name, some in verdicts.items()}]}"


def lost(attempts, begin=0.0, end=float("inf")):
    """New connections that failed or had to repeat their SYN, of those begun in between."""
    return [(one.begun - begin, one.took, one.error) for some in attempts for one in some.late() if begin <= one.begun <= end]


def test_the_controller_is_killed(fleet):
    """What it has set stays. The next one is right again within a check's interval, whatever changed meanwhile."""
    node, checker = fleet.nodes[0], fleet.checkers[0]
    with undisturbed(fleet) as (_, attempts):
        for server, state, wanted in (("s2", "bad", "down"), ("s2", "well", "active")):
            before = checker.backends()
            node.controller.stop(signal.SIGKILL)
            fleet.web[server].be(state)
            time.sleep(1)
            assert checker.backends() == before, "somebody else sets states"
            node.controller.start()
            node.controller.wait()
            begin = time.monotonic()
            wait_until(lambda s=server, w=wanted: checker.backends()[s] == w, 5, checker.report)
            print(f"{server} is {wanted} {1000 * (time.monotonic() - begin):.0f} ms after the controller answers")
            assert time.monotonic() - begin < INTERVAL + SOON
            assert checker.backends()["s3"] == "down" and checker.backends()["s1"] == "active"
            # Both nodes agree before the next step.
            wait_until(lambda s=server, w=wanted: fleet.checkers[1].backends()[s] == w, 5, checker.report)
        assert not lost(attempts), describe(fleet, [])
    assert node.controller.vips().keys() == set(VIP.values())


@IN_TIME
@pytest.mark.parametrize(
    "both, is_new", ((False, False), (True, False), (False, True)), ids=("the forwarder", "both", "a new one")
)
def test_a_forwarder_is_killed(fleet, both, is_new):
    """Its connections go on by the other node. When it is back it sends nothing to the server that is down, from the first
    packet on: it knows its states, or if that is lost too the controller sets them before addresses are announced."""
    node, checker = fleet.nodes[0], fleet.checkers[0]
    with undisturbed(fleet) as (made, attempts), fleet.routes() as log:
        assert node in fleet.carriers(made)
        at = node.kill()
        if both:
            node.controller.stop(signal.SIGKILL)
        took = max(fleet.losses(log, node, at).values())
        time.sleep(2)
        with fleet.servers["s3"].capture() as capture:
            back = time.time()
            if is_new:
                shutil.rmtree(node.directory / "state")
            if both:
                node.controller.start()
            node.daemon.__enter__()
            answers = time.monotonic()
            # Next hops may be unknown yet.
            wait_until(lambda: checker.backends()["s3"] == "down", 5, checker.report)
            print(f"s3 is down {1000 * (time.monotonic() - answers):.0f} ms after the forwarder answers")
            node.controller.wait()
            wait_until(lambda: checker.backends() == DOWN, 5, checker.report)
            print(f"states are right {1000 * (time.monotonic() - answers):.0f} ms after the forwarder answers")
            assert time.monotonic() - answers < INTERVAL + SOON
            fleet.wait_for(fleet.nodes)
            time.sleep(2)
            found = list(data(capture.frames, node))
        announced = min(change.at for vip in VIP.values() for change in log.changes(vip) if change.at > back)
        assert not found, f"{len(found)} packets of clients to the server that is down: {found[0].hex()}"
        if is_new:
            [set_down] = [
                moment(event["time"])
                for event in kept(node.daemon.socket)[0]
                if event["event"] == "backend_state" and event["backend"] == "s3" and event["to"] == "down"
            ]
            print(f"s3 is set down {1000 * (announced - set_down):.0f} ms before the router has the node's routes again")
            assert set_down < announced, "announced before the states were set"
        # Beyond the moment of the kill itself, no new connection notices.
        assert not lost(attempts, at + took + 0.01), node.log()[-3000:]
    settle(fleet)


def data(frames, node):
    """Packets of clients that this node has sent through tunnels over IPv4, which is how the server is reached."""
    own = ipaddress.ip_address(node.address[4]).packed
    probing = {ipaddress.ip_address(source).packed for source in sources(node.number).values()}
    for _, _, frame in tunnels(frames):
        inner = frame[14 + 20 + 4 :]
        if frame[26:30] == own and (inner[12:16] if inner[0] >> 4 == 4 else inner[8:24]) not in probing:
            yield frame


def test_no_route_flaps_with_a_server(fleet):
    """A server that fails and comes back each second changes no route."""
    before = fleet.router.messages()
    with undisturbed(fleet) as (_, attempts), fleet.routes() as log:
        for _ in range(4):
            for state in ("bad", "well"):
                fleet.web["s2"].be(state)
                time.sleep(1)
        assert {event["to"] for event in fleet.checkers[0].events("check_state") if event["backend"] == "s2"} >= {"down", "up"}
        assert fleet.router.messages() == before, fleet.report()
        assert not [change for vip in VIP.values() for change in log.changes(vip)]
        assert not lost(attempts), describe(fleet, [])
