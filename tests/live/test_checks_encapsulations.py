"""Checks through every encapsulation, over IPv4 and IPv6, of virtual addresses of both families. The agent takes the tunnels
off; `node, checks` of ci/vm.sh does the same with the kernel's own."""

import re
import select
import signal
import tempfile
from pathlib import Path

import pytest
from support import agent, encapsulations
from support.checks import Rig, check, pool, service
from support.packets import VIP

# Without a tunnel there is nothing to check through.
TUNNELS = [name for name in encapsulations.of_forwarder() if name != "l2"]
# Settings that some of them need.
KEYS = {"vxlan": {"vni": 5000}, "geneve": {"vni": 5000}, "mpls-udp": {"label": 1000}, "mpls-gre": {"label": 1000}}
# An inner handshake over every tunnel, also on a machine with other work.
TIMES = {"interval": 400, "timeout": 350, "spread": 50}
CHECKS = (check("four", "http", **TIMES), check("six", "http", address=VIP[6], **TIMES))
BACKENDS = {"s1": "192.0.2.11", "s2": "2001:db8::12"}


def tunnelled(name):
    """A pool whose servers are reached by this encapsulation, one over IPv4 and one over IPv6."""
    return pool(backends=BACKENDS, checks=["four", "six"], encapsulation=name, panic_threshold=100, **KEYS.get(name, {}))


@pytest.fixture(scope="module")
def rig(root):
    services = [service("web", 80)]
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Rig(Path(name), CHECKS, [tunnelled("gre")], services, 2) as rig:
        yield rig


def received(server):
    """By encapsulation, how many packets the server's agent has received."""
    process = server.agent
    process.send_signal(signal.SIGUSR1)
    assert select.select([process.stdout], [], [], 10)[0], "the agent prints nothing"
    found = {key: int(value) for key, value in re.findall(r"(\S+)=(\d+)", process.stdout.readline())}
    assert not any(value for key, value in found.items() if key.startswith("dropped_")), found
    return {key: value for key, value in found.items() if key.startswith("by_")}


WELL = {(way, server): "up" for way in ("four", "six") for server in BACKENDS}


@pytest.mark.parametrize("name", TUNNELS)
def test_probes_go_through(rig, name):
    def use(config):
        config["pool"] = [tunnelled(name)]

    rig.reload(use)
    # A probe that has begun before is not of this encapsulation.
    rig.checker.wait_for_fresh_results()
    rig.checker.wait_for(WELL)
    before = {key: received(server) for key, server in rig.servers.items()}
    rig.checker.wait_for_fresh_results()
    rows = rig.checker.rows()
    assert {(row["check"], row["backend"]) for row in rows} == WELL.keys()
    for row in rows:
        assert (row["state"], row["result"]["code"], row["via"]) == ("up", "L7OK", "tunnel"), row
    for key, server in rig.servers.items():
        grown = {by for by, count in received(server).items() if count > before[key][by]}
        assert grown == {agent.counter(name)}, (key, grown)


def test_a_backend_of_its_own_encapsulation(rig):
    """Each backend may have another; its probes have it too."""
    mixed = dict(zip(BACKENDS, ("gue", "vxlan"), strict=True))

    def use(config):
        config["pool"] = [tunnelled("gre")]
        for name, one in config.backends().items():
            one.update(encapsulation=mixed[name], **KEYS.get(mixed[name], {}))

    rig.reload(use)
    rig.checker.wait_for_fresh_results()
    before = {key: received(server) for key, server in rig.servers.items()}
    rig.checker.wait_for_fresh_results()
    rig.checker.wait_for(WELL, seconds=1)
    for key, server in rig.servers.items():
        assert {by for by, count in received(server).items() if count > before[key][by]} == {agent.counter(mixed[key])}


def test_without_a_tunnel_only_the_direct_way_is_offered(rig):
    """`l2` has no tunnel: probes go directly by themselves, and `tunnel` is a mistake."""

    def use(config):
        config["pool"] = [{**tunnelled("l2"), "backends": [{"name": "s1", "address": BACKENDS["s1"]}]}]
        config["check"] = [check("four", "http"), check("six", "http", port=80)]

    rig.reload(use)
    rig.checker.wait_for_fresh_results()
    assert {(row["via"], row["target"], row["state"]) for row in rig.checker.rows()} == {("direct", "192.0.2.11:80", "up")}

    def insist(config):
        config["check"][0]["via"] = "tunnel"

    config = rig.node.daemon.config.changed(insist)
    path = config.write(rig.node.daemon.directory / "mistake.toml")
    done = rig.node.daemon.ctl("config", "apply", path)
    assert done.returncode != 0 and "via" in done.stdout + done.stderr, done
