"""States follow results by rise and fall; pools share probes; a pool that loses too many at once keeps them.

GUIDEWAY_FLAP_SECONDS (10) is how long a server flaps.
"""

import itertools
import os
import random
import tempfile
import time
from pathlib import Path

import pytest
from support import servers
from support.checks import QUICK, SOURCE, Rig, check, moment, pool, service
from support.conversations import FAMILY, KIND
from support.hosts import wait_until
from support.packets import VIP

FLAPS = float(os.environ.get("GUIDEWAY_FLAP_SECONDS", "10"))
# Seconds from one probe to the next, at the most, and in which its result becomes a state at the forwarder.
INTERVAL, SOON = QUICK["interval"] / 1000, 0.3
RISE, FALL = QUICK["rise"], QUICK["fall"]
EACH = {name: servers.addresses(n)[4] for n, name in enumerate(("s1", "s2", "s3"), 1)}
CHECKS = (
    check("web", "http", expect_drain=["404"], spread=1000),
    # What three pools share: `port` gives their probes one destination.
    check("shared", "http", path="/shared", port=80, interval=500),
    check("shared-direct", "http", path="/direct", port=80, via="direct", interval=500),
)
POOLS = (
    pool(checks=["web"]),
    *(
        pool(name, {f"{name}{n}": address for n, address in enumerate(EACH.values(), 1)}, ["shared", "shared-direct"])
        for name in "abc"
    ),
)
SERVICES = (service("web", 80), service("echo", 81), *(service(name, 90 + n, name) for n, name in enumerate("abc")))


