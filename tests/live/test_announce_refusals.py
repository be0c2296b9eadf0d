"""What does not fit: sessions that must not be, addresses that must not go out, and how `bgp list` and `vip list` say so."""

import tempfile
import time
from pathlib import Path

import pytest
from support.fleet import SLOW, Fleet
from support.hosts import wait_until
from support.packets import VIP

NEIGHBOR = r"neighbor 192\.0\.2\.1 as 65001;"
# By case: the router's side of the session, and what the node says about it, among other words.
MISFITS = {
    "password": ('neighbor 192.0.2.1 as 65001; password "other";', "password"),
    "as": ("neighbor 192.0.2.1 as 65009;", "received: bad peer as"),
    # Without GTSM a router that is `multihop 254` sends with that TTL.
    "ttl": ("neighbor 192.0.2.1 as 65001; multihop 254; ttl security off; bfd off;", "ttl 255"),
}


@pytest.fixture(scope="module")
def fleet(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Fleet(Path(name), nodes=1, bfd=SLOW) as made:
        made.wait_for(made.nodes)
        yield made


def told_first(session, words):
    """Whether the node blames this before anything else."""
    return words in session.get("error", "").lower().partition(";")[0]


@pytest.mark.parametrize("case", MISFITS)
def test_a_session_that_does_not_fit(fleet, case):
    [node] = fleet.nodes
    text, words = MISFITS[case]
    before = fleet.router.configuration.read_text()
    fleet.router.change(NEIGHBOR, text)
    try:
        wait_until(lambda: not fleet.next_hops(VIP[4]), 10, fleet.report)

        def told():
            session = node.controller.sessions()["tor4"]
            return session["state"] != "established" and told_first(session, words)

        wait_until(told, 30, lambda: f"{node.controller.sessions()} {node.log()}")
        print(f"{case}: {node.controller.sessions()['tor4']['error']}")
        table = node.controller.ctl("bgp", "list", output="table").stdout
        assert node.controller.sessions()["tor4"]["error"] in table
        # Not for a moment, and the other session is none of its business.
        end = time.monotonic() + 2
        while time.monotonic() < end:
            assert node.controller.sessions()["tor4"]["state"] != "established"
            assert not fleet.next_hops(VIP[4]) and fleet.next_hops(VIP[6])
            time.sleep(0.1)
    finally:
        fleet.router.configuration.write_text(before)
        fleet.router.ask("configure")
    fleet.wait_for(fleet.nodes, 30)
    wait_until(lambda: node.controller.sessions()["tor4"]["state"] == "established", 5, node.log)


@pytest.mark.parametrize("address", ("198.51.100.77", "2001:db8:e::77"))
def test_an_address_outside_of_the_allow_list(fleet, address):
    """The order may be refused, or the address stays withdrawn and says why. It never reaches the router, which would
    take it."""
    [node] = fleet.nodes
    version = 6 if ":" in address else 4
    filters = r"if net !~ \[ (203\.0\.113\.0/24\{32,32\}|2001:db8:f::/48\{128,128\}) \] then reject;"
    before = fleet.router.configuration.read_text()
    fleet.router.change(filters, "", count=2)
    try:
        done = node.controller.ctl("vip", "announce", address)
        time.sleep(1)
        assert not fleet.next_hops(address)
        assert address not in {prefix for prefix, _ in node.kernel()}
        if done.returncode == 0:
            vip = node.controller.vips()[address]
            assert (vip["state"], vip["cause"]["cause"]) == ("withdrawn", "not_allowed"), vip
        else:
            assert "bgp.allowed" in done.stderr, done.stderr
        # Not even if it is in the table: BIRD has the same list.
        route = (f"-{version}", "route", "add", address, "dev", "gwvip", "table", "1000", "proto", "200", "metric", "1000")
        node.host.ip(*route)
        time.sleep(1)
        assert not fleet.next_hops(address)
        node.host.ip(f"-{version}", "route", "del", *route[3:], check=False)
        node.controller.ctl("vip", "withdraw", address)
    finally:
        fleet.router.configuration.write_text(before)
        fleet.router.ask("configure")
    fleet.wait_for(fleet.nodes)
