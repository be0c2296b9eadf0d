"""A real Prometheus scrapes running forwarders: the lab under traffic, and an appliance whose configuration changes all the
time. Every query of the dashboard returns data, alerts fire only for what is wrong, and no counter goes back."""

import itertools
import math
import random
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
import yaml
from support import dashboard, lab, network, prometheus
from support.binaries import ROOT
from support.clients import Connection
from support.daemon import Daemon, live_one_port
from support.packets import VIP, client_packet, flow
from support.prometheus import EXPORTER, Prometheus, is_counter

RULES = ROOT / "packaging" / "prometheus" / "guideway.rules.yaml"
RELOADS = 300
PER_SECOND = 1000


def quick(directory):
    """The rules without their patience: what holds for two seconds fires."""
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["for"] = "2s"
    path = directory / RULES.name
    path.write_text(yaml.safe_dump(rules))
    return path


class Drive:
    """Real connections by the lab's clients, one after the other, until the block ends. Some go to a port without
    service."""

    def __init__(self, up):
        self._up = up
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.connections = 0

    def _run(self):
        while not self._ending.is_set():
            done = self._up.drive("--connections", 40, "--uploads", 2, "--concurrency", 4)
            self.connections += done["connections"]
            self._up.run("clients", "curl", "-s", "--max-time", "0.2", f"http://{self._up.environment['LAB_VIP4']}:81/")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()


@pytest.fixture(scope="module")
def watched(root, tmp_path_factory):
    """What Prometheus saw of the lab: first healthy, then with a backend that drains and a configuration that was refused."""
    directory = tmp_path_factory.mktemp("watched")
    with lab.Lab() as up, Prometheus(up.namespace("lb"), directory, [quick(directory)]) as watcher:
        watcher.wait_for('up{job="guideway"} == 1')
        # Before, the node was absent.
        watcher.wait_for_scrapes(2)
        begin = time.time()
        with Drive(up) as drive:
            watcher.wait_for_scrapes(8)
            healthy = watcher.over_time('ALERTS{alertstate="firing"}', begin)
            up.apply(up.configuration().replace("weight = 2", "weight = 3"))
            up.ctl("backend", "drain", "web/s3")
            with Connection(up.environment["LAB_SOCKET"]) as control, pytest.raises(AssertionError, match="rejected"):
                control.ask("config_apply", text="mistaken = 1\n")
            watcher.wait_for('ALERTS{alertname="GuidewayConfigApplyFailed",alertstate="firing"}')
            watcher.wait_for_scrapes(4)
            alerts = watcher.alerts()
            asked = list(dashboard.queries(instance=prometheus.INSTANCE, __rate_interval="10s"))
            answers = {query: watcher.over_time(query, begin) for *_, query in asked}
        watcher.check_scrapes()
        page = prometheus.get(up.namespace("lb"), "/metrics")
    assert drive.connections
    yield SimpleNamespace(healthy=healthy, alerts=alerts, asked=asked, answers=answers, page=page)


def test_no_alert_fires_on_a_healthy_lab(watched):
    assert not watched.healthy


def test_alerts_fire_for_what_is_wrong(watched):
    firing = {alert["labels"]["alertname"]: alert for alert in watched.alerts if alert["state"] == "firing"}
    assert set(firing) == {"GuidewayBackendDraining", "GuidewayConfigApplyFailed", "GuidewayConfigDiffersFromFile"}
    for alert in firing.values():
        for text in alert["annotations"].values():
            assert "<no value>" not in text and "error" not in text.lower(), text
    assert "Pool web on lb1" in firing["GuidewayBackendDraining"]["annotations"]["summary"]


def test_every_query_of_the_dashboard_returns_data(watched):
    def is_there(series):
        return any(not math.isnan(float(value)) for _, value in series["values"])

    empty = [words for words in watched.asked if not any(map(is_there, watched.answers[words[-1]]))]
    assert not empty, empty


