"""Reload under traffic: no packet is lost, and no packet mixes two configurations."""

import itertools
import json
import signal
import subprocess
from collections import defaultdict

import pytest
from support import binaries, network
from support.clients import Client
from support.daemon import Daemon, live_one_port
from support.model import Fleet
from support.packets import client_packet, flow, inner_of, split_label, tunnel_packet

FLOWS = [flow(version, protocol, 4, 6000 + n) for n in range(10) for version in (4, 6) for protocol in ("tcp", "udp")]
SENT = [client_packet(one, flags="A", payload=bytes(8)) for one in FLOWS]
PER_SECOND = 2000
LONGEST_LISTING = 0.05  # seconds, on an idle machine


@pytest.fixture(scope="module")
def peer(namespace):
    return namespace.cable("gw0")


def configurations(directory, workers):
    """Two configurations that share only the services: backends, tunnel sources and next hops differ. A packet
    made from parts of both would differ from each one's."""

    def change(config):
        config["node"]["tunnel_source"] = ["192.0.2.2", "2001:db8::2"]
        config["port"][0]["gateways"] = ["192.0.2.253", "2001:db8::fd"]
        config["neighbor"] = [
            {"address": "192.0.2.253", "mac": "02:00:00:00:0b:fd"},
            {"address": "2001:db8::fd", "mac": "02:00:00:00:0b:fe"},
            {"address": "192.0.2.105", "mac": "02:00:00:00:0b:05"},
            {"address": "2001:db8::106", "mac": "02:00:00:00:0b:06"},
        ]
        addresses = ("192.0.2.105", "2001:db8::106", "10.99.0.7", "2001:db8:bb::8")
        for backend, address in zip(config.pool()["backends"], addresses, strict=True):
            backend["address"] = address

    old = live_one_port("gw0", directory, workers)
    return old, old.changed(change)


def as_sent_by(config):
    """The frame that leaves for each flow, without the number at its end and the flow label."""
    fleet = Fleet(config)
    return {packet.flow: tunnel_packet(config, fleet, packet)[1][:-4] for packet in SENT}


def by_flow(frames):
    """Each flow's frames as (number, frame), in order of arrival."""
    flows = {packet.inner[:-4]: packet.flow for packet in SENT}
    found = defaultdict(list)
    for frame in frames:
        inner = inner_of(frame)
        number = int.from_bytes(inner[-4:], "big")
        found[flows[inner[:-4]]].append((number, split_label(frame)[0][:-4]))
    return found


def apply(daemon, config):
    """Applies a configuration over the control socket."""
    done = daemon.ctl("config", "apply", config.write(daemon.directory / "next.toml"))
    assert done.returncode == 0, done.stderr


def reload(daemon, config):
    """Writes the daemon's own file and reloads it over the control socket."""
    config.write(daemon.path)
    done = daemon.ctl("config", "reload")
    assert done.returncode == 0, done.stderr


def hangup(daemon, config):
    """Writes the daemon's own file and reloads it by SIGHUP."""
    generation = daemon.generation()
    config.write(daemon.path)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_generation(generation + 1)


