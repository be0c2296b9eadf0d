#!/usr/bin/python3
"""Part `pair`: the appliance between two processes, over memif, each of the two on a core of its own.

Throughput without loss is found by binary search over the rate (RFC 2544, section 26.1), with the generator
`guideway-pair` (benches/pair), which receives its packets again. memif has no line rate, so the search begins
with a measured rate. Latency is measured with the same generator at shares of the throughput. testpmd in mode
`io`, which sends packets back unchanged, is the baseline for both: latency above testpmd's is the appliance's.

Trials are shorter than the 60 s of RFC 2544, and a rate that loses packets is tried a second time: a virtual
machine now and then loses its CPUs for longer than the rings can bridge. The two programs take turns in each
round, and the other one is stopped (SIGSTOP, or testpmd's `stop`).

A virtual machine may have two speeds (modes.py). Rounds are repeated until one of them has enough rounds with a small
spread, and the two programs are compared within a mode only. If no mode ever does, there is no ratio.

Last, testpmd's own generators send as fast as they can, and the packets that the appliance receives are counted.
"""

import argparse
import contextlib
import json
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import modes
import support
from support import Guideway, Hugepages, Process, Testpmd, progress

FLOWS = 4000
# The largest spread of the ratios of a mode that tells something.
MAX_SPREAD = 0.05
SHARES = (10, 50, 90)
# Size of a memif ring: a power of two, in packets.
RING = 12
MIB = 512
BUFFERS = 32767
POOL_CACHE = 256
BURST = 32
# A rate that no generator reaches.
FLOOD = 50e6
# Fraction by which a rate may miss the requested one.
PACE = 0.01
MEMIF = "net_memif{number},role={role},socket={socket},socket-abstract=no,rsize={ring}"
# Constants of testpmd's flowgen.
FLOWGEN_MAC = "00:01:02:03:04:01"
FLOWGEN_PORT = 1001
FLOWGEN_FLOWS = 1024
TXONLY = ("203.0.113.10", "udp", 80)


def memif(role, socket, number=0):
    return MEMIF.format(number=number, role=role, socket=socket, ring=RING)


class Generator(Process):
    """guideway-pair, with a connection to each program."""

    def __init__(self, directory, cpu, hugepages, lines):
        line = [support.program("guideway-pair"), "--cpu", cpu, "--flows", FLOWS]
        for number, (socket, inner) in enumerate(lines):
            line += ["--device", memif("client", socket, number), "--inner", inner]
        line += [] if hugepages.granted else ["--no-huge", MIB]
        super().__init__(line, directory / "generator.log", stdin=subprocess.PIPE, text=True, bufsize=1)

    def __enter__(self):
        super().__enter__()
        self.wait_for("ready\n")
        return self

    def trial(self, line, rate, seconds):
        before = len(self.log())
        self.child.stdin.write(f"{line} {rate:.0f} {seconds}\n")
        return json.loads(self.wait_for("\n", before, seconds + support.START_SECONDS)[before:])


class Subject:
    """A program that sends packets back: how to start and stop it, and its number in the generator."""

    def __init__(self, name, number, generator, start, stop):
        self.name, self.number, self.generator = name, number, generator
        self.start, self.stop = start, stop
        self.latency = {share: [] for share in SHARES}

    def trial(self, rate, seconds):
        return self.generator.trial(self.number, rate, seconds)

    @contextlib.contextmanager
    def running(self):
        self.start()
        # A packet a second after the first confirms a flow. Packets that were left in the rings come out.
        self.trial(100_000, 0.1)
        time.sleep(1.1)
        self.trial(100_000, 0.1)
        yield
        self.stop()

    def passes(self, rate, seconds):
        """The measured rate if no packet was lost, else none."""
        for _ in range(2):
            outcome = self.trial(rate, seconds)
            if outcome["whole"] and outcome["rate"] >= rate * (1 - PACE):
                return outcome["rate"]
            if outcome["strange"]:
                support.die(f"{self.name} sends back other packets: {outcome}")
        return None

    def search(self, seconds, steps):
        """The highest rate without loss."""
        flood = self.trial(FLOOD, seconds)
        low, high = 0.0, min(1.2 * flood["received"] / seconds, flood["rate"])
        for _ in range(steps):
            rate = (low + high) / 2
            passed = self.passes(rate, seconds)
            low, high = (passed, high) if passed else (low, rate)
        return low


