"""What is set at run time outlives the daemon: it is killed between any two of a thousand changes, while reloads go on.

A model in Python keeps what was set. After each start the daemon's listing equals it. Of a change whose answer did not come
before the end, either all or nothing is in force.
"""

import contextlib
import copy
import datetime
import itertools
import json
import random
import threading
import time

import pytest
from support.clients import Connection
from support.daemon import Daemon, live_one_port

CHANGES = 1000
KILLS = 25
STATES = ("active", "enabled", "draining", "disabled", "down")
INTERFACE = "gw0"
POOLS = {"api": range(1, 9), "db": range(5, 11)}
DISABLED = ("api", "b3")  # by the file


def backends(pool):
    made = [{"name": f"b{number}", "address": f"10.9.1.{number}"} for number in POOLS[pool]]
    for one in made:
        one["enabled"] = (pool, one["name"]) != DISABLED
    return made


def configuration(directory):
    def change(config):
        config["pool"] += [{"name": pool, "backends": backends(pool)} for pool in POOLS]
        config["service"] += [
            {"name": pool, "address": "203.0.113.10", "protocol": "tcp", "port": 8000 + number, "pool": pool}
            for number, pool in enumerate(POOLS)
        ]

    return live_one_port(INTERFACE, directory).changed(change)


def seconds(text):
    """The seconds of a time as listings have it."""
    return datetime.datetime.fromisoformat(text).timestamp()


class Model:
    """What each source has set for each backend: its value, its reason, and between which times it ends."""

    def __init__(self):
        self.settings = {(pool, f"b{number}"): {} for pool in POOLS for number in POOLS[pool]}

    def targets(self, change):
        for pool, name in self.settings:
            address = f"10.9.1.{name[1:]}"
            wanted = {"pool": pool, "backend": name, "address": address}
            if all(change[key] == wanted[key] for key in wanted if key in change):
                yield pool, name

    def apply(self, request, begin, end):
        source, lasts = request["source"], request.get("for_seconds")
        until = None if lasts is None else (begin + lasts - 1, end + lasts + 1)
        for change in request["changes"]:
            order = change["set"]
            kind = order.removeprefix("unset_") if isinstance(order, str) else next(iter(order))
            value = None if isinstance(order, str) else order[kind]
            for target in self.targets(change):
                # By it an operator takes back what was set; without an end it is nothing that has to be kept.
                takes_back = (source, value, until) == ("operator", "enabled", None) and target != DISABLED
                if value is None or takes_back:
                    self.settings[target].pop((source, kind), None)
                else:
                    self.settings[target][source, kind] = (value, request.get("reason"), until)

    def state(self, target):
        """The state that holds, and whose it is."""
        state, source = ("disabled" if target == DISABLED else "active"), "file"
        for layer in ("controller", "operator"):
            value = self.settings[target].get((layer, "state"), (None,))[0]
            if value == "enabled":
                value = None if source == "controller" else "active"
            if value:
                state, source = value, layer
        return state, source

    def weight(self, target):
        by = self.settings[target]
        return by.get(("operator", "weight"), by.get(("controller", "weight"), (1,)))[0]

    def differences(self, rows):
        """Where a listing differs, in words."""
        for target, settings in self.settings.items():
            row = rows[target]
            found = {}
            for one in row.get("settings", []):
                kind = "state" if "state" in one else "weight"
                found[one["source"], kind] = (one[kind], one.get("reason"), one.get("until"))
            for key in settings.keys() | found.keys():
                wanted, got = settings.get(key), found.get(key)
                if not wanted or not got or wanted[:2] != got[:2] or not is_between(got[2], wanted[2]):
                    yield f"{target} {key}: {got} in place of {wanted}"
            holds = (row["state"], row["source"]), row["weight"]
            if holds != (self.state(target), self.weight(target)):
                yield f"{target}: {holds} in place of {self.state(target)}, {self.weight(target)}"


