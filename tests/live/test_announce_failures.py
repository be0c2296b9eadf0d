"""What fails takes its routes along: each failure of a forwarder, and what the router, new and old connections see of it."""

import signal
import tempfile
import time
from pathlib import Path

import pytest
from support.failures import FAILURES
from support.fleet import Fleet, describe
from support.hosts import IN_TIME, wait_until
from support.packets import VIP

# Seconds from a failure until the router has no route by the node.
LIMIT = 1.0


@pytest.fixture(scope="module")
def whole(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Fleet(Path(name)) as made:
        made.wait_for(made.nodes)
        yield made


@pytest.fixture
def fleet(whole):
    """Nothing of it is broken."""
    whole.repair()
    return whole


def test_both_carry_traffic(fleet):
    """Each node has connections of both families, and they stay where they are."""
    before = [node.daemon.ask("stats")["verdicts"]["forwarded"] for node in fleet.nodes]
    with fleet.conversations() as conversations:
        made, carriers = fleet.carried(conversations, 40)
        for version in (4, 6):
            some = [at for one, at in zip(made, carriers, strict=True) if one.version == version]
            shares = [some.count(node) for node in fleet.nodes]
            # Of 80, at chances of one half: fewer than 15 for a node is less likely than one in ten million.
            assert min(shares) >= 15, shares
        # Both have the same table, so which node a connection comes by does not matter.
        assert {one.server for one in made} == set(fleet.servers)
        conversations.until(lambda: all(one.answered >= 5 for one in made), 10, "answers")
        assert not [one.broken for one in made if one.broken] and not [one.moves for one in made if one.moves]
    after = [node.daemon.ask("stats")["verdicts"]["forwarded"] for node in fleet.nodes]
    for node, begun, ended, share in zip(fleet.nodes, before, after, map(carriers.count, fleet.nodes), strict=True):
        # Each has sent five requests, so that the router's own word about its choice is confirmed.
        assert ended - begun >= 5 * share, f"{node.name}: {ended - begun} packets of {share} conversations"


def states(node):
    return {vip["state"] for vip in node.controller.vips().values()}


@IN_TIME
@pytest.mark.parametrize("with_controller", (True, False), ids=("controller", "no controller"))
@pytest.mark.parametrize("failure", FAILURES)
def test_a_forwarder_fails(fleet, failure, with_controller):
    victim = fleet.nodes[0]
    if not with_controller:
        victim.controller.stop(signal.SIGKILL)
        assert fleet.is_by(fleet.nodes)
    with fleet.routes() as log:
        at = time.time()
        with FAILURES[failure](victim):
            took = fleet.losses(log, victim, at)
            print(f"{failure}, with{'' if with_controller else 'out'} a controller: {describe(took)}")
            assert max(took.values()) < LIMIT
            # BFD at the router is the faster one. The node must do its own part as well.
            if failure != "stopped":
                wait_until(lambda: not victim.is_up(), at + LIMIT - time.time(), victim.log)
            elif with_controller:
                wait_until(lambda: not victim.kernel(), at + LIMIT - time.time(), victim.log)
            if with_controller:
                wait_until(lambda: states(victim) == {"withdrawn"}, at + LIMIT - time.time(), victim.log)
    if not with_controller:
        # A controller has to put the routes back: the kernel drops those of an interface that goes down.
        victim.controller.start()
    took = fleet.wait_for(fleet.nodes)
    print(f"again by both after {took:.1f} s")
    assert not [change for change in log.changes(VIP[4]) if fleet.nodes[1].address[4] not in change.next_hops]
