"""Which frames the kernel gets, in which class: random frames, judged by `support.punts`."""

import functools
import random

import pytest
from support import replay
from support.config import one_port
from support.packets import APPLIANCE_MAC, CLIENT_MAC, VIP
from support.punts import CLASSES, OTHERS, PACKETS, V6_ONLY, Case, Node, punt_class

NODE = Node(
    mac=APPLIANCE_MAC,
    own=("192.0.2.1", "2001:db8::1"),
    virtual=tuple(VIP.values()),
    on_link=("192.0.2.0/24", "2001:db8::/64"),
    peers=("10.7.0.0/16", "2001:db8:7::/48"),
    probing=("10.255.0.9", "2001:db8:e::9"),
)
SOURCES = {
    4: ("192.0.2.9", "10.7.1.1", "10.8.1.1", "169.254.1.1", "0.0.0.0", "127.0.0.1", "192.0.2.1", VIP[4]),
    6: ("2001:db8::9", "fe80::9", "2001:db8:7::9", "2001:db8:8::9", "::", "::1", "2001:db8::1", VIP[6]),
}
DESTINATIONS = {
    4: ("192.0.2.1", "192.0.2.1", "192.0.2.1", VIP[4], "203.0.113.99", "192.0.2.2", "127.0.0.1", *[NODE.probing[0]] * 2),
    6: ("2001:db8::1", "2001:db8::1", "2001:db8::1", VIP[6], "2001:db8:f::99", "fe80::1", *[NODE.probing[1]] * 2),
}
GROUPS = {
    4: ("224.0.0.5", "224.0.0.6", "224.0.0.18", "224.0.0.251"),
    6: ("ff02::5", "ff02::6", "ff02::12", "ff02::1", "ff02::1:ff00:1"),
}
PLENTY = {"rate": 10_000_000, "burst": 10_000_000}
NOTHING = {"rate": 0, "burst": 1}


def config(**limits):
    def change(config):
        config["port"][0]["interface"] = "edge0"
        config["node"]["check_source"] = list(NODE.probing)
        config["punt"] = {"routing_peers": list(NODE.peers)}
        for name in CLASSES:
            config[f"punt.{name}"] = limits.get(name, NOTHING)

    return one_port().changed(change)


def cases(seed, count):
    choose = random.Random(seed)
    for _ in range(count):
        tags = choose.choice((0, 0, 0, 1, 2, 3))
        if choose.random() < 0.15:
            mac = choose.choice(("own", "broadcast", "link group", "other"))
            yield Case(mac, tags, choose.choice(tuple(OTHERS)))
            continue
        version = choose.choice((4, 6))
        content = choose.choice([name for name in PACKETS if version == 6 or name not in V6_ONLY])
        to_group = choose.random() < 0.35
        destination = choose.choice((GROUPS if to_group else DESTINATIONS)[version])
        usual = "group" if to_group else "own"
        mac = choose.choice((usual, usual, usual, usual, "own", "broadcast", "link group", "other"))
        source, hops = choose.choice(SOURCES[version]), choose.choice((255, 64, 1))
        # Most of what probes get are answers.
        if destination in NODE.probing and choose.random() < 0.6:
            source = VIP[version]
        yield Case(mac, tags, content, source, destination, hops)


@functools.cache
def sample():
    """Frames, and the class of each."""
    chosen = list(cases(1, 2000))
    return [case.frame(NODE, CLIENT_MAC) for case in chosen], [punt_class(case, NODE) for case in chosen]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("workers", (1, 3))
def test_each_frame_is_of_its_class(run_replay, tmp_path, name, workers):
    """Only this class has an allowance, so that the capture has its frames and no others."""
    frames, expected = sample()
    path = tmp_path / "punted.pcap"
    arguments = ("--workers", str(workers), "--punt", f"edge0={path}")
    outcome = run_replay(config(**{name: PLENTY}), frames, *arguments)
    got = [frame for _, frame in replay.parse_pcap(path.read_bytes())]
    assert got == [frame for frame, found in zip(frames, expected, strict=True) if found == name]
    assert len(got) > 40, "the sample has enough of this class"
    counts = {f"punt_limited_{other}": expected.count(other) for other in CLASSES if other != name}
    assert {verdict: outcome.verdicts.get(verdict) for verdict in counts} == counts
    assert outcome.verdicts["punted"] == len(got)
    events = {event: count for event, count in outcome.report["events"].items() if event.startswith("punted_")}
    assert events == {f"punted_{other}": len(got) if other == name else 0 for other in CLASSES}


def test_a_port_without_interface_punts_nothing(run_replay):
    settings = config(**dict.fromkeys(CLASSES, PLENTY))
    settings["port"][0]["interface"] = "none"
    outcome = run_replay(settings, sample()[0])
    assert not any("punt" in verdict for verdict in outcome.verdicts)


def test_a_flood_of_port_179_from_afar_leaves_the_sessions_their_allowance(run_replay):
    """1,000 segments in a second, and in between 10 of a session."""
    flood = Case("own", 0, "bgp", "10.8.1.1", "192.0.2.1", 64).frame(NODE, CLIENT_MAC)
    session = Case("own", 0, "bgp", "192.0.2.9", "192.0.2.1", 1).frame(NODE, CLIENT_MAC)
    frames = [(n / 1000, session if n % 100 == 50 else flood) for n in range(1000)]
    limits = {"routing": {"rate": 10, "burst": 1}, "own": {"rate": 10, "burst": 1}}
    outcome = run_replay(config(**limits), frames)
    assert outcome.report["events"]["punted_routing"] == 10
    assert outcome.report["events"]["punted_own"] in (10, 11)
