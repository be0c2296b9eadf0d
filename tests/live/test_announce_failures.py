"""What fails takes its routes along: each failure of a forwarder, and what the router, new and old connections see of it."""

import signal
import tempfile
import time
from pathlib import Path

import pytest
from support.failures import FAILURES
from support.fleet import Attempts, Fleet, describe
from support.hosts import IN_TIME, wait_until
from support.packets import PORT, VIP

# Seconds from a failure until the router has no route by the node.
KILLED, OTHERS = 0.1, 1.0
# Milliseconds between packets of BFD, of which three may be missing. When the sessions' own way leads through the forwarder
# it is BFD that finds the forwarder dead, for no message can leave the node any more.
BFD = 25


@pytest.fixture(scope="module")
def whole(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Fleet(Path(name), bfd=BFD) as made:
        made.wait_for(made.nodes)
        yield made


@pytest.fixture
def fleet(whole):
    """Nothing of it is broken."""
    whole.repair()
    return whole


def opened(fleet, conversations, count):
    """Conversations of every kind, and the node that carries each."""
    made = [
        one
        for version in (4, 6)
        for protocol in ("tcp", "udp")
        for one in conversations.opened(fleet.client, count, PORT[protocol], protocol, version)
    ]
    return made, fleet.carriers(made)


def test_both_carry_traffic(fleet):
    """Each node has connections of both families, and they stay where they are."""
    before = [node.daemon.ask("stats")["verdicts"]["forwarded"] for node in fleet.nodes]
    with fleet.conversations() as conversations:
        made, carriers = opened(fleet, conversations, 40)
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


@IN_TIME
def test_a_forwarder_is_killed(fleet):
    victim, other = fleet.nodes
    with fleet.conversations() as conversations:
        made, carriers = opened(fleet, conversations, 40)
        others = [one for one, at in zip(made, carriers, strict=True) if at is other]
        assert 30 <= len(others) <= len(made) - 30
        with fleet.routes() as log, Attempts(fleet, 4) as four, Attempts(fleet, 6) as six:
            time.sleep(0.3)
            for one in others:
                one.longest = 0
            at = victim.kill()
            took = fleet.losses(log, victim, at)
            # A SYN that met the dead node is repeated after a second.
            time.sleep(2)
        print(f"after SIGKILL the router has no route by it: {describe(took)}")
        assert max(took.values()) < KILLED
        for version, attempts in ((4, four), (6, six)):
            late = attempts.late()
            print(f"IPv{version}: {len(late)} of {len(attempts.made)} new connections had to repeat their SYN")
            assert len(attempts.made) > 100
            assert not [one.error for one in late if one.error]
            # A SYN begun a moment before may still be on its way.
            assert not [one.begun - at for one in late if not at - 0.02 <= one.begun <= at + took[version] + 0.005]
        assert not [one.broken for one in others if one.broken] and not [one.moves for one in others if one.moves]
        assert max(one.longest for one in others) < 0.5
        # Those through the dead one are at the other now, which has the same table: all keep their server.
        conversations.until(lambda: settled(made), 5, "answers")
        assert not [one.broken for one in made if one.broken] and not [one.moves for one in made if one.moves]


def settled(made):
    """A moment later each has an answer to what it asks now; datagrams that were lost remain so."""
    before = {one.number: one.answered for one in made}
    time.sleep(0.3)
    return all(one.answered > before[one.number] for one in made)


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
            assert max(took.values()) < OTHERS
            # BFD at the router is the faster one. The node must do its own part as well.
            if failure != "stopped":
                wait_until(lambda: not victim.is_up(), at + OTHERS - time.time(), victim.log)
            elif with_controller:
                wait_until(lambda: not victim.kernel(), at + OTHERS - time.time(), victim.log)
            if with_controller:
                assert {vip["state"] for vip in victim.controller.vips().values()} == {"withdrawn"}
    if not with_controller:
        # A controller has to put the routes back: the kernel drops those of an interface that goes down.
        victim.controller.start()
    took = fleet.wait_for(fleet.nodes)
    print(f"again by both after {took:.1f} s")
    assert not [change for change in log.changes(VIP[4]) if fleet.nodes[1].address[4] not in change.next_hops]
