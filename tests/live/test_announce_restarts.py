"""What ends and comes back: controllers, BIRD, forwarders, and routes that somebody deletes.

GUIDEWAY_QUIET_SECONDS (5) is how long nothing happens, and no UPDATE is sent.
"""

import json
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest
from support.fleet import SLOW, Attempts, Fleet
from support.hosts import IN_TIME, wait_until
from support.packets import VIP

QUIET = float(os.environ.get("GUIDEWAY_QUIET_SECONDS", "5"))
# Within which the controller puts a route back.
RESTORED = 1


@pytest.fixture(scope="module")
def whole(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Fleet(Path(name), bfd=SLOW) as made:
        made.wait_for(made.nodes)
        yield made


@pytest.fixture
def fleet(whole):
    """Nothing of it is broken."""
    whole.repair()
    return whole


class Silence:
    """The router hears nothing of the nodes' addresses while a `with` block runs."""

    def __init__(self, fleet):
        self._fleet = fleet
        self._log = fleet.routes()

    def __enter__(self):
        self._before = self._fleet.router.messages()
        assert len(self._before) == 4
        self._log.__enter__()
        return self

    def __exit__(self, *error):
        self._log.__exit__(*error)
        if error[0] is None:
            assert self._fleet.router.messages() == self._before, self._fleet.report()
            assert not [change for vip in VIP.values() for change in self._log.changes(vip)]


def test_nothing_happens(fleet):
    with Silence(fleet):
        time.sleep(QUIET)


@pytest.mark.parametrize("number", (signal.SIGKILL, signal.SIGTERM), ids=lambda number: number.name)
def test_a_controller_ends_and_comes_back(fleet, number):
    node = fleet.nodes[0]
    routes = node.kernel()
    assert routes == [(VIP[6], 1000), (VIP[4], 1000)] or routes == [(VIP[4], 1000), (VIP[6], 1000)]
    with fleet.conversations() as conversations, Silence(fleet):
        made = fleet.connected(conversations, 50)
        node.controller.stop(number)
        time.sleep(1)
        assert node.kernel() == routes and node.is_up()
        begun = time.monotonic()
        node.controller.start()
        node.controller.wait()
        wait_until(lambda: {vip["state"] for vip in node.controller.vips().values()} == {"announced"}, 10, node.log)
        print(f"the controller is back after {time.monotonic() - begun:.2f} s")
        # Longer than hold.
        time.sleep(1.5)
        assert node.kernel() == routes
        assert not [one.broken for one in made if one.broken]


def test_bird_is_killed(fleet):
    node = fleet.nodes[0]
    routes, starts = node.kernel(), node.bird.starts
    with fleet.conversations() as conversations, fleet.routes() as log:
        made = fleet.connected(conversations, 50)
        at = time.time()
        node.bird.process.kill()
        took = fleet.losses(log, node, at)
        print("after SIGKILL of BIRD the routes are gone after " + ", ".join(f"{1000 * one:.1f} ms" for one in took.values()))
        assert max(took.values()) < RESTORED
        # The controller has nothing to do with it.
        assert node.kernel() == routes
        print(f"announced again after {fleet.wait_for(fleet.nodes, 15):.1f} s")
        assert node.bird.starts == starts + 1
        wait_until(lambda: all(one["state"] == "established" for one in node.controller.sessions().values()), 10, node.log)
        assert not [one.broken for one in made if one.broken] and not [one.moves for one in made if one.moves]


@IN_TIME
def test_a_forwarder_restarts(fleet):
    """By SIGTERM, as its unit does. Nobody notices, whichever node carries him."""
    node = fleet.nodes[0]
    with fleet.conversations() as conversations, fleet.routes() as log:
        made = fleet.connected(conversations, 50)
        with Attempts(fleet, 4) as four, Attempts(fleet, 6) as six:
            at = time.time()
            code, seconds = node.daemon.stop()
            ended = at + seconds
            assert code == 0, node.log()
            took = fleet.losses(log, node, at)
            print(f"withdrawn after {1000 * max(took.values()):.0f} ms, ended after {1000 * seconds:.0f} ms")
            # It forwards on for `linger` after that.
            assert at + max(took.values()) + 0.3 < ended
            time.sleep(0.5)
            node.daemon.__enter__()
            back = fleet.wait_for(fleet.nodes)
            print(f"announced again after {back:.1f} s")
            time.sleep(1)
        for attempts in (four, six):
            assert len(attempts.made) > 100
            assert not attempts.late(), [(one.begun - at, one.took, one.error) for one in attempts.late()]
        assert not [one.broken for one in made if one.broken] and not [one.moves for one in made if one.moves]


def test_somebody_deletes_the_routes(fleet):
    """As systemd-networkd does with those that it does not know."""
    node = fleet.nodes[0]
    routes = node.kernel()
    for version in (4, 6):
        node.host.ip(f"-{version}", "route", "flush", "table", "1000")
    _, took = wait_until(lambda: node.kernel() == routes, RESTORED, node.log)
    print(f"put back after {1000 * took:.0f} ms")
    fleet.wait_for(fleet.nodes, 5)


def test_somebody_deletes_the_rules(fleet):
    """The controller puts the kernel's own back, without which the node reaches nobody. The announced routes need none."""
    node = fleet.nodes[0]
    routes = node.kernel()
    for version in (4, 6):
        rules = node.host.show(f"-{version}", "rule", "show")
        before = restored(node, version)
        node.host.ip(f"-{version}", "rule", "flush")
        wait_until(lambda v=version, n=before: restored(node, v) > n, 2, node.log)
        assert node.host.show(f"-{version}", "rule", "show") == rules
        assert node.kernel() == routes
    fleet.wait_for(fleet.nodes, 15)
    assert node.kernel() == routes


def restored(node, version):
    """How often the controller says that it has put back a rule."""
    said = node.controller.ctl("monitor", "--controller", "--no-follow", output="jsonl").stdout
    events = [json.loads(line) for line in said.splitlines()]
    return sum(event["event"] == "rule_restored" and event["ipv6"] == (version == 6) for event in events)