def is_between(time, limits):
    if time is None or limits is None:
        return time is None and limits is None
    return limits[0] <= seconds(time) <= limits[1]


def random_request(chance):
    source = chance.choice(("operator", "controller"))

    def change():
        pool = chance.choice(list(POOLS))
        name = f"b{chance.choice(POOLS[pool])}"
        target = chance.choices(
            ({"pool": pool, "backend": name}, {"pool": pool}, {"address": f"10.9.1.{name[1:]}"}), (8, 1, 2)
        )[0]
        # `enabled` is the operator's word for: what the controller says.
        states = [state for state in STATES if source == "operator" or state != "enabled"]
        order = chance.choices(
            ({"state": chance.choice(states)}, {"weight": chance.randrange(10)}, "unset_state", "unset_weight"), (6, 3, 1, 1)
        )[0]
        return {**target, "set": order}

    request = {
        "request": "backend_set",
        "changes": [change() for _ in range(chance.choice((1, 1, 1, 3)))],
        "source": source,
    }
    if chance.random() < 0.5:
        request["reason"] = chance.choice(("ticket 4711", 'a "rack" fails', "Wartung äöü", "x" * 255))
    # What is unset has no end.
    if chance.random() < 0.3 and all(isinstance(one["set"], dict) for one in request["changes"]):
        request["for_seconds"] = chance.choice((3600, 86_400, 31_536_000))
    return request


class Storm:
    """Reloads one after the other, of files that differ in a pool of their own."""

    def __init__(self, daemon):
        self.reloads = 0
        self._daemon = daemon
        self._ending = False
        self._thread = threading.Thread(target=self._reload, daemon=True)

    def _reload(self):
        def change(config, some):
            config["pool"].append({"name": "storm", "backends": [{"name": f"b{n}", "address": f"10.9.2.{n}"} for n in some]})

        texts = [self._daemon.config.changed(lambda config, some=some: change(config, some)).text() for some in ((1, 2), (2, 3))]
        for text in itertools.cycle(texts):
            if self._ending:
                return
            new = self._daemon.directory / "storm.toml"
            new.write_text(text)
            new.replace(self._daemon.path)
            # While nobody listens, and when the daemon ends.
            with contextlib.suppress(OSError, ValueError, AssertionError), Connection(self._daemon.socket) as client:
                client.ask("config_reload")
                self.reloads += 1
            time.sleep(0.01)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        self._thread.join()


@pytest.fixture(scope="module")
def cable(namespace):
    return namespace.cable(INTERFACE)


@pytest.fixture
def daemon(namespace, cable, directory):
    with Daemon(namespace, configuration(directory), directory) as made:
        yield made


def listing(client):
    return {(row["pool"], row["name"]): row for row in client.ask("backend_list")}


def settings_of(rows, model):
    keys = ("settings", "state", "source", "reason", "weight")
    return {target: [rows[target].get(key) for key in keys] for target in model.settings}


def test_a_kill_loses_nothing_that_was_answered(daemon):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance, model = random.Random(seed), Model()
    points = sorted(chance.sample(range(1, CHANGES), KILLS))
    unanswered = made = 0
    rows = {}
    with Storm(daemon) as storm:
        for point in [*points, CHANGES]:
            with Connection(daemon.socket) as client:
                rows = rows or listing(client)
                while made < point - 1:
                    request = random_request(chance)
                    begin = time.time()
                    body = client.ask(**request)
                    model.apply(request, begin, time.time())
                    rows |= {(row["pool"], row["name"]): row for row in body["backends"]}
                    made += 1
                assert not list(model.differences(listing(client)))
                last, known = random_request(chance), copy.deepcopy(model)
                begin = time.time()
                client.send(**last)
                time.sleep(chance.uniform(0, 0.008))
                daemon.process.kill()
                body = client.answer()
                daemon.process.wait()
                model.apply(last, begin, time.time())
                made += 1
            if body:
                rows |= {(row["pool"], row["name"]): row for row in body["backends"]}
            daemon.__enter__()
            with Connection(daemon.socket) as client:
                found = listing(client)
            if not body:
                unanswered += 1
                if list(model.differences(found)):
                    model = known
                else:
                    rows = found
            assert not list(model.differences(found)), daemon.log()
            # To the millisecond and in every word.
            assert settings_of(found, model) == settings_of(rows, model)
        print(f"{made} changes, {len(points) + 1} kills, {unanswered} during a change, {storm.reloads} reloads")
        assert storm.reloads > KILLS
    assert "settings_unreadable" not in daemon.log()


