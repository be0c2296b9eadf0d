"""FRR as the router, and as the speaker of nodes whose BGP is not managed."""

import re
import tempfile
import time
from pathlib import Path

import pytest
from support.fleet import Fleet
from support.hosts import IN_TIME
from support.routing import EXAMPLES, Frr


@pytest.fixture(scope="module", params=("managed", "external"))
def fleet(request, root):
    """Managed BIRDs with FRR as the router; or FRR as the speakers, with BIRD as the router."""
    with tempfile.TemporaryDirectory(prefix="guideway-") as name:
        directory = Path(name)
        # FRR's programs enter it as their own user.
        directory.chmod(0o755)
        if request.param == "managed":
            with Fleet(directory, router="frr") as made:
                made.wait_for(made.nodes, 30)
                yield made
            return
        with Fleet(directory, change=external) as made:
            speakers = [FrrSpeaker(node, directory) for node in made.nodes]
            with speakers[0], speakers[1]:
                made.wait_for(made.nodes, 30)
                yield made


def external(config):
    """FRR 8 redistributes the main table only."""
    config["announce"].update(bgp="external", table=254)
    del config["bgp.peer"]


class FrrSpeaker(Frr):
    """examples/frr.conf, with the addresses of a node."""

    def __init__(self, node, directory):
        text = (EXAMPLES / "frr.conf").read_text()
        assert "router-id 192.0.2.1\n" in text
        path = directory / f"{node.name}-frr.conf"
        path.write_text(re.sub(r"router-id 192\.0\.2\.1\n", f"router-id {node.address[4]}\n", text))
        path.chmod(0o644)
        super().__init__(node.host, path)


def test_both_carry_traffic(fleet):
    with fleet.conversations() as conversations:
        made = fleet.connected(conversations, 40)
        carriers = fleet.carriers(made)
        assert min(carriers.count(node) for node in fleet.nodes) >= 15
        time.sleep(0.5)
        assert not [one.broken for one in made if one.broken]


def test_a_drain(fleet):
    node, other = fleet.nodes
    with fleet.conversations() as conversations:
        made = fleet.connected(conversations, 40)
        node.controller.ask("node", "drain")
        fleet.wait_for([other])
        time.sleep(0.5)
        node.controller.ask("node", "undrain")
        fleet.wait_for(fleet.nodes)
        assert not [one.broken for one in made if one.broken] and not [one.moves for one in made if one.moves]


@IN_TIME
def test_a_forwarder_is_killed(fleet):
    node = fleet.nodes[0]
    fleet.repair()
    with fleet.routes() as log:
        took = fleet.losses(log, node, node.kill())
    print("after SIGKILL the router has no route by it after " + ", ".join(f"{1000 * one:.0f} ms" for one in took.values()))
    # BFD: three packets, 100 ms apart. FRR takes 70 ms more than BIRD.
    assert max(took.values()) < 0.6
    fleet.repair()