def test_promtool_finds_the_page_clean(watched):
    done = subprocess.run(["promtool", "check", "metrics"], input=watched.page, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    prometheus.samples(watched.page)


# What follows is about one appliance under many changes of its configuration.

FLOWS = [flow(version, protocol, 4, 6000 + n) for n in range(10) for version in (4, 6) for protocol in ("tcp", "udp")]
SENT = [client_packet(one, flags="A", payload=bytes(8)).frame for one in FLOWS]
FURTHER = [f"10.9.0.{number}" for number in range(10, 16)]


def renamed(config, choice):
    choice.choice(config.pool()["backends"])["name"] = f"b{choice.randrange(1000)}"


def names_swapped(config, choice):
    one, other = choice.sample(config.pool()["backends"], 2)
    one["name"], other["name"] = other["name"], one["name"]


def reordered(config, choice):
    for section in (config["pool"], config["service"], *(pool["backends"] for pool in config["pool"])):
        choice.shuffle(section)


def backend_added_or_removed(config, choice):
    backends = config.pool()["backends"]
    unused = [address for address in FURTHER if all(backend["address"] != address for backend in backends)]
    if unused and choice.random() < 0.5:
        backends.append({"name": f"b{choice.randrange(1000)}", "address": choice.choice(unused)})
    elif len(backends) > 2:
        backends.remove(choice.choice(backends))


def service_added_or_removed(config, choice):
    """One that nobody uses."""
    port = choice.randrange(8000, 8004)
    others = [service for service in config["service"] if service["port"] != port]
    if len(others) == len(config["service"]):
        others.append({"name": f"extra{port}", "address": VIP[4], "protocol": "udp", "port": port, "pool": "web"})
    config["service"] = others


def service_renamed(config, choice):
    choice.choice(config["service"])["name"] = f"s{choice.randrange(1000)}"


def services_swapped(config, choice):
    one, other = choice.sample(config["service"], 2)
    one["name"], other["name"] = other["name"], one["name"]


def pool_added_or_removed(config, choice):
    """A second pool with the addresses of the first, and at times the services."""
    if len(config["pool"]) == 1:
        config["pool"].append({"name": "other", "backends": [dict(backend) for backend in config.pool()["backends"]]})
        choice.choice([service for service in config["service"] if service["port"] < 8000])["pool"] = "other"
    else:
        config["pool"] = [pool for pool in config["pool"] if pool["name"] == "web"]
        for service in config["service"]:
            service["pool"] = "web"


def weighted(config, choice):
    choice.choice(config.pool()["backends"])["weight"] = choice.randrange(4)


CHANGES = (
    renamed,
    names_swapped,
    reordered,
    backend_added_or_removed,
    backend_added_or_removed,
    service_added_or_removed,
    service_renamed,
    services_swapped,
    pool_added_or_removed,
    weighted,
)


def is_valid(config):
    """Names differ within a pool and among services, and each pool has a backend that takes flows."""
    pools = [pool["backends"] for pool in config["pool"]]
    differ = all(len({one["name"] for one in some}) == len(some) for some in (*pools, config["service"]))
    return differ and all(any(backend.get("weight", 1) for backend in pool) for pool in pools)


def series_of(config):
    """What the page names by labels that are configured."""
    pools = {(("pool", pool["name"]),) for pool in config["pool"]}
    backends = {
        (("address", backend["address"]), ("backend", backend["name"]), ("pool", pool["name"]))
        for pool in config["pool"]
        for backend in pool["backends"]
    }
    services = {
        (("address", one["address"]), ("port", str(one["port"])), ("protocol", one["protocol"]), ("service", one["name"]))
        for one in config["service"]
    }
    return pools | backends | services


def entity(labels):
    """Who has a series, whatever its name: a backend stays the same under another name, and so does a service."""
    return tuple((name, value) for name, value in labels if name not in ("backend", "service"))


class History:
    """When each series or entity of the configuration came and went."""

    def __init__(self, is_of_entities):
        self._is_of_entities = is_of_entities
        self._in_force = set()
        self.came = {}  # (before which time, packets sent until then)
        self.went = {}  # (after which time, before which time)

    def record(self, config, begin, end, sent):
        """The change to this configuration began and ended at these times; before it, so many packets were sent."""
        now = series_of(config)
        if self._is_of_entities:
            now = set(map(entity, now))
        for labels in now - self._in_force:
            self.came.setdefault(labels, []).append((begin, sent))
        for labels in self._in_force - now:
            self.went.setdefault(labels, []).append((begin, end))
        self._in_force = now


@pytest.fixture(scope="module")
def stormy(root, tmp_path_factory):
    """What Prometheus saw of an appliance while its configuration changed, and listings and page afterwards."""
    choice = random.Random(13)
    histories = History(False), History(True)

    def record(*words):
        for history in histories:
            history.record(*words)

    times = []  # (time, packets sent), in order
    with network.Namespace() as namespace:
        subprocess.run(["ip", "-n", namespace.name, "link", "set", "lo", "up"], check=True, timeout=10)
        peer = namespace.cable("gw0")
        directory = tmp_path_factory.mktemp("stormy")
        config = live_one_port("gw0", directory)
        config["metrics"] = {"listen": [EXPORTER]}
        record(config, time.time(), time.time(), 0)
        with Daemon(namespace, config, directory) as daemon, Prometheus(namespace, directory, interval="500ms") as watcher:
            watcher.wait_for('up{job="guideway"} == 1')
            with Connection(daemon.socket) as control, network.Traffic(namespace, peer, SENT, PER_SECOND) as sender:
                sender.wait(PER_SECOND)
                for number in range(RELOADS):
                    changed = config.changed(lambda config: choice.choice(CHANGES)(config, choice))
                    if not is_valid(changed):
                        continue
                    begin, sent = time.time(), sender.sent
                    control.ask("config_apply", text=changed.text())
                    record(changed, begin, time.time(), sent)
                    config = changed
                    times.append((time.time(), sender.sent))
                    if number % 20 == 0:
                        prometheus.samples(prometheus.get(namespace, "/metrics"))
                    sender.wait(PER_SECOND // 50)
                sender.wait(PER_SECOND)
                times.append((time.time(), sender.sent))
            stats = daemon.stats_at_rest()
            # A page is a second old at most.
            time.sleep(1.1)
            with Connection(daemon.socket) as control:
                listings = {kind: control.ask(kind) for kind in ("service_list", "backend_list")}
                events = control.events()
            page = prometheus.samples(prometheus.get(namespace, "/metrics"))
            watcher.wait_for_scrapes(3)
            watcher.check_scrapes()
            raw = watcher.raw('{job="guideway"}')
    yield SimpleNamespace(
        history=histories[0],
        entities=histories[1],
        times=times,
        stats=stats,
        listings=listings,
        events=events,
        page=page,
        raw=raw,
        sent=sender.sent,
    )


def counters_of(raw):
    return {(name, labels): seen for (name, labels), seen in raw.items() if name.startswith("guideway_") and is_counter(name)}


def is_configured(name):
    """Whether the series of this name come and go with the configuration."""
    return name.startswith(("guideway_pool_", "guideway_service_", "guideway_backend_"))


# A page may show what was a second before.
PAGE_AGE = 1.2


def test_no_counter_goes_back(stormy):
    """Only what the configuration did not have for a while begins anew. Another name is no reason."""
    counters = counters_of(stormy.raw)
    configured = {series for series in counters if is_configured(series[0])}
    assert len(configured) > 100 and len(counters) - len(configured) > 100
    for (name, labels), seen in counters.items():
        went = stormy.entities.went.get(entity(labels), ()) if is_configured(name) else ()
        for (before, first), (after, second) in itertools.pairwise(seen):
            if second < first:
                assert any(begin <= after and end >= before - PAGE_AGE for begin, end in went), (name, labels, first, second)


def test_what_returns_begins_at_nothing(stormy):
    """A series counts only packets that were sent since it came: none inherits what another has counted."""
    returned = 0
    for (name, labels), seen in stormy.raw.items():
        if not (is_configured(name) and name.endswith("_packets_total")):
            continue
        came = stormy.entities.came[entity(labels)]
        returned += len(came) > 1
        for at, value in seen:
            sent_then = next(sent for time_, sent in stormy.times if time_ >= at or time_ == stormy.times[-1][0])
            since = [sent for begin, sent in came if begin <= at - PAGE_AGE] or [came[0][1]]
            assert value <= sent_then - since[-1], (name, labels, value)
    assert returned >= 10, "the test proves less than it says"


def test_every_series_of_the_configuration_was_seen(stormy):
    """What stayed for long enough has a series."""
    seen = {labels for name, labels in stormy.raw if is_configured(name)}
    for labels, came in stormy.history.came.items():
        went = stormy.history.went.get(labels, [])
        ends = [begin for begin, _ in went] + [stormy.times[-1][0]]
        if any(end - begin > 2 * PAGE_AGE + 1 for (begin, _), end in zip(came, ends, strict=False)):
            assert labels in seen, labels


def test_metrics_stats_and_events_agree(stormy):
    """In a quiet moment, and for every packet that was sent."""
    page, stats = stormy.page, stormy.stats

    def by(name, label):
        return {dict(labels)[label]: value for (of, labels), value in page.items() if of == name}

    assert stats["verdicts"]["forwarded"] == stats["received"] == stormy.sent
    assert page["guideway_packets_received_total", ()] == stats["received"]
    assert page["guideway_packets_transmitted_total", ()] == stats["transmitted"]
    assert by("guideway_verdicts_total", "verdict") == stats["verdicts"]
    drops = by("guideway_dropped_packets_total", "reason")
    assert drops == {reason: stats["verdicts"][reason] for reason in drops}
    recorded = {}
    for event in stormy.events:
        recorded[event["event"]] = recorded.get(event["event"], 0) + 1
    assert recorded["config_applied"] > RELOADS // 2
    events = by("guideway_events_total", "event")
    # A lost link is counted by workers and recorded by the daemon; the page has what is recorded.
    counted = {name: count for name, count in stats["events"].items() if name != "link_down"}
    assert {name: events[name] for name in counted} == counted
    assert {name: events[name] for name in recorded} == recorded
    assert page["guideway_config_applies_total", (("result", "applied"),)] == recorded["config_applied"]
    found = {}
    for kind, members in (("service", stormy.listings["service_list"]), ("backend", stormy.listings["backend_list"])):
        for one in members:
            if kind == "service":
                labels = (("address", one["address"]), ("port", str(one["port"])), ("protocol", one["protocol"]))
                labels += (("service", one["name"]),)
            else:
                labels = (("address", one["address"]), ("backend", one["name"]), ("pool", one["pool"]))
            traffic = one["traffic"]
            found[f"guideway_{kind}_packets_total", labels] = traffic["packets"]
            found[f"guideway_{kind}_bytes_total", labels] = traffic["bytes"]
            found[f"guideway_{kind}_new_flows_total", labels] = traffic["flows"]
            found[f"guideway_{kind}_flows", labels] = traffic["live"]
    assert {series: page[series] for series in found} == found
    states = {series: value for series, value in page.items() if series[0] == "guideway_backend_state"}
    assert len(states) == len(stormy.listings["backend_list"]) and set(states.values()) == {1.0}