def test_settings_end_by_the_wall_clock_while_the_daemon_is_down_too(daemon):
    def order(name, lasts):
        return {"changes": [{"pool": "api", "backend": name, "set": {"state": "draining"}}], "for_seconds": lasts}

    def states():
        rows = listing(client)
        return [rows["api", name]["state"] for name in ("b1", "b2", "b4")]

    with Connection(daemon.socket) as client:
        begin = time.time()
        for name, lasts in (("b1", 1), ("b2", 3), ("b4", 3600)):
            client.ask("backend_set", **order(name, lasts))
        assert states() == ["draining"] * 3
        while states()[0] == "draining":
            assert time.time() < begin + 3
            time.sleep(0.02)
        assert 0.95 < time.time() - begin < 2
        assert states() == ["active", "draining", "draining"]
        daemon.process.kill()
        daemon.process.wait()
    time.sleep(max(0, begin + 3.1 - time.time()))
    daemon.__enter__()
    with Connection(daemon.socket) as client:
        assert states() == ["active", "active", "draining"]
        assert listing(client)["api", "b2"].get("settings", []) == []


@pytest.mark.parametrize("damage", ("cut", "nonsense", "empty", "unknown backends"))
def test_a_damaged_state_file_is_no_reason_not_to_start(daemon, damage):
    with Connection(daemon.socket) as client:
        client.ask("backend_set", changes=[{"pool": "api", "set": {"state": "draining"}}])
        client.ask("backend_set", changes=[{"pool": "db", "set": {"weight": 7}}])
    assert daemon.stop()[0] == 0
    path = daemon.directory / "state" / "backends.json"
    text = path.read_text()
    path.write_text({
        "cut": text[: len(text) // 2],
        "nonsense": "{]",
        "empty": "",
        "unknown backends": text.replace('"api"', '"gone"'),
    }[damage])
    daemon.__enter__()
    with Connection(daemon.socket) as client:
        rows, kinds = listing(client), [event["event"] for event in client.events()]
        client.ask("backend_set", changes=[{"pool": "api", "backend": "b1", "set": {"weight": 5}}])
    assert rows["api", "b1"]["state"] == "active"
    if damage == "unknown backends":
        assert "settings_ignored" in kinds and rows["db", "b5"]["weight"] == 7
    else:
        assert "settings_unreadable" in kinds and rows["db", "b5"]["weight"] == 1
    assert daemon.stop()[0] == 0
    assert json.loads(path.read_text())
    daemon.__enter__()
    with Connection(daemon.socket) as client:
        assert listing(client)["api", "b1"]["weight"] == 5


def test_a_backend_that_is_removed_and_added_again_inherits_nothing(daemon):
    def without(config):
        pool = config.pool("api")
        pool["backends"] = [backend for backend in pool["backends"] if backend["name"] != "b1"]

    with Connection(daemon.socket) as client:
        client.ask("backend_set", changes=[{"pool": "api", "set": {"state": "draining"}}], reason="old")
        client.ask("config_apply", text=daemon.config.changed(without).text())
        client.ask("config_apply", text=daemon.config.text())
        rows = listing(client)
        assert (rows["api", "b1"]["state"], rows["api", "b1"].get("reason")) == ("active", None)
        assert (rows["api", "b2"]["state"], rows["api", "b2"]["reason"]) == ("draining", "old")