def with_generator(options, hugepages, directory):
    """Throughput and latency of both programs, in rounds."""
    cpus = support.two_cpus()
    sockets = {name: directory / f"{name}.memif" for name in ("guideway", "testpmd")}
    ports = [support.port(memif("server", sockets["guideway"]))]
    configuration = support.configuration(directory, cpus[1], hugepages, MIB, ports, buffers=BUFFERS)
    arguments = [f"--burst={BURST}", f"--mbcache={POOL_CACHE}", f"--total-num-mbufs={BUFFERS}", "--forward-mode=io"]
    environment = [*support.environment(hugepages, MIB), f"--vdev={memif('server', sockets['testpmd'])}"]
    with contextlib.ExitStack() as stack:
        signalled = stack.enter_context(Guideway(directory, configuration)).child.send_signal
        signalled(signal.SIGSTOP)
        testpmd = stack.enter_context(Testpmd(directory, cpus, environment, arguments))
        # Connecting needs both sides running.
        signalled(signal.SIGCONT)
        lines = [(sockets["guideway"], 38), (sockets["testpmd"], 14)]
        generator = stack.enter_context(Generator(directory, cpus[0], hugepages, lines))
        signalled(signal.SIGSTOP)
        subjects = [
            Subject("guideway", 0, generator, lambda: signalled(signal.SIGCONT), lambda: signalled(signal.SIGSTOP)),
            Subject("testpmd io", 1, generator, lambda: testpmd.ask("start"), lambda: testpmd.ask("stop")),
        ]
        rounds = throughput(options, *subjects)
        full = full_rate(rounds)
        if full == 0:
            support.die("the appliance lost packets at every rate; is the machine busy?")
        for number in range(options.rounds):
            for share in SHARES:
                for subject in subjects:
                    with subject.running():
                        outcome = subject.trial(full * share / 100, options.latency_seconds)
                    subject.latency[share].append(outcome)
                    progress(
                        f"round {number + 1}: {subject.name} at {share} %: median {outcome['median_us']:.1f} µs, "
                        f"99.9 % {outcome['p999_us']:.1f} µs, {outcome['lost']} lost"
                    )
    return rounds, subjects


def throughput(options, guideway, testpmd):
    """The rates without loss, in rounds, until a mode of the machine tells something."""

    def search(subject, number):
        with subject.running():
            rate = subject.search(options.seconds, options.steps)
        progress(f"round {number}: {subject.name}: {rate / 1e6:.2f} million packets per second without loss")
        return rate

    rounds, before = [], search(testpmd, 0)
    for number in range(1, options.max_rounds + 1):
        rate, after = search(guideway, number), search(testpmd, number)
        rounds.append(modes.Round(before, rate, after))
        before = after
        if modes.telling(rounds, options.rounds, MAX_SPREAD):
            break
    return rounds


def full_rate(rounds):
    """Guideway's throughput in the slowest mode of the machine: less than it can take in any other."""
    slowest = [mode.rate for mode in modes.grouped(rounds)[-1:]]
    return support.median(slowest or [one.rate for one in rounds])


def with_testpmd(options, hugepages, directory):
    """Rates and verdicts of the appliance with each of testpmd's generators."""
    main, worker = support.two_cpus()
    found = {}
    generators = {
        "txonly, one flow": ["--forward-mode=txonly"],
        "txonly, multi-flow": ["--forward-mode=txonly", "--txonly-multi-flow"],
        "flowgen": ["--forward-mode=flowgen", f"--flowgen-flows={FLOWGEN_FLOWS}"],
    }
    services = [TXONLY] + [(f"10.253.{n // 256}.{n % 256}", "udp", FLOWGEN_PORT) for n in range(FLOWGEN_FLOWS)]
    for number, (name, arguments) in enumerate(generators.items()):
        place = directory / f"generator{number}"
        place.mkdir()
        socket = place / "memif"
        # txonly does not receive: the appliance sends to a device that accepts everything.
        ports = [
            support.port(memif("server", socket), mac=FLOWGEN_MAC),
            support.port("net_null0,no-rx=1", "core0", network="198.51.100"),
        ]
        configuration = support.configuration(place, worker, hugepages, MIB, ports, services, BUFFERS)
        arguments = [
            *arguments,
            "--txpkts=60",
            f"--burst={BURST}",
            f"--mbcache={POOL_CACHE}",
            f"--total-num-mbufs={BUFFERS}",
            f"--eth-peer=0,{FLOWGEN_MAC}",
            f"--tx-ip=198.18.0.1,{TXONLY[0]}",
            f"--tx-udp=1024,{TXONLY[2]}",
        ]
        environment = [*support.environment(hugepages, MIB), f"--vdev={memif('client', socket)}"]
        rates = []
        testpmd = Testpmd(place, (main, main), environment, arguments)
        with Guideway(place, configuration) as guideway, testpmd:
            testpmd.ask("start")
            time.sleep(0.5)
            for _ in range(options.rounds):
                first, began = guideway.counted()
                time.sleep(options.seconds)
                last, ended = guideway.counted()
                rates.append([(last[key] - first[key]) / (ended - began) for key in ("received", "transmitted")])
            testpmd.ask("stop")
            drops = {k: n for k, n in guideway.stats()["verdicts"].items() if n and k != "forwarded"}
        found[name] = rates, drops
        received, forwarded = (support.median(values) / 1e6 for values in zip(*rates, strict=True))
        progress(f"{name}: {received:.2f} million a second received, {forwarded:.2f} forwarded; {drops or 'no drops'}")
    return found


