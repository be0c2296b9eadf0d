"""A storm of reloads: pools, backends and checks come, go and change at random while servers fail and recover.

GUIDEWAY_EDITS (80) is how many edits there are. The rules of a single reload are tested against a model in
controller/src/check/state/; here everything has to fit together again and again: rows, states, settings and pins.
"""

import os
import random
import tempfile
from pathlib import Path

import pytest
from support import servers
from support.checks import Rig, check, pool, service
from support.events import Connection
from support.hosts import wait_until

EDITS = int(os.environ.get("GUIDEWAY_EDITS", "80"))
# After so many edits nothing changes until everything fits.
STORM = 10
SEED = int(os.environ.get("GUIDEWAY_SEED", "16"))
EACH = {name: servers.addresses(n)[4] for n, name in enumerate(("s1", "s2", "s3"), 1)}
# Ports of a check's probes of one backend.
PORTS_EACH = 2


class Model:
    """What is configured, and which servers are well."""

    def __init__(self, chance):
        self.chance = chance
        self.well = dict.fromkeys(EACH, True)
        self.checks = {f"c{n}": self.a_check() for n in range(4)}
        # By pool: its backends' servers by name, and its checks.
        self.pools = {f"p{n}": self.a_pool() for n in range(3)}

    def a_check(self):
        chance = self.chance
        made = {"via": chance.choice(("tunnel", "direct")), "fall": chance.randint(1, 3), "rise": chance.randint(1, 2)}
        return {**made, "interval": chance.choice((100, 150, 200)), "timeout": 90, "spread": chance.choice((0, 100))}

    def a_pool(self):
        some = self.chance.sample(sorted(EACH), self.chance.randint(1, 3))
        names = {f"{server}-{self.chance.randrange(100)}": server for server in some}
        return names, set(self.chance.sample(sorted(self.checks), self.chance.randint(0, 3)))

    def edit(self):
        """Changes one thing. Returns what, or the server whose health is to change."""
        chance = self.chance
        name = chance.choice(sorted(self.pools))
        _, checks = self.pools[name]
        what = chance.choice(("pool", "backend", "check", "names a check", "health", "health"))
        if what == "pool":
            if len(self.pools) > 1 and chance.random() < 0.5:
                del self.pools[name]
            else:
                self.pools[f"p{chance.randrange(100)}"] = self.a_pool()
        elif what == "backend":
            some, _ = self.a_pool()
            self.pools[name] = (some, checks)
        elif what == "check":
            self.checks[chance.choice(sorted(self.checks))] = self.a_check()
        elif what == "names a check":
            checks ^= {chance.choice(sorted(self.checks))}
        else:
            server = chance.choice(sorted(EACH))
            self.well[server] = not self.well[server]
            return server
        return None

    def configure(self, config):
        """Writes it into a configuration."""
        config["check"] = [check(name, "http", path=f"/{name}", port=80, **keys) for name, keys in self.checks.items()]
        config["pool"] = [
            pool(name, {backend: EACH[server] for backend, server in backends.items()}, sorted(checks), panic_threshold=100)
            for name, (backends, checks) in self.pools.items()
        ]
        config["service"] = [service(name, 1000 + int(name[1:]), name) for name in self.pools]

    def rows(self):
        """The state of each check of each backend of each pool."""
        return {
            (check, name, backend): "up" if self.well[server] else "down"
            for name, (backends, checks) in self.pools.items()
            for check in checks
            for backend, server in backends.items()
        }

    def backends(self):
        """The forwarder's state of each backend."""
        return {
            (name, backend): "down" if checks and not self.well[server] else "active"
            for name, (backends, checks) in self.pools.items()
            for backend, server in backends.items()
        }

    def pins(self):
        """How many source ports are pinned: pools share the probes of a server by one check to one address."""
        shared = {
            (check, server)
            for backends, checks in self.pools.values()
            for check in checks
            if self.checks[check]["via"] == "tunnel"
            for server in backends.values()
        }
        return PORTS_EACH * len(shared)


@pytest.fixture(scope="module")
def rig(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Rig(Path(name), [], [pool()], [service("web", 80)]) as rig:
        yield rig


def test_a_storm_of_reloads(rig):
    model = Model(random.Random(SEED))
    worst = 0
    with Connection(rig.node.daemon.socket) as control:

        def seen():
            rows = {(row["check"], row["pool"], row["backend"]): row["state"] for row in rig.checker.rows()}
            backends = {(one["pool"], one["name"]): one["state"] for one in rig.node.daemon.ask("backend", "list")}
            return rows, backends, len(control.ask("pin_list")["body"])

        def wanted():
            return model.rows(), model.backends(), model.pins()

        for number in range(1, EDITS + 1):
            server = model.edit()
            if server:
                rig.web[server].be("well" if model.well[server] else "bad")
            else:
                rig.reload(model.configure)
            if number % STORM == 0:
                _, took = wait_until(
                    lambda: seen() == wanted(),
                    10,
                    lambda at=number: f"seed {SEED}, edit {at}: {seen()}\n{wanted()}\n{rig.checker.report()}",
                )
                worst = max(worst, took)
    print(f"{EDITS} edits: everything fits at most {worst:.2f} s after a storm of {STORM}")
    for web in rig.web.values():
        web.be("well")
    # Without checks nothing is left of them.
    rig.reload(lambda config: [one.update(checks=[]) for one in config["pool"]])
    wait_until(lambda: {one["state"] for one in rig.node.daemon.ask("backend", "list")} == {"active"}, 5, rig.checker.report)
    wait_until(lambda: not rig.checker.rows(), 5, rig.checker.report)
    with Connection(rig.node.daemon.socket) as control:
        wait_until(lambda: not control.ask("pin_list")["body"], 5, rig.checker.report)
    assert all(one.get("settings", []) == [] for one in rig.node.daemon.ask("backend", "list"))
