"""The configurations of BIRD and FRR in examples/, as they are: a speaker and a router, whichever each is."""

import json
import re
import time

import pytest
from support.routing import EXAMPLES, Bird, Frr, Site, ip, until

# The table that a speaker exports, and its names of the router's sessions.
SPEAKERS = {
    "bird": (Bird, "bird.conf", 1000, ("tor1v4", "tor1v6")),
    "frr": (Frr, "frr.conf", 254, ("192.0.2.254", "2001:db8::254")),
}
ROUTERS = {"bird": (Bird, "router-bird.conf"), "frr": (Frr, "router-frr.conf")}
# Addresses of the example: announced, draining, outside of the allow-list, and of another protocol.
ANNOUNCED = ("203.0.113.10/32", "2001:db8:f::10/128")
DRAINING = ("203.0.113.11/32", "2001:db8:f::11/128")
OUTSIDE = ("198.51.100.1/32", "2001:db8:e::1/128")
FOREIGN = ("203.0.113.99/32", "2001:db8:f::99/128")
ACTIVE, LAST_RESORT = 1000, 2000


@pytest.fixture
def site(root):
    with Site() as made:
        yield made


def kernel_routes(router):
    """The prefixes that the router forwards to the node, as the kernel writes them."""
    found = [entry for family in ("-4", "-6") for entry in json.loads(ip(router, "-j", family, "route", "show"))]
    return {entry["dst"] for entry in found if entry["protocol"] in ("bird", "bgp")}


def destinations(*prefixes):
    """Without the length, as `ip` shows a host's route."""
    return {prefix.split("/")[0] for group in prefixes for prefix in group}


@pytest.mark.parametrize("router_is", ROUTERS)
@pytest.mark.parametrize("speaker_is", SPEAKERS)
def test_a_speaker_and_a_router(site, speaker_is, router_is):
    """Sessions with MD5, GTSM and BFD over both families; announced, drained, withdrawn; the allow-list."""
    node, router = site.node, site.router
    make_speaker, speaker_file, table, peers = SPEAKERS[speaker_is]
    make_router, router_file = ROUTERS[router_is]
    with make_router(router, EXAMPLES / router_file) as tor, make_speaker(node, EXAMPLES / speaker_file) as speaker:

        def shown():
            return "\n".join([tor.log(), speaker.log(), ip(router, "route"), ip(router, "-6", "route")])

        for prefix in ANNOUNCED + OUTSIDE:
            site.route("add", prefix, table, ACTIVE)
        for prefix in DRAINING:
            site.route("add", prefix, table, LAST_RESORT)
        for prefix in FOREIGN:
            # The route of another program, with a metric that means nothing.
            site.route("add", prefix, table, 77, protocol=201)
        until(lambda: speaker.established() == 2, what=shown)
        until(lambda: speaker.bfd_up() == 2 and tor.bfd_up() == 2, what=shown)
        until(lambda: kernel_routes(router) == destinations(ANNOUNCED, DRAINING), what=shown)
        sent = "".join(speaker.sent(peer) for peer in peers)
        assert all(address in sent for address in destinations(ANNOUNCED, DRAINING)), sent
        assert not any(address in sent for address in destinations(OUTSIDE, FOREIGN)), sent
        until(lambda: all(tor.drains(prefix) for prefix in DRAINING), what=shown)
        assert not any(tor.drains(prefix) for prefix in ANNOUNCED)
        # A last resort for routers that do not know the community, and for other paths of the same length.
        longer = tor.describe(DRAINING[0])
        assert "65001 65001 65001 65001" in longer, longer
        assert "65001 65001" not in tor.describe(ANNOUNCED[0])

        # A drain begins: the new route is there before the old one goes.
        for prefix in ANNOUNCED:
            site.route("add", prefix, table, LAST_RESORT)
            site.route("del", prefix, table, ACTIVE)
        until(lambda: all(tor.drains(prefix) for prefix in ANNOUNCED), what=shown)
        assert kernel_routes(router) == destinations(ANNOUNCED, DRAINING)

        # The forwarder dies, and its interface with it.
        ip(node, "link", "del", "gwvip")
        until(lambda: not kernel_routes(router), seconds=2, what=shown)
        assert speaker.established() == 2


@pytest.mark.parametrize("router_is", ROUTERS)
def test_a_router_takes_no_other_prefix(site, tmp_path, router_is):
    """Of a node that tells it everything."""
    node, router = site.node, site.router
    make_router, router_file = ROUTERS[router_is]
    text, changes = re.subn(r"if net ~ \[.*?\] && ", "if ", (EXAMPLES / "bird.conf").read_text())
    assert changes == 2
    careless = tmp_path / "bird.conf"
    careless.write_text(text)
    with make_router(router, EXAMPLES / router_file) as tor, Bird(node, careless) as speaker:
        for prefix in ANNOUNCED + OUTSIDE:
            site.route("add", prefix, 1000, ACTIVE)
        until(lambda: kernel_routes(router) == destinations(ANNOUNCED), what=lambda: tor.log() + speaker.log())
        assert OUTSIDE[0] in speaker.sent("tor1v4") and OUTSIDE[1] in speaker.sent("tor1v6")
        time.sleep(1)
        assert kernel_routes(router) == destinations(ANNOUNCED)
