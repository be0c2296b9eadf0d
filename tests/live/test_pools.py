"""Pools that stand in for one another, and what happens when nobody serves."""

import time

import pytest
from support import states
from support.states import at, disturbed, service, state

HOLD = 2  # seconds
ONE = {"s1": "192.0.2.11"}
TWO = {"s1": "192.0.2.11", "s2": "192.0.2.12"}
THIRD = {"s3": "192.0.2.13"}

POOLS = [
    states.pool("web", TWO, backup="sorry", backup_hold=HOLD),
    states.pool("two", TWO, backup="sorry", backup_hold=HOLD, min_active=2),
    states.pool("sorry", THIRD),
    states.pool("both", {}, pools=["two", "sorry"]),
    states.pool("reset", ONE, on_empty="reset"),
    states.pool("all", ONE, on_empty="all"),
    states.pool("drop", ONE),
]


@pytest.fixture
def rig(root, directory):
    services = []
    for number, pool in enumerate(POOLS):
        services.append(service(pool["name"], "tcp", 8000 + number, pool=pool["name"]))
        services.append(service(pool["name"] + "-udp", "udp", 8000 + number, pool=pool["name"]))
    config = states.configuration(directory, POOLS, services)
    with states.rig(directory, config) as rig:
        yield rig


def port(name):
    return 8000 + [pool["name"] for pool in POOLS].index(name)


def served(rig, pool, protocol="tcp"):
    """The servers of new conversations, which end here."""
    new = rig.open(30, port(pool), protocol)
    rig.conversations.close(new)
    return {one.server for one in new}


def checked(rig, pool, backend, to):
    rig.set(backend, state(to), pool, source="controller")


@pytest.mark.parametrize(("pool", "failing"), (("web", ("s1", "s2")), ("two", ("s1",))))
def test_a_backup_stands_in_and_gives_way(rig, pool, failing):
    connections, datagrams = rig.open(60, port(pool)), rig.open(60, port(pool), "udp")
    assert {one.server for one in connections} == {"s1", "s2"}
    moving = at(datagrams, *failing)
    with rig.monitor() as monitor:
        for backend in failing:
            assert served(rig, pool) <= {"s1", "s2"}
            checked(rig, pool, backend, "down")
        assert served(rig, pool) == served(rig, pool, "udp") == {"s3"}
        event = monitor.until("backup_stands_in", pool=pool)
        assert (event["backup"], event["active"], event["needed"]) == ("sorry", 2 - len(failing), 3 - len(failing))
        # By default connections stay at a backend that is down, and datagrams move to one that serves.
        rig.conversations.until(lambda: at(moving, "s3") == moving, 2, "datagrams to move")
        assert not rig.conversations.lost(datagrams)
        assert not disturbed(connections + [one for one in datagrams if one not in moving])

        # It gives way once there have been enough for a while, without a break.
        late = rig.open(20, port(pool))
        assert at(late, "s3") == late
        for pause in (HOLD - 1, HOLD):
            checked(rig, pool, failing[0], "active")
            begin = time.monotonic()
            if pause < HOLD:
                time.sleep(pause)
                assert served(rig, pool) == {"s3"}
                checked(rig, pool, failing[0], "down")
        monitor.until("backup_gives_way", HOLD + 2, pool=pool)
        took = time.monotonic() - begin
        assert HOLD - 0.1 < took < HOLD + 1, took
    assert served(rig, pool) == set(TWO) - set(failing[1:])
    assert not disturbed(connections + late)


def test_a_pool_names_pools(rig):
    assert served(rig, "both") == {"s1", "s2", "s3"}
    connections = rig.open(60, port("both"))
    # The state is that of the backend in the pool that has it.
    rig.set("s1", state("draining"), "two")
    assert served(rig, "both") == {"s2", "s3"} and not disturbed(connections)
    rig.set("s3", state("disabled"), "sorry")
    assert served(rig, "both") == {"s2"}
    rig.conversations.until(lambda: all(one.broken for one in at(connections, "s3")), 3, "connections to end")
    assert not disturbed(at(connections, "s1", "s2"))


def test_an_empty_pool(rig):
    kept = {pool: rig.open(4, port(pool)) for pool in ("reset", "all", "drop")}
    for pool in kept:
        checked(rig, pool, "s1", "down")
    # Established connections stay, whatever happens to new ones.
    for version in (4, 6):
        for protocol in ("tcp", "udp"):
            refused = rig.conversations.open(rig.client, 4, port("reset"), protocol, version)
            rig.conversations.until(lambda refused=refused: all(one.broken for one in refused), 2, "refused")
            assert {one.broken[1] for one in refused} == {"ECONNREFUSED"}
    assert served(rig, "all") == served(rig, "all", "udp") == {"s1"}
    silent = rig.conversations.open(rig.client, 4, port("drop"))
    time.sleep(0.5)
    assert not any(one.answered or one.broken for one in silent)
    assert all(not disturbed(some) for some in kept.values())
    checked(rig, "drop", "s1", "active")
    # By the repeated SYN.
    rig.conversations.until(lambda: at(silent, "s1") == silent, 4, "answers")
    for pool in kept:
        checked(rig, pool, "s1", "active")
        assert served(rig, pool) == {"s1"}
    assert all(not disturbed(some) for some in kept.values())
