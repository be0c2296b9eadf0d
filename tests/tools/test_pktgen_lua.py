"""Pktgen's scripts, run by lua5.4 with a stand-in for two versions of Pktgen (support/pktgen.lua).

pktgen-scripts/README.md has the results of runs with Pktgen itself.
"""

import os
import re
import subprocess

import pytest
from support.binaries import ROOT

SCRIPTS = ROOT / "pktgen-scripts" / "pktgen"
STUB = ROOT / "tests" / "support" / "pktgen.lua"
NAMES = sorted(path.stem for path in SCRIPTS.glob("*.lua") if path.stem != "lib")
VERSIONS = (23, 26)
MAC = "02:00:00:00:00:01"
LINK = 14_880_952


def run(directory, name, version, *, link=LINK, generator=2e7, capacity=3e6, oversleep=1, **settings):
    """Runs a script. Returns its calls, each a list of strings, and its output."""
    calls = directory / "calls"
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(directory)}
    environment |= {f"GUIDEWAY_{key.upper()}": str(value) for key, value in settings.items()}
    stub = {"VERSION": version, "LINK": link, "GENERATOR": generator, "CAPACITY": capacity, "OVERSLEEP": oversleep}
    environment |= {f"STUB_{key}": str(value) for key, value in stub.items()}
    line = ["lua5.4", str(STUB), str(SCRIPTS / f"{name}.lua"), str(calls)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, cwd=directory)
    assert done.returncode == 0, done.stderr + done.stdout
    return [call.split("\t") for call in calls.read_text().splitlines()], done.stdout


def before_start(calls):
    """The calls before the start, which configure the packets."""
    return calls[: calls.index(["start", "0"])]


def ranges(calls):
    """The range fields by name, each a dictionary of start, inc, min and max."""
    fields = {}
    for call in before_start(calls):
        if call[0].startswith("range.") and len(call) == 4:
            fields.setdefault(call[0].removeprefix("range."), {})[call[2]] = call[3]
    return fields


def constant(value, step="0"):
    return {"start": value, "inc": step, "min": value, "max": value}


