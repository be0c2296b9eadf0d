"""Which backend a flow goes to, for how long, and what is dropped if no backend accepts it."""

from collections import Counter

import pytest
from support import expectation
from support.config import one_port, services
from support.model import Fleet
from support.packets import client_packet, flow


def flows(count=400):
    return [client_packet(flow(4 if n % 2 else 6, ("tcp", "udp")[n // 2 % 2], 1, 1024 + n)) for n in range(count)]


def frames(sent):
    return [packet.frame for packet in sent]


def check(run_replay, config, sent):
    outcome = run_replay(config, frames(sent))
    expectation.check_frames(config, sent, outcome)
    return outcome


def test_shares_follow_the_weights(run_replay):
    config, sent = one_port(), flows(1000)
    outcome = check(run_replay, config, sent)
    share = Counter(Fleet(config).backend(packet.flow) for packet in sent)
    assert 340 < share["192.0.2.5"] < 460, "weight 2 of 5"
    assert all(140 < share[address] < 260 for address in ("2001:db8::6", "10.9.0.7", "2001:db8:b::8"))
    assert outcome.report["transmitted"] == 1000


def test_the_order_of_the_configuration_does_not_matter(run_replay):
    def reverse(config):
        config.pool()["backends"].reverse()
        config["service"].reverse()

    config, sent = one_port(), flows()
    outcome = check(run_replay, config, sent)
    assert run_replay(config.changed(reverse), frames(sent)).files == outcome.files


def test_names_do_not_matter(run_replay):
    def rename(config):
        config["node"]["name"] = "lb2"
        for backend in config.pool()["backends"]:
            backend["name"] += "-renamed"

    config, sent = one_port(), flows(100)
    outcome = check(run_replay, config, sent)
    assert run_replay(config.changed(rename), frames(sent)).files == outcome.files


@pytest.mark.parametrize("key", ("ffffffffffffffffffffffffffffffff", "0f0e0d0c0b0a09080706050403020100"))
@pytest.mark.parametrize("size", (1009, 65537, 131071))
def test_key_and_size_of_the_table(run_replay, key, size):
    config = one_port()
    config["hash"] = {"key": key, "table_size": size}
    check(run_replay, config, flows(100))


def test_weight_0_and_disabled_backends_take_no_new_flows(run_replay):
    config = one_port()
    config.backends()["near4"]["weight"] = 0
    config.backends()["far6"]["enabled"] = False
    sent = flows()
    check(run_replay, config, sent)
    assert {Fleet(config).backend(packet.flow) for packet in sent} == {"2001:db8::6", "10.9.0.7"}


def test_weights_far_apart(run_replay):
    config = one_port()
    for name, weight in (("near4", 1000), ("near6", 1), ("far4", 333), ("far6", 77)):
        config.backends()[name]["weight"] = weight
    check(run_replay, config, flows())


def test_each_service_has_its_own_pool(run_replay):
    config = one_port()
    config["pool"].append({"name": "dns", "backends": [{"name": "d1", "address": "10.9.0.53"}]})
    config["service"] = [
        dict(service, pool="dns" if service["protocol"] == "udp" else "web") for service in services()
    ]
    check(run_replay, config, flows())


@pytest.mark.parametrize("state", ({"weight": 0}, {"enabled": False}))
def test_a_pool_without_a_backend_for_new_flows(run_replay, state):
    config = one_port()
    for backend in config.pool()["backends"]:
        backend.update(state)
    outcome = run_replay(config, frames(flows(10)))
    assert outcome.verdicts == {"no_backend": 10}


def test_backends_without_a_known_next_hop(run_replay):
    """The flows of an unreachable backend do not go to another: all nodes of the fleet choose alike."""
    config = one_port()
    config["neighbor"] = [n for n in config["neighbor"] if n["address"] != "192.0.2.254"]
    fleet = Fleet(config)
    sent = [
        packet.dropped("next_hop_unresolved") if fleet.backend(packet.flow) == "10.9.0.7" else packet
        for packet in flows()
    ]
    assert any(packet.verdict != "forwarded" for packet in sent)
    check(run_replay, config, sent)


def timed(*records):
    """(seconds, frame) of packets of one TCP flow with these flags, or of a UDP flow."""
    return [
        (seconds, client_packet(flow(4, "udp" if flags == "udp" else "tcp"), flags=flags).frame)
        for seconds, flags in records
    ]


@pytest.mark.parametrize(
    ("records", "new"),
    (
        ([(0, "S"), (60, "S")], 1),
        ([(0, "S"), (60.01, "S")], 2),
        ([(0, "S"), (1, "A"), (901, "A")], 1),
        ([(0, "S"), (1, "A"), (901.01, "A")], 2),
        ([(0, "A"), (0.99, "A"), (60, "A")], 1),
        ([(0, "A"), (0.99, "A"), (60.01, "A")], 2),
        ([(0, "A"), (1, "A"), (2, "S"), (902, "A")], 1),
        ([(0, "S"), (0, "A"), (1, "FA"), (241, "A")], 1),
        ([(0, "S"), (0, "A"), (1, "FA"), (241.01, "A")], 2),
        ([(0, "S"), (0, "A"), (1, "FA"), (2, "A"), (902, "A")], 1),
        ([(0, "S"), (0, "A"), (1, "R"), (241.01, "A")], 2),
        ([(0, "S"), (0, "A"), (1, "R"), (1.01, "PA"), (901, "A")], 1),
        ([(0, "udp"), (60, "udp"), (120, "udp")], 1),
        ([(0, "udp"), (60.01, "udp")], 2),
        ([(1000, "udp"), (10, "udp"), (1000, "udp")], 1),
    ),
    ids=str,
)
def test_idle_timeouts_by_the_clock_of_the_capture(run_replay, records, new):
    """The last case: time stamps that run backwards end no flow."""
    events = run_replay(one_port(), timed(*records)).report["events"]
    assert (events["flow_new"], events["flow_hit"]) == (new, len(records) - new)
    assert events["flow_expired"] == new - 1


def test_idle_timeouts_are_configurable(run_replay):
    config = one_port()
    config["flow"] = {"entries": 1024}
    config["flow.timeout"] = {"syn": 2, "established": 4, "half_closed": 6, "closing": 1, "unconfirmed": 3, "udp": 3}
    # Each packet in `new` comes just after the timeout of the state in which the packet before it left the flow.
    new = [(0, "S"), (2.01, "A"), (5.02, "S"), (9.04, "A"), (20, "S"), (33.01, "S"), (34.04, "S")]
    hits = [(5.03, "A"), (20.01, "A"), (20.02, "F"), (21.02, "A"), (27, "A"), (33.02, "A"), (33.03, "F")]
    events = run_replay(config, timed(*sorted(new + hits))).report["events"]
    assert (events["flow_new"], events["flow_hit"]) == (len(new), len(hits))
    assert events["flow_expired"] == len(new) - 1


def test_a_full_flow_table_forwards_by_the_maglev_table(run_replay):
    config = one_port()
    config["flow"] = {"entries": 16}
    sent = [client_packet(flow(4, "tcp", 1, 1024 + n), flags="A") for n in range(500)]
    events = check(run_replay, config, sent).report["events"]
    assert events["flow_new"] <= 16
    assert events["flow_new"] + events["flow_displaced"] + events["flow_table_full"] == 500