@pytest.fixture(scope="module")
def whole(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Rig(Path(name), CHECKS, POOLS, SERVICES) as rig:
        yield rig


@pytest.fixture
def rig(whole):
    """Everything is well."""
    for web in whole.web.values():
        web.be("well")
    whole.checker.wait_for(dict.fromkeys(EACH, "up"), "web")
    wait_until(lambda: set(whole.checker.backends().values()) == {"active"}, 5, whole.checker.report)
    return whole


def expected(statuses, state="up"):
    """The states that a backend takes by rise and fall, as (number of the result, state)."""
    against = 0
    for number, status in enumerate(statuses):
        against = against + 1 if (status == 200) != (state == "up") else 0
        if against == (FALL if state == "up" else RISE):
            state, against = ("down" if state == "up" else "up"), 0
            yield number, state


def transitions(monitor, backend, count, seconds=5):
    """The first so many changes of a backend's state by the check `web`, as (time, state)."""

    def found():
        every = [event for event in monitor.events if event["event"] == "check_state"]
        return [event for event in every if (event["check"], event["backend"]) == ("web", backend)]

    end = time.monotonic() + seconds
    while len(found()) < count and time.monotonic() < end:
        monitor.socket.settimeout(max(0.01, end - time.monotonic()))
        try:
            monitor.read()
        except TimeoutError:
            break
    return [(moment(event["time"]), event["to"]) for event in found()]


def test_a_server_that_flaps(rig):
    """By turns it is well and bad: a second each, and also shorter than `fall`, which must change nothing. The server's own
    log says what the probes met, and so which states have to follow."""
    chance = random.Random(16)
    web = rig.web["s1"]
    with rig.checker.monitor() as monitor:
        begin = time.time()
        while time.time() < begin + FLAPS:
            for state in ("bad", "well"):
                web.be(state)
                time.sleep(1 if time.time() < begin + FLAPS / 2 else chance.choice((0.25, 0.45, 1)))
        time.sleep(3 * INTERVAL)
        requests = [(at, status) for at, status, _ in web.requests() if at > begin - 0.001]
        wanted = [(requests[number][0], state) for number, state in expected([status for _, status in requests])]
        seen = transitions(monitor, "s1", len(wanted) + 1, seconds=2)
    assert len(requests) > FLAPS / INTERVAL * 0.7, "probes are missing"
    assert len(wanted) >= FLAPS / 4, f"{len(wanted)} changes are too few to tell"
    assert [state for _, state in seen] == [state for _, state in wanted], f"{seen}\n{wanted}"
    late = [at - due for (at, _), (due, _) in zip(seen, wanted, strict=True)]
    print(f"{len(requests)} probes, {len(wanted)} changes of the state, each at most {1000 * max(late):.0f} ms after its probe")
    assert max(late) < SOON
    assert set(rig.checker.states("web").values()) == {"up"}


def test_what_a_server_asks_for(rig):
    """It drains, from `down` too, and comes back."""
    web, backends = rig.web["s2"], rig.checker.backends
    for state, wanted in (("leaving", "draining"), ("well", "active"), ("bad", "down"), ("leaving", "draining"), ("bad", "down")):
        web.be(state)
        _, took = wait_until(lambda w=wanted: backends()["s2"] == w, 5, rig.checker.report)
        print(f"{state}: {wanted} after {1000 * took:.0f} ms")
        assert took < (FALL + 2) * INTERVAL + SOON
        assert {backends()[name] for name in ("s1", "s3")} == {"active"}
    row = rig.checker.row("web", "s2")
    assert (row["state"], row["result"]["code"], row["result"]["status"]) == ("down", "L7STS", 503)


def test_three_pools_share_their_probes(rig):
    """A server sees one stream for each check, and all pools see its results."""
    rows = rig.checker.rows(check="shared")
    assert sorted(row["backend"] for row in rows) == sorted(f"{name}{n}" for name in "abc" for n in (1, 2, 3))
    since = time.time()
    time.sleep(4)
    until = time.time()
    for path, source in (("/shared", SOURCE[4]), ("/direct", None)):
        for name, web in rig.web.items():
            seen = [(at, address) for at, _, address in web.requests(path) if since < at <= until]
            assert 6 <= len(seen) <= 10, f"{len(seen)} probes of {path} at {name} in 4 s, not 8"
            assert source is None or {address for _, (address, _) in seen} == {source}
            pauses = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(seen)]
            assert min(pauses) > 0.3, f"two streams: {pauses}"
    rig.web["s3"].be("bad")
    for name in "abc":
        rig.checker.wait_for({f"{name}3": "down"}, "shared", name)
        assert rig.checker.states("shared", name)[f"{name}1"] == "up"
        wait_until(lambda of=name: rig.checker.backends(of)[f"{of}3"] == "down", 2, rig.checker.report)
    shown = rig.node.controller.ask("check", "show", "shared/a3", "--pool", "a")
    assert sorted(shown["pools"]) == ["a", "b", "c"]


def test_a_pool_that_loses_all_keeps_them(rig):
    """What fails is the way of probes, so that connections through the pool go on, old and new. When the way is back the
    checks recover, and no more probes come at once than ever."""
    every = list(EACH)
    with rig.conversations() as conversations, rig.checker.monitor() as monitor:
        made = conversations.opened(rig.client, 60, 81)
        for name in every:
            rig.cut_answers(name)
        try:
            panic = monitor.until("pool_panic", seconds=10, pool="web")
            rig.checker.wait_for(dict.fromkeys(every, "down"), "web")
            print(panic)
            # Longer than all that could set them down.
            time.sleep(2)
            rows = rig.checker.rows(check="web")
            assert len(rows) == 3 and all(row["kept"] and row["state"] == "down" for row in rows), rig.checker.report()
            assert set(rig.checker.backends().values()) == {"active"}
            assert "keeps it" in rig.node.controller.ctl("check", "list", output="table").stdout
            # New ones reach all servers.
            more = conversations.opened(rig.client, 60, 81)
            assert {one.server for one in more} == set(every)
        finally:
            for name in every:
                rig.mend_answers(name)
        back = time.time()
        calm = monitor.until("pool_calm", seconds=10, pool="web")
        rig.checker.wait_for(dict.fromkeys(every, "up"), "web")
        print(f"{calm}, {1000 * (time.time() - back):.0f} ms after the way was back")
        assert not [one.broken for one in made + more if one.broken] and not [one.moves for one in made + more if one.moves]
    arrived = sorted(at for web in rig.web.values() for at, *_ in web.requests() if back <= at < back + 2)
    # Three targets, one of each server: no more than each once in half of an interval.
    most = max(sum(at <= other < at + 0.05 for other in arrived) for at in arrived)
    assert most <= 3, f"{most} probes in 50 ms"
    # Slower checks of other pools follow.
    wait_until(lambda: not [row for row in rig.checker.rows() if row.get("kept")], 5, rig.checker.report)


