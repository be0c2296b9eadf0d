"""systemd-networkd restarts beside a node that announces: the whole of it, with and without the files that are shipped.

controller/tests/routes/networkd.rs has the same for the thread of the routes alone. networkd runs with directories of its own
in a mount namespace. No udev runs there, so what it would say is written down: without that, networkd takes the machine for a
container, configures interfaces before it has read the routes, and removes none.
"""

import contextlib
import json
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from support.fleet import SLOW, Fleet
from support.hosts import wait_until
from support.packets import VIP
from support.routers import RouteLog, ended

PACKAGING = Path(__file__).resolve().parents[2] / "packaging" / "systemd-networkd"
# Within which the controller puts a route back.
RESTORED = 1
# The operator has networkd configure each interface but the port's and its cable's, which would lose their addresses.
OPERATORS = "[Match]\nName=!edge0 gw0\n[Network]\nAddress=10.5.0.1/24\nLinkLocalAddressing=no\n"
# Something of the operator's that networkd has not made.
RULE = ("priority", "100", "lookup", "77")
START = """
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/systemd
cp -r "$1"/. /run
mkdir -p /run/systemd/netif /run/udev/data
chown -R systemd-network: /run/systemd/netif
for index in /sys/class/net/*/ifindex; do
    echo I:1 > /run/udev/data/n"$(cat "$index")"
done
exec /lib/systemd/systemd-networkd
"""


@pytest.fixture(scope="module")
def whole(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, Fleet(Path(name), bfd=SLOW) as made:
        made.wait_for(made.nodes)
        host = made.nodes[0].host
        host.ip("link", "add", "mgmt0", "type", "veth", "peer", "name", "mgmt1")
        for name in ("mgmt0", "mgmt1"):
            host.ip("link", "set", name, "up")
        yield made


@pytest.fixture
def fleet(whole):
    """Nothing of it is broken, and the operator's rule is there."""
    whole.repair()
    host = whole.nodes[0].host
    host.ip("rule", "del", *RULE, check=False)
    host.ip("rule", "add", *RULE)
    host.ip("address", "flush", "dev", "mgmt0", "scope", "global")
    return whole


class Networkd:
    """systemd-networkd on a node, started again and again. `is_shipped`: with the files of packaging/."""

    def __init__(self, node, is_shipped):
        self._node = node
        self.host = node.host
        self._run = node.directory / f"run-{time.monotonic_ns()}"
        self._process = None
        network = self._run / "systemd" / "network"
        network.mkdir(parents=True)
        (network / "50-all.network").write_text(OPERATORS)
        if is_shipped:
            shutil.copytree(PACKAGING / "networkd.conf.d", self._run / "systemd" / "networkd.conf.d")
            shutil.copytree(PACKAGING / "network", network, dirs_exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process:
            ended(self._process)
        # It leaves its addresses behind.
        for name in ("mgmt0", "mgmt1", "gwvip", "lo"):
            self.host.ip("address", "del", "10.5.0.1/24", "dev", name, check=False)

    def restart(self):
        """Returns once it has configured the operator's interface."""
        if self._process:
            ended(self._process)
        self.host.ip("address", "flush", "dev", "mgmt0", "scope", "global")
        with (self._run / "log").open("a") as log:
            line = ("unshare", "--mount", "--propagation", "private", "sh", "-c", START, "sh", self._run)
            self._process = self.host.start(*line, stdout=log, stderr=log)
        wait_until(lambda: self.has_address("mgmt0"), 10, self.log)

    def has_address(self, interface):
        return "10.5.0.1/" in self.host.ip("-4", "address", "show", "dev", interface)

    def log(self):
        return (self._run / "log").read_text() + self._node.log()


def said(node, kind):
    """The controller's events of a kind."""
    lines = node.controller.ctl("monitor", "--controller", "--no-follow", output="jsonl").stdout.splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def rules(node):
    return [node.host.ip(f"-{version}", "rule", "show") for version in (4, 6)]


@contextlib.contextmanager
def connected(fleet):
    """A hundred connections, none of which may break."""
    with fleet.conversations() as conversations:
        made = fleet.connected(conversations, 50)
        yield
        time.sleep(0.5)
        assert not [one.broken for one in made if one.broken], fleet.report()


def test_with_the_shipped_files_nobody_notices(fleet):
    node = fleet.nodes[0]
    routes, before, told = node.kernel(), rules(node), fleet.router.messages()
    restored = said(node, "routes_restored")
    assert len(routes) == 2 and len(told) == 4
    with connected(fleet), Networkd(node, is_shipped=True) as networkd:
        with RouteLog(node.host, fleet.directory) as own, fleet.routes() as routers:
            for _ in range(2):
                networkd.restart()
                # In the other test the routes were removed by then.
                time.sleep(1)
        assert not networkd.has_address("gwvip"), "the interface is the forwarder's"
        for vip in VIP.values():
            assert not own.changes(vip) and not routers.changes(vip), networkd.log()
        assert node.kernel() == routes and rules(node) == before
        assert fleet.router.messages() == told, "not a message of BGP"
        assert said(node, "routes_restored") == restored


def test_without_them_all_is_back_within_a_second(fleet):
    node = fleet.nodes[0]
    routes, sessions = node.kernel(), fleet.router.sessions()
    assert len(routes) == 2
    with connected(fleet), Networkd(node, is_shipped=False) as networkd:
        for _ in range(2):
            before = len(said(node, "routes_restored"))
            with RouteLog(node.host, fleet.directory) as log:
                networkd.restart()
                wait_until(lambda n=before: len(said(node, "routes_restored")) > n, 10, networkd.log)
                wait_until(lambda: node.kernel() == routes, RESTORED, networkd.log)
                gaps = {version: missing(log.changes(vip)) for version, vip in VIP.items()}
            assert all(gaps.values()), "networkd removed nothing, so this proves nothing"
            for version, seconds in gaps.items():
                print(f"the node's route of IPv{version} was missing for {1000 * max(seconds):.1f} ms")
                assert max(seconds) < RESTORED
            print(f"the router has both nodes again after {fleet.wait_for(fleet.nodes, 5):.2f} s")
        assert "lookup 77" not in rules(node)[0], "networkd removes rules, too"
        assert all("lookup main" in one for one in rules(node))
        assert fleet.router.sessions() == sessions
    assert node.kernel() == routes


def missing(changes):
    """For how many seconds a route was missing, each time."""
    gaps, since = [], None
    for change in changes:
        if change.is_gone:
            since = since or change.at
        elif since:
            gaps.append(change.at - since)
            since = None
    assert since is None, changes
    return gaps