def throughput_table(rounds, least):
    """Both programs in each mode of the machine, and the ratio where the mode tells something."""
    groups = modes.grouped(rounds)
    rows = []
    for number, mode in enumerate(groups, 1):
        name = f"{number} of {len(groups)}"
        ratio = ["", ""]
        if mode.tells(least, MAX_SPREAD):
            ratio = [f"{support.median(mode.ratios):.2f}", percent(mode.ratios)]
        rates, baselines = [one.rate for one in mode.rounds], [one.baseline for one in mode.rounds]
        count = len(mode.rounds)
        rows.append([name, count, "guideway", f"{mode.rate / 1e6:.2f}", percent(rates), "", ""])
        rows.append([name, count, "testpmd io", f"{mode.baseline / 1e6:.2f}", percent(baselines), *ratio])
    columns = ["mode of the machine", "rounds", "program", "million packets per second", "spread"]
    return {
        "name": "throughput",
        "title": "Throughput without loss, 60-byte TCP, over memif",
        "columns": [*columns, "guideway's ratio to it", "its spread"],
        "rows": rows,
    }


def throughput_note(rounds, least):
    """What the rounds say about the machine."""
    groups = modes.grouped(rounds)
    left_out = len(rounds) - sum(len(mode.rounds) for mode in groups)
    text = f"Of {len(rounds)} rounds, {left_out} are left out, for testpmd's rate jumped within them. "
    if not modes.telling(rounds, least, MAX_SPREAD):
        text += (
            f"This machine cannot tell: in no mode {least} rounds had ratios with a spread of at most {MAX_SPREAD:.0%}, "
            "so there is no ratio. "
        )
    return text


def percent(values):
    return f"{100 * support.spread(values):.1f} %"


QUANTILES = (("median", "median_us"), ("99 %", "p99_us"), ("99.9 %", "p999_us"))


def latency_table(subjects):
    rows = []
    for share in SHARES:
        both = []
        for subject in subjects:
            outcomes = subject.latency[share]
            rate = support.median([o["rate"] for o in outcomes])
            values = [support.median([o[key] for o in outcomes]) for _, key in QUANTILES]
            both.append(values)
            lost = sum(o["lost"] for o in outcomes)
            rows.append([f"{share} %", f"{rate / 1e6:.2f}", subject.name, *(f"{v:.1f}" for v in values), lost])
        added = [f"{mine - base:+.1f}" for mine, base in zip(*both, strict=True)]
        rows.append([f"{share} %", "", "added", *added, ""])
    return {
        "name": "latency",
        "title": "Latency in µs, at shares of Guideway's throughput without loss",
        "columns": ["share", "million packets per second", "program", *(name for name, _ in QUANTILES), "lost"],
        "rows": rows,
    }


def generators_table(found):
    rows = []
    for name, (rates, drops) in found.items():
        received, forwarded = zip(*rates, strict=True)
        million = f"{support.median(received) / 1e6:.2f}", f"{support.median(forwarded) / 1e6:.2f}"
        text = ", ".join(f"{reason} {count:,}" for reason, count in drops.items()) or "none"
        rows.append([name, *million, f"{100 * support.spread(received):.1f} %", text])
    return {
        "name": "generators",
        "title": "What Guideway receives from testpmd's generators at full speed",
        "columns": ["generator", "received, million per second", "forwarded", "spread", "drops"],
        "rows": rows,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="at least, in one mode of the machine")
    parser.add_argument("--max-rounds", type=int, default=20, help="of throughput, if the machine changes its mode")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a trial of the search")
    parser.add_argument("--steps", type=int, default=8, help="of a search")
    parser.add_argument("--latency-seconds", type=float, default=1.0, help="of a trial for latency")
    options = parser.parse_args()
    before = support.load_average()
    with Hugepages(3 * MIB) as hugepages, tempfile.TemporaryDirectory(prefix="guideway-") as name:
        rounds, subjects = with_generator(options, hugepages, Path(name))
        found = with_testpmd(options, hugepages, Path(name))
    tables = [throughput_table(rounds, options.rounds), latency_table(subjects), generators_table(found)]
    tables[0]["note"] = (
        f"{throughput_note(rounds, options.rounds)}"
        f"Binary search in {options.steps} steps, trials of {options.seconds:g} s, in turns; "
        f"{FLOWS:,} flows; {hugepages}; rings of {2**RING:,} packets, bursts of {BURST}."
    )
    support.print_part("pair", before, tables, [], memory=str(hugepages))


if __name__ == "__main__":
    main()
