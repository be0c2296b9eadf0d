"""SIGKILL of a forwarder under load, with BFD fast enough for the promise, as the session's way leads through that forwarder."""

import tempfile
import time
from pathlib import Path

import pytest
from support.fleet import FAST, Attempts, Fleet, describe
from support.hosts import IN_TIME

# Seconds until the router has no route by the node.
KILLED = 0.1


@pytest.fixture(scope="module")
def whole(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Fleet(Path(name), bfd=FAST) as made:
        made.wait_for(made.nodes)
        yield made


@pytest.fixture
def fleet(whole):
    """Nothing of it is broken."""
    whole.repair()
    return whole


@IN_TIME
def test_a_forwarder_is_killed(fleet):
    victim, other = fleet.nodes
    with fleet.conversations() as conversations:
        made, carriers = fleet.carried(conversations, 40)
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
