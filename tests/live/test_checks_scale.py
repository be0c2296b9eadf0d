"""Thousands of targets each second. `-rP` shows what was measured.

In the environment: GUIDEWAY_CHECK_BACKENDS (500) is how many backends are probed each second, GUIDEWAY_CHECK_SECONDS (5) for
how long. 5,000 and 60 are what the documentation states.
"""

import datetime
import os
import tempfile
import time
from pathlib import Path

import pytest
from support.certificates import Authority
from support.checks import Rig, check, pool, service
from support.hosts import wait_until
from support.nodes import CONTROLLER
from support.prometheus import get, samples
from support.servers import Nginx

BACKENDS = int(os.environ.get("GUIDEWAY_CHECK_BACKENDS", "500"))
SECONDS = float(os.environ.get("GUIDEWAY_CHECK_SECONDS", "5"))
# Every address of it is a server: of the node itself, or of s1.
NETWORK = "10.64.0.0/16"
WEB, SECURE = 7000, 7443
EACH_SECOND = {"interval": 1000, "timeout": 800, "jitter": 10, "spread": 1000}
TICKS = os.sysconf("SC_CLK_TCK")
# Seconds behind its schedule at which the checker freezes the states.
LATE = 0.5


# Of a pool; a larger one needs a larger table.
MOST = 500


def many(count, name):
    """Pools of so many backends in all, with this check."""
    addresses = [f"10.64.{n // 250}.{n % 250 + 1}" for n in range(count)]
    for number, some in enumerate(addresses[first : first + MOST] for first in range(0, count, MOST)):
        yield pool(f"many{number}", {f"b{n}": address for n, address in enumerate(some)}, [name])


def count_of(config):
    return sum(len(pool["backends"]) for pool in config["pool"])


def use(config, pools):
    config["pool"] = list(pools)
    config["service"] = [service(made["name"], 80 + number, made["name"]) for number, made in enumerate(config["pool"])]


def direct(config):
    """Probes go to the node's own kernel, so that they alone are measured."""
    config["check"] = [check("tcp", "tcp", via="direct", port=WEB, **EACH_SECOND)]
    use(config, many(BACKENDS, "tcp"))


def secure(config):
    config["check"] = [check("https", "https", via="direct", port=SECURE, **EACH_SECOND)]
    use(config, many(max(1, BACKENDS // 10), "https"))


def through(config):
    """Two ports each, of 50,000 of each source."""
    config["check"] = [check("tcp", "tcp", port=WEB, **EACH_SECOND)]
    use(config, many(max(1, BACKENDS // 5), "tcp"))


@pytest.fixture(scope="module")
def rig(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name:
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
        certificate, key = Authority(Path(name)).sign("www.example.com", ends)
        more = f"""
    server {{
        access_log off;
        listen {SECURE} ssl backlog=4096;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_session_tickets off;
        location / {{ return 200 "well\\n"; }}
    }}
"""
        with Rig(Path(name), [], [pool()], [service("web", 80), service("data", 53, protocol="udp")], 2) as rig:
            Nginx(rig.node.host, Path(name), "own", more, port=WEB)
            Nginx(rig.servers["s1"], Path(name), "many", more, port=WEB)
            yield rig


def usage(pid):
    """Seconds of CPU that a process or thread has used, and its resident memory in bytes."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS, int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


def metrics(rig, name):
    page = samples(get(rig.node.host, "/metrics", CONTROLLER))
    return [value for (found, _), value in page.items() if found == name]


def measured(rig, what, count, seconds=SECONDS):
    """Lets checks run, and prints what they take. Returns the share of probes that ended, and how late the checker was."""
    wait_until(lambda: sum(metrics(rig, "guideway_check_targets")) == count, 20, rig.checker.report)
    rig.checker.wait_for_results(30)
    wait_until(lambda: {row["state"] for row in rig.checker.rows()} == {"up"}, 30, rig.checker.report)
    since = max((event["sequence"] for event in rig.checker.events()), default=0)
    process = rig.node.controller.process.pid
    before, begin, late = usage(process)[0], time.monotonic(), []
    ended = sum(metrics(rig, "guideway_check_results_total"))
    while time.monotonic() < begin + seconds:
        late += metrics(rig, "guideway_check_late_seconds")
        time.sleep(0.2)
    took = time.monotonic() - begin
    ended = sum(metrics(rig, "guideway_check_results_total")) - ended
    cpu, memory = usage(process)
    print(
        f"{count} {what} each second for {took:.0f} s: {ended / took:.0f} results a second, "
        f"{(cpu - before) / took:.1%} of a CPU ({(cpu - before) / ended * 1e6:.0f} us a probe), "
        f"{memory / 2**20:.0f} MiB, at most {1000 * max(late):.1f} ms late"
    )
    states = [row["state"] for row in rig.checker.rows()]
    assert len(states) == count and set(states) == {"up"}, {state: states.count(state) for state in set(states)}
    assert not rig.checker.list().get("frozen")
    kinds = ("check_state", "checks_frozen", "pool_panic")
    found = [event for event in rig.checker.events(*kinds) if event["sequence"] > since]
    assert not found, found
    return ended / (count * took), max(late)


@pytest.mark.parametrize(
    "change, what", ((direct, "TCP"), (secure, "HTTPS"), (through, "TCP through tunnels")), ids=("tcp", "https", "tunnel")
)
def test_many_targets(rig, change, what):
    host = rig.servers["s1"] if change is through else rig.node.host
    host.ip("route", "add", "local", NETWORK, "dev", "lo")
    if change is through:
        rig.node.host.ip("route", "add", NETWORK, "via", "192.0.2.11", "dev", "edge0")
    try:
        rig.reload(change)
        count = count_of(rig.node.daemon.config)
        if change is through:
            wait_until(lambda: {one["state"] for one in rig.node.daemon.ask("backend", "list")} == {"active"}, 20, rig.node.log)
        share, late = measured(rig, what, count)
        assert share > 0.9
        assert late < LATE
    finally:
        host.ip("route", "del", "local", NETWORK, "dev", "lo")
        if change is through:
            rig.node.host.ip("route", "del", NETWORK)