def test_one_that_was_down_before_stays_so(rig):
    """A panic keeps those that fell together, and no other."""
    rig.web["s1"].be("bad")
    wait_until(lambda: rig.checker.backends()["s1"] == "down", 5, rig.checker.report)
    # Longer than the window of a panic.
    time.sleep(6)
    try:
        with rig.checker.monitor() as monitor:
            for name in ("s2", "s3"):
                rig.cut_answers(name)
            monitor.until("pool_panic", seconds=10, pool="web")
            rig.checker.wait_for({"s2": "down", "s3": "down"}, "web")
            time.sleep(1)
            assert rig.checker.backends() == {"s1": "down", "s2": "active", "s3": "active"}, rig.checker.report()
            # One that serves again ends the panic: the last one is no more than the threshold, and goes down.
            rig.mend_answers("s2")
            monitor.until("pool_calm", seconds=10, pool="web")
            wait_until(lambda: rig.checker.backends() == {"s1": "down", "s2": "active", "s3": "down"}, 5, rig.checker.report)
            rig.cut_answers("s2")
    finally:
        for name in ("s2", "s3"):
            rig.mend_answers(name)
        rig.web["s1"].be("well")


def test_a_reload_keeps_what_it_does_not_change(rig):
    rig.web["s1"].be("bad")
    rig.checker.wait_for({"s1": "down"}, "web")
    before = {row["backend"]: row["since"] for row in rig.checker.rows(check="web")}

    def slower(config):
        next(one for one in config["check"] if one["name"] == "shared")["interval"] = 700

    def longer(config):
        next(one for one in config["check"] if one["name"] == "web")["fall"] = 4

    def without(config):
        config.pool("web")["checks"] = []

    def again(config):
        config.pool("web")["checks"] = ["web"]

    for change in (slower, longer):
        rig.reload(change)
        time.sleep(0.5)
        assert {row["backend"]: row["since"] for row in rig.checker.rows(check="web")} == before
        assert rig.checker.backends()["s1"] == "down"
    # A check that is gone holds nobody down.
    rig.reload(without)
    wait_until(lambda: rig.checker.backends()["s1"] == "active", 2, rig.checker.report)
    assert not rig.checker.rows(check="web")
    # Its first result decides.
    rig.reload(again)
    wait_until(lambda: rig.checker.backends()["s1"] == "down", 2, rig.checker.report)


def test_an_operator_wins_over_a_check(rig):
    """What an operator sets stays, whatever the check says."""
    rig.node.daemon.ask("backend", "drain", "web/s3")
    try:
        rig.web["s3"].be("bad")
        rig.checker.wait_for({"s3": "down"}, "web")
        rig.web["s3"].be("well")
        rig.checker.wait_for({"s3": "up"}, "web")
        time.sleep(0.5)
        assert rig.checker.backends()["s3"] == "draining"
    finally:
        rig.node.daemon.ask("backend", "enable", "web/s3")


def test_new_connections_avoid_a_server_that_is_down(rig):
    """The point of it all: within the time of `fall` probes nobody meets a server that fails, over either family."""
    rig.web["s1"].be("bad")
    wait_until(lambda: rig.checker.backends()["s1"] == "down", 5, rig.checker.report)
    met = set()
    for _ in range(60):
        with rig.client.socket(FAMILY[4], KIND["tcp"]) as one:
            one.settimeout(5)
            one.connect((VIP[4], 80))
            one.sendall(b"GET /client HTTP/1.0\r\n\r\n")
            met.add(one.recv(4096).split()[1])
    assert met == {b"200"}
