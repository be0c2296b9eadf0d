"""A node that leaves under load, and many addresses.

GUIDEWAY_FLAP_SECONDS (10) is how long addresses are announced and withdrawn at random: 10,000 changes take 60.
"""

import ipaddress
import os
import random
import re
import tempfile
import time
from pathlib import Path

import pytest
from support.fleet import SLOW, Attempts, Fleet
from support.hosts import wait_until
from support.packets import VIP

FLAPS = float(os.environ.get("GUIDEWAY_FLAP_SECONDS", "10"))
CHANGES_PER_SECOND = 10_000 / 60
# A router that takes more than the example does.
MORE = "198.18.0.0/20"
HALF = 1_000
FOUR = [str(ipaddress.ip_address("198.18.0.0") + n) for n in range(1, HALF + 1)]
SIX = [str(ipaddress.ip_address("2001:db8:f:1::") + n) for n in range(1, HALF + 1)]


def allow_more(config):
    config["bgp"]["allowed"] = [*config["bgp"]["allowed"], MORE]


@pytest.fixture(scope="module")
def whole(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Fleet(Path(name), bfd=SLOW, change=allow_more) as made:
        pattern = re.escape("[ 203.0.113.0/24{32,32} ]")
        made.router.change(pattern, "[ 203.0.113.0/24{32,32}, 198.18.0.0/20{32,32} ]")
        made.wait_for(made.nodes)
        yield made


@pytest.fixture
def fleet(whole):
    """Nothing of it is broken."""
    whole.repair()
    return whole


def test_a_node_drains_under_500_connections(fleet):
    node, other = fleet.nodes
    with fleet.conversations() as conversations:
        made = fleet.connected(conversations, 250)
        carriers = fleet.carriers(made)
        assert carriers.count(node) >= 150
        with Attempts(fleet, 4, threads=2) as four, Attempts(fleet, 6, threads=2) as six:
            node.controller.ask("node", "drain", "--reason", "for a test")
            print(f"the router prefers the other after {fleet.wait_for([other]):.2f} s")
            # As a last resort the paths stay.
            assert "(65535,0)" in fleet.router.describe(VIP[4]).replace(" ", "")
            assert {vip["state"] for vip in node.controller.vips().values()} == {"draining"}
            assert {metric for _, metric in node.kernel()} == {2000}
            time.sleep(2)
            node.controller.ask("node", "undrain")
            fleet.wait_for(fleet.nodes)
            time.sleep(1)
        broken = [one.broken for one in made if one.broken]
        moved = [one.moves for one in made if one.moves]
        print(f"{len(broken)} of {len(made)} connections broke, {len(moved)} met another server")
        assert not broken and not moved
        assert not four.late() and not six.late()


def counts(fleet, condition=""):
    """How many routes the router has of the many, by family; of BIRD, for the kernel's take a while to list."""
    found = []
    for table, prefix in (("master4", MORE), ("master6", "2001:db8:f:1::/64")):
        words = ("show", "route", "table", table, "where", f"net ~ {prefix}{condition}", "count")
        found.append(int(re.search(r"^(\d+) of", fleet.router.ask(*words), re.MULTILINE).group(1)))
    return found


def kernel_count(fleet):
    host = fleet.router.namespace
    shown = host.ip("-4", "route", "show", "root", MORE) + host.ip("-6", "route", "show", "root", "2001:db8:f:1::/64")
    return shown.count("proto bird")


def test_2000_addresses(fleet):
    """At one node, without services."""
    node = fleet.nodes[0]
    drains = " && (65535,0) ~ bgp_community"
    assert counts(fleet) == [0, 0]
    steps = (
        ("announce", lambda: counts(fleet) == [HALF, HALF]),
        ("drain", lambda: counts(fleet, drains) == [HALF, HALF]),
        ("undrain", lambda: counts(fleet, drains) == [0, 0] and counts(fleet) == [HALF, HALF]),
        ("withdraw", lambda: counts(fleet) == [0, 0]),
    )
    for verb, is_done in steps:
        begun = time.monotonic()
        node.controller.order(verb, FOUR + SIX)
        answered = time.monotonic() - begun
        wait_until(is_done, 20, lambda: f"{counts(fleet)} {counts(fleet, drains)} {node.log()[-3000:]}")
        print(f"{verb}: answered after {answered:.2f} s, at the router after {time.monotonic() - begun:.2f} s")
        # The router's kernel has heard of it too.
        wanted = 0 if verb == "withdraw" else 2 * HALF
        wait_until(lambda wanted=wanted: kernel_count(fleet) == wanted, 10, lambda: f"{kernel_count(fleet)}")
    # Killed with 2,000 routes.
    node.controller.order("announce", FOUR + SIX)
    wait_until(lambda: kernel_count(fleet) == 2 * HALF, 20)
    with fleet.routes() as log:
        at = node.kill()
        wait_until(lambda: kernel_count(fleet) == 0, 10)
        last = max(change.at for change in log.changes() if change.is_gone)
    print(f"after SIGKILL the last of {2 * HALF} routes is gone after {1000 * (last - at):.0f} ms")
    # BFD is slow here.
    assert last - at < 2
    node.repair()
    node.controller.order("withdraw", FOUR + SIX)
    wait_until(lambda: kernel_count(fleet) == 0, 20)


def test_flaps_end_right(fleet):
    """Announced and withdrawn at random, by both nodes at once. In the end the router has exactly what was ordered last."""
    chance = random.Random(15)
    pool, batch = FOUR[:100] + SIX[:100], 20
    last = [{}, {}]
    begun, changes = time.monotonic(), 0
    while (now := time.monotonic() - begun) < FLAPS:
        node = chance.randrange(2)
        verb = chance.choice(("announce", "withdraw"))
        some = chance.sample(pool, batch)
        fleet.nodes[node].controller.order(verb, some)
        last[node].update(dict.fromkeys(some, verb))
        changes += batch
        time.sleep(max(0, changes / CHANGES_PER_SECOND - now))
    wanted = {}
    for node, orders in zip(fleet.nodes, last, strict=True):
        for address, verb in orders.items():
            if verb == "announce":
                wanted.setdefault(address, set()).add(node.address[6 if ":" in address else 4])
    settled = time.monotonic()
    wait_until(lambda: routed(fleet) == wanted, 20, lambda: f"{routed(fleet)} instead of {wanted}")
    print(f"{changes} changes in {FLAPS:.0f} s; the router is right {time.monotonic() - settled:.2f} s after the last")
    assert wanted
    for node in fleet.nodes:
        node.controller.order("withdraw", pool)
    wait_until(lambda: not routed(fleet), 20)


def routed(fleet):
    """The many addresses in the router's kernel, and the next hops of each."""
    host, found = fleet.router.namespace, {}
    for version, prefix in ((4, MORE), (6, "2001:db8:f:1::/64")):
        for route in host.show(f"-{version}", "route", "show", "root", prefix):
            hops = route.get("nexthops", [route])
            found[route["dst"]] = {hop["gateway"] for hop in hops}
    return found