@pytest.mark.parametrize("workers", (1, 2))
def test_reload_under_traffic(namespace, peer, directory, workers):
    old, new = configurations(directory, workers)
    borders = []
    with Daemon(namespace, old, directory) as daemon, network.capturing(namespace, peer) as capture:
        with network.Traffic(namespace, peer, [p.frame for p in SENT], PER_SECOND) as sender:
            for step, config in ((apply, new), (hangup, old), (reload, new), (apply, old), (hangup, new)):
                sender.wait(PER_SECOND // 4)
                begun = sender.sent
                step(daemon, config)
                # The packet of this number may be in flight while the sender counts it.
                borders.append((begun, sender.sent + 1))
            sender.wait(PER_SECOND // 4)
        captured = capture.wait(sender.sent)
        stats = daemon.stats_at_rest()
    assert stats["verdicts"]["forwarded"] == sender.sent, stats
    assert len(captured) == sender.sent, "packets were lost"
    expected = [as_sent_by(config) for config in (old, new)]
    for one, frames in by_flow(captured).items():
        numbers = [number for number, _ in frames]
        assert numbers == sorted(numbers), "the order within a flow"
        by = [[by[one] for by in expected].index(frame) for _, frame in frames]
        switches = sum(a != b for a, b in itertools.pairwise(by))
        assert switches == len(borders), f"{one} went back and forth: {switches} switches"
        for number, which in zip(numbers, by, strict=True):
            # Before a step begins and after its response, the configuration in force is known.
            begun = sum(number >= border for border, _ in borders)
            done = sum(number >= border for _, border in borders)
            if begun == done:
                assert which == done % 2, f"packet {number} of {one} by the wrong configuration"


def test_applies_and_listings_side_by_side_under_traffic(namespace, peer, directory):
    """No packet is lost, every apply is in force, and no listing waits for an apply."""

    def grow(config):
        backends = [{"name": f"b{n}", "address": f"10.50.{n // 250}.{1 + n % 250}"} for n in range(500)]
        config["pool"].append({"name": "large", "backends": backends})

    old, new = (config.changed(grow) for config in configurations(directory, 2))
    with Daemon(namespace, old, directory) as daemon, network.capturing(namespace, peer) as capture:
        applies = [{"request": "config_apply", "text": config.text()} for config in (new, old)]
        listings = [{"request": kind} for kind in ("backend_list", "service_list", "config_show", "status", "stats")]
        applying = [Client(daemon.socket, (applies * 13)[:25]) for _ in range(4)]
        listing = [Client(daemon.socket, listings * 5, pause=0.02) for _ in range(4)]
        with network.Traffic(namespace, peer, [p.frame for p in SENT], PER_SECOND) as sender:
            sender.wait(PER_SECOND // 4)
            for client in applying + listing:
                client.begin()
            applied = [result for client in applying for result in client.results()]
            listed = [result for client in listing for result in client.results()]
            sender.wait(PER_SECOND // 4)
        captured = capture.wait(sender.sent)
        stats = daemon.stats_at_rest()
        assert daemon.generation() == 101
    longest, all_applied = max(seconds for seconds, _ in listed), max(seconds for seconds, _ in applied)
    print(f"the longest listing {1000 * longest:.1f} ms, the longest apply {1000 * all_applied:.1f} ms")
    assert [kind for _, kind in applied] == ["applied"] * 100
    assert {kind for _, kind in listed} == {"backends", "services", "config", "status", "stats"} and len(listed) == 100
    assert stats["verdicts"]["forwarded"] == sender.sent == len(captured), "packets were lost"
    expected = [as_sent_by(config) for config in (old, new)]
    for one, frames in by_flow(captured).items():
        assert all(frame in [by[one] for by in expected] for _, frame in frames), "a packet by two configurations"
    assert longest < LONGEST_LISTING


def test_one_of_20_000_backends_changes_under_traffic(namespace, peer, directory):
    """Each apply makes a table of 2,000,003 slots. No packet is lost or overtaken, and no flow changes."""

    def grow(config, weight):
        config["hash"]["table_size"] = 2_000_003
        backends = [{"name": f"b{n}", "address": f"10.60.{n // 250}.{1 + n % 250}"} for n in range(20_000)]
        backends[7]["weight"] = weight
        config["pool"].append({"name": "large", "backends": backends})

    config, _ = configurations(directory, 1)
    steps = [config.changed(lambda config, weight=weight: grow(config, weight)) for weight in (1, 2, 3, 1, 2)]
    with Daemon(namespace, steps[0], directory) as daemon, network.capturing(namespace, peer) as capture:
        with network.Traffic(namespace, peer, [p.frame for p in SENT], PER_SECOND) as sender:
            for step in steps[1:]:
                sender.wait(PER_SECOND // 4)
                apply(daemon, step)
            sender.wait(PER_SECOND // 4)
        captured = capture.wait(sender.sent)
        stats = daemon.stats_at_rest()
        assert daemon.generation() == len(steps)
    assert stats["verdicts"]["forwarded"] == sender.sent == len(captured), "packets were lost"
    for one, frames in by_flow(captured).items():
        numbers = [number for number, _ in frames]
        assert numbers == sorted(numbers), "the order within a flow"
        assert len({frame for _, frame in frames}) == 1, f"{one} changed"


def test_a_drain_keeps_known_flows(namespace, peer, directory):
    """Weight 0 moves no flow. Disabling a backend moves its flows and no others."""
    config = live_one_port("gw0", directory)
    drained = config.changed(lambda c: c.backends()["near4"].update(weight=0))
    disabled = config.changed(lambda c: c.backends()["near4"].update(enabled=False))
    before, after = as_sent_by(config), as_sent_by(disabled)
    assert any(before[one] != after[one] for one in FLOWS)

    def send():
        count = len(capture.frames)
        network.send(namespace, peer, [packet.frame for packet in SENT])
        return {one: frames[0][1] for one, frames in by_flow(capture.wait(count + len(SENT))[count:]).items()}

    with Daemon(namespace, config, directory) as daemon, network.capturing(namespace, peer) as capture:
        assert send() == before
        apply(daemon, drained)
        assert send() == before
        late = [client_packet(flow(4, "tcp", 5, 7000 + n), payload=bytes(8)) for n in range(40)]
        count = len(capture.frames)
        network.send(namespace, peer, [packet.frame for packet in late])
        fleet = Fleet(drained)
        got = [split_label(frame)[0] for frame in capture.wait(count + len(late))[count:]]
        assert got == [tunnel_packet(drained, fleet, packet)[1] for packet in late]
        apply(daemon, disabled)
        moved = send()
        draining_address = config.backends()["near4"]["address"]
        home = Fleet(config)
        for one in FLOWS:
            if home.backend(one) == draining_address:
                assert moved[one] == after[one]
            else:
                assert moved[one] == before[one]


def test_a_new_backend_moves_no_flow(namespace, peer, directory):
    def add(config):
        config.pool()["backends"].append({"name": "new", "address": "10.9.0.77", "weight": 5})

    config = live_one_port("gw0", directory)
    grown = config.changed(add)
    assert as_sent_by(grown) != as_sent_by(config)
    with Daemon(namespace, config, directory) as daemon, network.capturing(namespace, peer) as capture:
        network.send(namespace, peer, [packet.frame for packet in SENT])
        first = [split_label(frame)[0] for frame in capture.wait(len(SENT))]
        apply(daemon, grown)
        network.send(namespace, peer, [packet.frame for packet in SENT])
        both = [split_label(frame)[0] for frame in capture.wait(2 * len(SENT))]
    assert len(first) == len(SENT) and both == first * 2


def test_a_reload_reads_the_further_files(namespace, peer, directory):
    config = live_one_port("gw0", directory)
    further = directory / "conf.d" / "more.toml"

    def services(daemon):
        return [service["name"] for service in daemon.ask("service", "list")]

    def service(name):
        return f"[[service]]\nname = '{name}'\naddress = '203.0.113.99'\nprotocol = 'udp'\nport = 9\npool = 'web'\n"

    with Daemon(namespace, config, directory) as daemon:
        before = services(daemon)
        further.parent.mkdir()
        further.write_text(service("one"))
        assert daemon.ctl("config", "reload").returncode == 0
        assert services(daemon) == [*before, "one"]
        further.write_text(service("two"))
        generation = daemon.generation()
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_generation(generation + 1)
        assert services(daemon) == [*before, "two"]
        # What is shown has every file, and can be applied as it is.
        shown = daemon.ask("config", "show")["text"]
        assert "#: file conf.d/more.toml\n" in shown and service("two") in shown
        done = daemon.ctl("config", "apply", "-", stdin=shown.replace("'two'", "'three'"))
        assert done.returncode == 0 and services(daemon) == [*before, "three"], done.stderr
        further.write_text(service("four") + "mtu = 1\n")
        for step in (lambda: daemon.ctl("config", "reload").stderr, lambda: daemon.log()):
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for_log("conf.d/more.toml: line 7: service[")
            assert "conf.d/more.toml: line 7: service[" in step()
        assert services(daemon) == [*before, "three"]


# Changes of a valid configuration, and a word of the message about each.
MISTAKES = {
    "wrong key": (lambda c: c["hash"].update(key="12"), "hash.key"),
    "unknown pool": (lambda c: c["service"][0].update(pool="webb"), "webb"),
    "nothing left": (lambda c: c.clear(), "node"),
    "another MTU": (lambda c: c["port"][0].update(mtu=1400), "mtu"),
    "another flow table": (lambda c: c.update(flow={"entries": 64}), "flow.entries"),
    "another worker": (lambda c: c["dpdk"].update(workers=[0, 1]), "dpdk.workers"),
}


@pytest.fixture(scope="module")
def steady(namespace, peer, tmp_path_factory):
    """A daemon that the bad configurations must not change."""
    directory = tmp_path_factory.mktemp("steady")
    with Daemon(namespace, live_one_port("gw0", directory), directory) as daemon:
        yield daemon


@pytest.mark.parametrize("name", MISTAKES)
def test_a_bad_configuration_changes_nothing(steady, name):
    change, message = MISTAKES[name]
    good, generation = steady.config.text(), steady.generation()
    try:
        bad = steady.config.changed(change).write(steady.directory / "bad.toml")
        for arguments in (("config", "apply", bad), ("config", "check", bad)):
            refused = steady.ctl(*arguments)
            assert refused.returncode == 5 and message in refused.stderr, refused
        steady.path.write_text(bad.read_text())
        refused = steady.ctl("config", "reload")
        assert refused.returncode == 5 and message in refused.stderr, refused
        since = len(steady.log())
        steady.process.send_signal(signal.SIGHUP)
        steady.wait_for_log(message, since)
        assert steady.generation() == generation
        assert steady.ask("config", "show")["text"] == good
    finally:
        steady.path.write_text(good)


def test_simultaneous_requests_are_applied_one_by_one(steady):
    """Each `config apply` gets its own generation, and all of them come into force."""
    before = steady.generation()
    line = [str(binaries.guidewayctl()), "--socket", str(steady.socket), "-o", "json", "config", "apply", str(steady.path)]
    running = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(12)]
    generations = sorted(json.loads(one.communicate(timeout=30)[0])["generation"] for one in running)
    assert all(one.returncode == 0 for one in running)
    assert generations == list(range(before + 1, before + 13))
    steady.wait_for_generation(before + 12)


def test_a_missing_file_changes_nothing(steady):
    generation = steady.generation()
    aside = steady.path.rename(steady.directory / "aside.toml")
    try:
        refused = steady.ctl("config", "reload")
        assert refused.returncode in (1, 5) and "guideway.toml" in refused.stderr, refused
        assert steady.generation() == generation
    finally:
        aside.rename(steady.path)


def test_standard_input_is_a_file_too(steady):
    generation = steady.generation()
    done = steady.ctl("config", "apply", "-", stdin=steady.config.text())
    assert done.returncode == 0, done.stderr
    assert steady.generation() == generation + 1
