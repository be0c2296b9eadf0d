"""States of backends under connections that are in use: what stays, what moves, what breaks, and when.

Each test is with one worker, and with two to which the device's queues carry the flows.
"""

import time

import pytest
from support import states
from support.hosts import wait_for_states
from support.states import SERVERS, at, disturbed, service, state

CONNECTIONS = 500
SOME = 40
DRAIN = 3  # seconds
KEEP = 4  # seconds
# The whole flow table is swept in this time.
SWEEP = 10
TIMEOUTS = {"established": 5, "closing": 1, "udp": 2, "unconfirmed": 2}

OVER = ("move", "reset", "keep")
DOWN = {"tcp": 8011, "udp": 8012}
PORTS = {(protocol, then): port for port, (protocol, then) in enumerate(((p, t) for p in ("tcp", "udp") for t in OVER), 8001)}


def services():
    made = [service("web", "tcp", 80), service("dns", "udp", 53)]
    for (protocol, then), port in PORTS.items():
        made.append(service(f"{protocol}-{then}", protocol, port, drain_timeout=DRAIN, drain_then=then))
    for protocol, port in DOWN.items():
        made.append(service(f"{protocol}-down", protocol, port, on_down="keep", keep_for=KEEP))
    return made


@pytest.fixture(scope="module", params=(1, 2))
def shared(root, request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("states")
    config = states.configuration(directory, [states.pool()], services(), request.param, TIMEOUTS)
    with states.rig(directory, config) as rig:
        yield rig
        if request.param > 1:
            assert all(worker["flows"] for worker in rig.daemon.ask("worker", "list")), "a worker without flows"


@pytest.fixture
def rig(shared):
    yield shared
    # A FIN would be repeated by clients that nobody answers.
    shared.conversations.close([one for one in shared.conversations.all if not one.is_closed], abort=True)
    for source in ("operator", "controller"):
        shared.set(None, "unset_state", source=source)
        shared.set(None, "unset_weight", source=source)


def elsewhere(rig, server, protocol="tcp", port=80, count=SOME):
    """New conversations, of which none enters a server. They end here."""
    new = rig.open(count, port, protocol)
    assert not at(new, server) and len({one.server for one in new}) == len(rig.servers) - 1
    rig.conversations.close(new)


def test_a_drain_breaks_nothing(rig):
    connections = rig.open(CONNECTIONS, 80)
    there = at(connections, "s1")
    others = at(connections, "s2", "s3")
    assert len(there) > CONNECTIONS / 5
    accepted = rig.servers["s1"].accepted
    with rig.monitor() as monitor:
        [row] = rig.set("s1", state("draining"), reason="a new kernel")
        assert (row["state"], row["source"], row["reason"]) == ("draining", "operator", "a new kernel")
        event = monitor.until("backend_state", backend="s1")
        assert (event["from"], event["to"], event["reason"]) == ("active", "draining", "a new kernel")
        elsewhere(rig, "s1")

        # Clients use their ports again, right after a RST and later after a FIN.
        reset, closed = there[:10], there[10:20]
        for some, abort, pause in ((reset, True, 0), (closed, False, 1.2)):
            ports = {version: [one.local[1] for one in some if one.version == version] for version in (4, 6)}
            rig.conversations.close(some, abort)
            time.sleep(pause)
            for version, local in ports.items():
                new = rig.conversations.opened(rig.client, len(local), 80, version=version, local_ports=local)
                assert not at(new, "s1")
        there = there[20:]

        # All but the last end.
        *most, last = there
        rig.conversations.close(most[::2])
        rig.conversations.close(most[1::2], abort=True)
        rig.conversations.until(lambda: rig.live("s1") == 1, TIMEOUTS["closing"] + SWEEP, "one flow left")
        assert not disturbed([last, *others])
        rig.set("s3", {"weight": 2})
        monitor.until("backend_weight", backend="s3")
        assert "backend_drained" not in [event["event"] for event in monitor.events]
        assert rig.servers["s1"].accepted == accepted, "a connection entered the draining server"
        rig.conversations.close([last])
        begin = time.monotonic()
        event = monitor.until("backend_drained", TIMEOUTS["closing"] + SWEEP + 1, backend="s1")
        assert time.monotonic() - begin > TIMEOUTS["closing"] - 0.1
    assert event["pool"] == "web" and rig.live("s1") == 0
    assert not disturbed(others)


def test_a_drain_can_be_cancelled(rig):
    """By `guidewayctl`, as an operator does it."""

    def order(*words):
        done = rig.daemon.ask("backend", *words)["backends"]
        return [row["state"] for row in done]

    connections = rig.open(CONNECTIONS, 80)
    with rig.monitor() as monitor:
        assert order("drain", "--address", SERVERS["s1"], "--reason", "a trial", "--for", "10m") == ["draining"]
        elsewhere(rig, "s1")
        assert order("enable", "web/s1") == ["active"]
        new = rig.open(90, 80)
        assert len({one.server for one in new}) == 3
        assert len(at(new, "s1")) > 10
        monitor.until("backend_state", backend="s1", to="active")
        # Ended flows of a cancelled drain are no drain.
        rig.conversations.close(at(connections + new, "s1"))
        rig.conversations.until(lambda: rig.live("s1") == 0, TIMEOUTS["closing"] + SWEEP, "no flow left")
        time.sleep(0.5)
        assert order("weight", "web/s2", "2") == ["active"]
        monitor.until("backend_weight", backend="s2")
        assert not [event for event in monitor.events if event["event"] == "backend_drained"]
    assert not disturbed(at(connections + new, "s2", "s3"))


def test_a_drain_that_times_out(rig):
    """By `drain_then`: TCP and UDP move, are reset, or stay."""
    flows = {key: rig.open(SOME, port, key[0]) for key, port in PORTS.items()}
    bystanders = rig.open(CONNECTIONS, 80) + rig.open(SOME, 53, "udp")
    there = {key: at(some, "s1") for key, some in flows.items()}
    assert all(len(some) >= 3 for some in there.values())
    refused = {name: resets(rig, name) for name in rig.servers}
    replied = rig.daemon.ask("stats")["verdicts"]["reset_replied"]
    with rig.monitor() as monitor:
        begin = time.monotonic()
        rig.set("s1", state("draining"))
        time.sleep(DRAIN - 0.5)
        everything = [one for some in flows.values() for one in some] + bystanders
        assert not disturbed(everything), "before its time"
        ended = [there["tcp", "move"], there["tcp", "reset"], there["udp", "reset"]]
        rig.conversations.until(lambda: all(one.broken for some in ended for one in some), 5, "connections to end")
        rig.conversations.until(lambda: all(one.moves for one in there["udp", "move"]), 5, "datagrams to move")
        times = [one.broken[0] for some in ended for one in some] + [one.moves[0][0] for one in there["udp", "move"]]
        assert all(DRAIN - 0.05 < at - begin < DRAIN + 1.5 for at in times), (min(times) - begin, max(times) - begin)
        then = {monitor.until("drain_timeout", backend="s1", then=then)["then"] for then in ("move", "reset")}
        assert then == {"move", "reset"}
    # The new server knows no connection, and resets it. The node's own RST and ICMP reach no server.
    after = {name: resets(rig, name) - refused[name] for name in rig.servers}
    assert after["s1"] == 0 and after["s2"] + after["s3"] >= len(there["tcp", "move"]), after
    assert rig.daemon.ask("stats")["verdicts"]["reset_replied"] - replied >= len(there["tcp", "reset"])
    assert {one.broken[1] for key in (("tcp", "move"), ("tcp", "reset")) for one in there[key]} == {"ECONNRESET"}
    assert {one.broken[1] for one in there["udp", "reset"]} == {"ECONNREFUSED"}
    moved = there["udp", "move"]
    assert not rig.conversations.lost(flows["udp", "move"])
    assert all(len(one.moves) == 1 and one.broken is None for one in moved)
    # Whatever stays: the flows of other servers, and those that are kept.
    stay = [one for (protocol, then), some in flows.items() for one in some if then == "keep" or one not in there[protocol, then]]
    assert len(stay) > len(PORTS) * SOME / 2 and not disturbed(stay + bystanders)
    assert all(at(there[protocol, "keep"], "s1") == there[protocol, "keep"] for protocol in ("tcp", "udp"))
    for protocol, then in (("tcp", "reset"), ("udp", "reset"), ("tcp", "keep")):
        elsewhere(rig, "s1", protocol, PORTS[protocol, then])


def resets(rig, server):
    """The RSTs that a server has sent."""
    return rig.hosts[server].counters()["TcpOutRsts"]


@pytest.mark.parametrize("way", ("disabled", "drained before"))
def test_disable_moves_at_once(rig, way):
    connections, datagrams = rig.open(CONNECTIONS, 80), rig.open(CONNECTIONS // 5, 53, "udp")
    if way == "drained before":
        rig.set("s2", state("draining"))
        time.sleep(0.5)
        assert not disturbed(connections + datagrams)
    ended, moved = at(connections, "s2"), at(datagrams, "s2")
    others = at(connections, "s1", "s3") + at(datagrams, "s1", "s3")
    begin = time.monotonic()
    rig.set("s2", state("disabled"))
    took = time.monotonic() - begin
    rig.conversations.until(lambda: all(one.moves for one in moved), 1, "datagrams to move")
    rig.conversations.until(lambda: all(one.broken for one in ended), 3, "connections to end")
    assert all(at - begin < took + 0.5 for at in [one.moves[0][0] for one in moved]), "they moved late"
    assert not rig.conversations.lost(datagrams)
    assert all(len(one.moves) == 1 for one in moved) and not disturbed(others)
    elsewhere(rig, "s2")
    # The entries of flows that nobody uses any more go too.
    rig.conversations.until(lambda: rig.live("s2") == 0, SWEEP, "no flow left")
    rig.set("s2", state("enabled"))
    assert at(rig.open(SOME, 80), "s2")
    assert not disturbed(others)


def test_a_backend_is_down(rig):
    """Connections stay and datagrams move by default. With `keep_for` both stay for a while, and find their backend again
    if it comes back before."""
    connections, datagrams = rig.open(CONNECTIONS, 80), rig.open(SOME, 53, "udp")
    kept = {protocol: rig.open(SOME, port, protocol) for protocol, port in DOWN.items()}
    there = {protocol: at(some, "s1") for protocol, some in kept.items()}
    moved, both = at(datagrams, "s1"), kept["tcp"] + kept["udp"]

    def order(name):
        rig.set("s1", state(name), source="controller", reason="HTTP 503")

    for _ in range(2):
        begin = time.monotonic()
        order("down")
        elsewhere(rig, "s1")
        time.sleep(max(0, begin + 1.2 - time.monotonic()))
        order("active")
    assert not disturbed(connections + both)
    assert all(len(one.moves) == 1 for one in moved) and not rig.conversations.lost(datagrams)
    begin = time.monotonic()
    order("down")
    rig.conversations.until(lambda: all(one.broken for one in there["tcp"]), KEEP + 3, "connections to end")
    rig.conversations.until(lambda: all(one.moves for one in there["udp"]), KEEP + 3, "datagrams to move")
    times = [one.broken[0] for one in there["tcp"]] + [one.moves[0][0] for one in there["udp"]]
    assert all(KEEP - 0.05 < at - begin < KEEP + 1.5 for at in times), (min(times) - begin, max(times) - begin)
    assert not rig.conversations.lost(kept["udp"])
    assert not disturbed(connections + [one for one in both if one not in there["tcp"] + there["udp"]])


def test_weights_change_at_once(rig):
    connections = rig.open(CONNECTIONS, 80)
    rig.set("s1", {"weight": 0})
    elsewhere(rig, "s1")
    rig.set("s1", {"weight": 8})
    new = rig.open(200, 80)
    # 160 of them, and chance.
    assert len(at(new, "s1")) > 120
    text = rig.daemon.config.changed(lambda config: config.backends()["s2"].update(weight=0)).text()
    rig.control.ask("config_apply", text=text)
    elsewhere(rig, "s2", count=100)
    rig.control.ask("config_apply", text=rig.daemon.config.text())
    assert not disturbed(connections + new)


def test_a_backend_that_is_removed_and_added_again_inherits_nothing(rig):
    connections, datagrams = rig.open(CONNECTIONS // 5, 80), rig.open(SOME, 53, "udp")
    moved, ended = at(datagrams, "s1"), at(connections, "s1")
    rig.set("s1", {"weight": 2}, reason="old")

    def without(config):
        pool = config.pool()
        pool["backends"] = [backend for backend in pool["backends"] if backend["name"] != "s1"]

    rig.control.ask("config_apply", text=rig.daemon.config.changed(without).text())
    rig.conversations.until(lambda: all(one.moves for one in moved), 2, "datagrams to move")
    rig.conversations.until(lambda: all(one.broken for one in ended), 3, "connections to end")
    rig.control.ask("config_apply", text=rig.daemon.config.text())
    # Its next hop is found again too.
    wait_for_states(rig.daemon, "active")
    row = rig.listed("s1")
    assert (row["weight"], row.get("settings")) == (1, None)
    time.sleep(0.5)
    assert rig.listed("s1")["traffic"] == {"packets": 0, "bytes": 0, "flows": 0, "live": 0}
    assert all(len(one.moves) == 1 for one in moved) and not rig.conversations.lost(datagrams)
    assert not disturbed(at(connections, "s2", "s3"))
    assert at(rig.open(SOME, 80), "s1")


def test_established_flows_stay_when_no_other_backend_is_left(rig):
    connections = rig.open(CONNECTIONS // 5, 80) + rig.open(SOME, 53, "udp")
    rig.set(None, state("draining"))
    late = [rig.conversations.open(rig.client, 1, 80)[0], rig.conversations.open(rig.client, 1, 53, "udp")[0]]
    time.sleep(0.5)
    assert not disturbed(connections) and not any(one.answered for one in late)
    rig.set("s3", state("enabled"))
    # A repeated SYN, and the next datagram.
    rig.conversations.until(lambda: all(one.server == "s3" for one in late), 5, "the late ones")
    assert not disturbed(connections)
