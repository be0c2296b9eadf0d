"""A session whose way does not lead through the forwarder: by a network card of the kernel's, without BFD, with both families
in one, and next hops that are the port's addresses. So the node itself has to withdraw what the forwarder does not carry."""

import signal
import tempfile
import time
from pathlib import Path

import pytest
from support.failures import FAILURES
from support.fleet import Fleet, describe
from support.hosts import IN_TIME
from support.nodes import peer
from support.packets import VIP
from support.routers import PASSWORD

NODE, ROUTER = "10.99.0.1", "10.99.0.254"
KILLED, OTHERS = 0.1, 1.0
SESSION = f"""protocol bgp aside from node {{
    neighbor {NODE} as 65001;
    bfd off;
    ipv4 {{ import filter vips4; export none; }};
    ipv6 {{ import filter vips6; export none; }};
}}
"""


@pytest.fixture(scope="module")
def whole(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name:
        directory = Path(name)

        def aside(config):
            session = peer(4, NODE, Path(config["control"]["socket"]).parent)
            session.update(name="aside", address=ROUTER, bfd=False, families=["ipv4", "ipv6"])
            session["next_hops"] = ["192.0.2.1", "2001:db8::1"]
            config["bgp.peer"] = [session]

        with Fleet(directory, nodes=1, change=aside) as made:
            made.router.change(r"(?s)protocol bgp lb1v4 .*", SESSION)
            made.fabric.bridge("aside")
            for host, interface, address in ((made.nodes[0].host, "aside0", NODE), (made.router.namespace, "eth2", ROUTER)):
                made.fabric.plug(host, interface, "aside", f"02:00:00:00:99:{address.rpartition('.')[2][-2:]}")
                host.ip("address", "add", f"{address}/24", "dev", interface)
                host.ip("link", "set", interface, "up")
            made.wait_for(made.nodes)
            yield made


@pytest.fixture
def fleet(whole):
    """Nothing of it is broken."""
    whole.repair()
    return whole


def test_next_hops_are_the_port_s_and_traffic_takes_them(fleet):
    [node] = fleet.nodes
    with fleet.conversations() as conversations:
        assert {one.server for one in fleet.connected(conversations, 20)} <= set(fleet.servers)
    shown = node.controller.ask("bgp", "show", "aside")
    sent = {route["address"]: route["next_hop"] for route in shown["sent"]}
    assert sent == {VIP[version]: node.address[version] for version in (4, 6)}
    assert PASSWORD not in str(shown)


@IN_TIME
def test_a_forwarder_is_killed(fleet):
    """The kernel takes its interface away, and BIRD tells the router."""
    [node] = fleet.nodes
    with fleet.routes() as log:
        took = fleet.losses(log, node, node.kill())
    print(f"after SIGKILL the router has no route by it: {describe(took)}")
    assert max(took.values()) < KILLED


# A process that is stopped does nothing, so without a controller only BFD could see it.
CASES = [(failure, with_controller) for failure in FAILURES for with_controller in (True, False)]
CASES.remove(("stopped", False))


@IN_TIME
@pytest.mark.parametrize(("failure", "with_controller"), CASES)
def test_a_forwarder_fails(fleet, failure, with_controller):
    [node] = fleet.nodes
    if not with_controller:
        node.controller.stop(signal.SIGKILL)
    with fleet.routes() as log:
        at = time.time()
        with FAILURES[failure](node):
            took = fleet.losses(log, node, at)
    print(f"{failure}, with{'' if with_controller else 'out'} a controller: {describe(took)}")
    assert max(took.values()) < OTHERS