def test_every_profile_is_tested():
    assert NAMES == ["constant", "flows", "fragments", "imix", "ipv6", "latency", "rfc2544", "syn"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_each_runs_to_its_end(tmp_path, name, version):
    calls, text = run(tmp_path, name, version, seconds=1, sizes="64")
    assert calls[-1] == ["quit"]
    assert text.count("load average") >= 2, "before and after"
    starts, stops = (sum(call[0] == what for call in calls) for what in ("start", "stop"))
    assert stops >= starts >= 3, "repeated"


@pytest.mark.parametrize("version", VERSIONS)
def test_many_flows(tmp_path, version):
    calls, _ = run(tmp_path, "flows", version, mac="02:00:00:00:00:42", vip4="203.0.113.77")
    fields = ranges(calls)
    assert fields["src_ip"] == {"start": "198.18.0.1", "inc": "0.0.0.1", "min": "198.18.0.1", "max": "198.18.0.250"}
    assert fields["src_port"] == {"start": "1024", "inc": "1", "min": "1024", "max": "61023"}
    assert fields["dst_ip"] == constant("203.0.113.77", "0.0.0.0")
    assert fields["dst_port"] == constant("80")
    assert fields["pkt_size"] == constant("64")
    assert fields["dst_mac"] == {"start": "02:00:00:00:00:42"}
    for call in (["range.set_type", "0", "ipv4"], ["range.ip_proto", "0", "tcp"], ["set_range", "0", "on"]):
        assert call in before_start(calls)
    assert not any(call[0] == "command" for call in calls), "the flags are Pktgen's: ACK"


def test_syns(tmp_path):
    commands = {}
    for version in VERSIONS:
        calls, _ = run(tmp_path, "syn", version)
        commands[version] = [call[1] for call in before_start(calls) if call[0] == "command"]
        assert ranges(calls)["pkt_size"] == constant("64")
    assert commands == {23: ["range 0 tcp flag clr ack", "range 0 tcp flag set syn"], 26: ["range 0 tcp flags syn"]}


def test_ipv6(tmp_path):
    calls, _ = run(tmp_path, "ipv6", 23)
    fields = ranges(calls)
    assert fields["dst_ip"] == constant("2001:db8:f::10", "::")
    assert fields["src_ip"]["inc"] == "::1" and fields["src_ip"]["max"] == "2001:db8:c::fa"
    assert fields["pkt_size"] == constant("78")
    # Pktgen parses addresses by the family, so it must come first.
    assert [call[0] for call in calls].index("range.set_type") < [call[0] for call in calls].index("range.src_ip")


def test_one_flow(tmp_path):
    calls, _ = run(tmp_path, "constant", 23)
    for call in (["set_ipaddr", "0", "src", "198.18.0.1/32"], ["set_ipaddr", "0", "dst", "203.0.113.10"],
                 ["set", "0", "sport", "1024"], ["set", "0", "dport", "80"], ["set", "0", "size", "64"],
                 ["set_proto", "0", "tcp"], ["set_mac", "0", "dst", MAC]):
        assert call in before_start(calls)
    assert ["set_range", "0", "on"] not in calls


def test_imix(tmp_path):
    calls, _ = run(tmp_path, "imix", 23)
    words = [call[1].split() for call in before_start(calls) if call[0] == "command"]
    assert [line[:3] for line in words] == [["seq", str(index), "0"] for index in range(12)]
    sizes = [int(line[-1]) for line in words]
    assert {size: sizes.count(size) for size in sizes} == {64: 7, 594: 4, 1518: 1}
    assert len({(line[6], line[7]) for line in words}) == 12, "a flow each"
    assert all(line[3] == MAC and line[5] == "203.0.113.10" and line[8:11] == ["80", "ipv4", "tcp"] for line in words)
    assert ["set", "0", "seq_cnt", "12"] in calls
    burst = [call[3] for call in before_start(calls) if call[:3] == ["set", "0", "txburst"]][-1]
    assert int(burst) % 12 == 0, "otherwise the mix differs on virtual devices"


def test_fragments_come_from_the_capture(tmp_path):
    calls, _ = run(tmp_path, "fragments", 23)
    assert ["pcap", "0", "on"] in before_start(calls)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("oversleep", (1, 1.7))
def test_rates_use_the_time_that_passed(tmp_path, version, oversleep):
    """Pktgen may sleep longer than asked, and shows its counters a second late."""
    _, text = run(tmp_path, "flows", version, rate=10, capacity=1e6, oversleep=oversleep)
    median = re.search(r"median +(\d+) +(\d+)", text)
    assert float(median[1]) == pytest.approx(LINK / 10, rel=0.001)
    assert float(median[2]) == pytest.approx(1e6, rel=0.001)


def test_a_result_is_repeated_no_longer_than_needed(tmp_path):
    calls, _ = run(tmp_path, "flows", 23)
    assert sum(call[0] == "start" for call in calls) == 3


def throughput(text):
    return {int(row[0]): (float(row[1]), row[2]) for row in re.findall(r"^ +(\d+) +(\d+) +\S+% +\d+  (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("capacity", (20_000, 777_000, 9_000_000))
def test_the_search_finds_the_appliances_throughput(tmp_path, version, capacity):
    calls, text = run(tmp_path, "rfc2544", version, capacity=capacity, seconds=2, sizes="64 1518", oversleep=1.3)
    found = throughput(text)
    assert sorted(found) == [64, 1518]
    for rate, limit in found.values():
        assert limit == "appliance"
        assert capacity * 0.98 <= rate <= capacity
    assert sum(call[0] == "start" for call in calls) < 120, "the search must halve the range, not try all rates"
    sizes = [call[3] for call in calls if call[0] == "range.pkt_size" and call[2] == "start"]
    assert sizes == ["64", "1518"]


def test_the_search_needs_no_true_link_speed(tmp_path):
    """A device that reports 10 Gbit/s may send a hundredth of that, so the percentages mean nothing."""
    _, text = run(tmp_path, "rfc2544", 23, generator=400_000, capacity=150_000, sizes="64", seconds=1)
    rate, limit = throughput(text)[64]
    assert limit == "appliance" and 147_000 <= rate <= 150_000


def test_the_search_reports_the_generator_as_the_limit(tmp_path):
    _, text = run(tmp_path, "rfc2544", 26, generator=1e6, capacity=3e6, sizes="64", seconds=1)
    rate, limit = throughput(text)[64]
    assert limit == "generator" and rate == pytest.approx(1e6, rel=0.001)


def test_the_search_ends_when_nothing_passes(tmp_path):
    _, text = run(tmp_path, "rfc2544", 23, capacity=0, sizes="64", seconds=1)
    assert throughput(text)[64] == (0, "nothing passes")


def test_accepted_loss(tmp_path):
    """A fifth of 1.25 million is lost."""
    _, text = run(tmp_path, "rfc2544", 23, capacity=1e6, sizes="64", seconds=1, loss=0.2)
    assert throughput(text)[64][0] == pytest.approx(1.25e6, rel=0.02)


@pytest.mark.parametrize("version", VERSIONS)
def test_latency_at_shares_of_the_throughput(tmp_path, version):
    """The stand-in reports latencies of 1 to 1,000 microseconds, each once."""
    calls, text = run(tmp_path, "latency", version, capacity=1e6, seconds=1)
    rows = re.findall(r"^ +(\d+)% +(\d+) +(\d+) +([\d.]+) us +([\d.]+) us +([\d.]+) us", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["10", "50", "90"]
    for share, rate, probes, median, p99, p999 in rows:
        assert float(rate) == pytest.approx(1e6 * int(share) / 100, rel=0.03)
        assert (int(probes), median, p99, p999) == (3000, "500.0", "990.0", "999.0")
    assert ["latency", "0", "on"] in calls and ["latency", "0", "off"] in calls
    assert ["set_mac", "0", "dst", MAC] in calls, "the probes are copies of the single packet"


def test_latency_at_a_given_rate(tmp_path):
    calls, text = run(tmp_path, "latency", 23, seconds=1, pps=2_000_000)
    assert "100 % are 2000000 packets/s" in text
    assert sum(call[0] == "start" for call in calls) == 1 + 3 * 3, "no search"


def test_tables_are_kept_in_a_file(tmp_path):
    _, text = run(tmp_path, "flows", 23, out=tmp_path / "out")
    assert (tmp_path / "out").read_text() == text
