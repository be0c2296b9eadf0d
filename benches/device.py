"""Part `device`: the appliance beside testpmd, one core each, on a device that never runs dry.

The device is DPDK's net_pcap with infinite_rx: it copies the packets of a capture into new buffers, over and
over, and frees packets that are sent. So testpmd's mode `io`, which touches no packet, is the upper bound for
any program. `macswap` writes 12 bytes of each packet; `5tswap` parses it and exchanges its addresses and ports.

The appliance is measured with plain packets that it sends by GRE, with packets that have a VLAN tag, and with IPIP,
by a process for each. Only the first is compared with testpmd, the others with the first.

All run on the same core, with the same number of buffers, pool cache and burst size, and in turns within each
round: testpmd changes its mode, and an appliance is stopped (SIGSTOP) while others forward.

The rate of one build differs from one start of its process to the next, because its memory lies elsewhere. So there
are several runs, each with new processes, and a claim must hold in every one: the least median counts.
"""

import argparse
import contextlib
import dataclasses
import signal
import socket
import struct
import tempfile
import time
from pathlib import Path

import support
from support import Guideway, Hugepages, Testpmd, progress


@dataclasses.dataclass(frozen=True)
class Appliance:
    """What an appliance gets and sends."""

    name: str
    packets: str
    tagged: bool = False
    encapsulation: str = "gre"


PLAIN = Appliance("guideway", "plain GRE")
OTHERS = (
    Appliance("guideway, tagged", "tagged packets", tagged=True),
    Appliance("guideway, IPIP", "IPIP", encapsulation="ipip"),
)
MODES = ("io", "macswap", "5tswap")
# Numbers of flows, the number of runs with them, and which appliances run.
FLOWS = {4000: (3, (PLAIN, *OTHERS)), 30000: (1, (PLAIN,))}
# The modes with a claim, and the least share of their rate.
CLAIMS = (("5tswap", 0.85), ("io", 0.55))
CLAIM_FLOWS = 4000
# The least share of the rate of plain packets by GRE.
OTHERS_TARGET = 0.9
# The appliance's own values: POOL_CACHE in forwarder/src/appliance, BURST in forwarder/src/dpdk/burst.rs.
POOL_CACHE = 256
BURST = 32
# Enough for the capture, and as many again for packets in work.
BUFFERS = 65535
MIB = 512
# Hugepages of one process, in MiB: a buffer has up to 3 KiB with its headers, and half of that again is spare.
PROCESS_MIB = BUFFERS * 3 // 1024 * 3 // 2
VLAN = 100
# Seconds until the rate is steady.
SETTLE = 0.1
# Seconds until flows that begin without a SYN are confirmed, by a packet a second later.
CONFIRMED = 1.5
MAX_SPREAD = 0.02


def checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(number, tagged=False):
    """60 bytes of TCP, an ACK, and 4 of the tag; each number is another flow. No program under test verifies the TCP
    checksum."""
    source = socket.inet_aton(f"198.18.{number // 250 % 250}.{1 + number % 250}")
    target = socket.inet_aton("203.0.113.10")
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 64, 6, 0, source, target)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    tcp = struct.pack("!HHIIBBHHH", 1024 + number % 60000, 80, 1, 1, 0x50, 0x10, 65535, 0, 0)
    tag = struct.pack("!HH", 0x8100, VLAN) if tagged else b""
    packet = bytes.fromhex("0800") + ip + tcp
    return bytes.fromhex("0200000000010200000000fe") + tag + packet.ljust(48, b"\0")


def write_capture(path, flows, tagged=False):
    with path.open("wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number in range(flows):
            data = frame(number, tagged)
            file.write(struct.pack("=IIII", 0, 0, len(data), len(data)) + data)


def rate(transmitted, seconds):
    """Packets per second over some time, from a function that returns packets and time."""
    time.sleep(SETTLE)
    first, began = transmitted()
    time.sleep(seconds)
    last, ended = transmitted()
    return (last - first) / (ended - began)


def testpmd_rate(testpmd, mode, seconds):
    testpmd.ask(f"set fwd {mode}")
    testpmd.ask("start")
    measured = rate(testpmd.transmitted, seconds)
    testpmd.ask("stop")
    return measured


def guideway_rate(guideway, seconds):
    guideway.child.send_signal(signal.SIGCONT)
    measured = rate(guideway.transmitted, seconds)
    stats = guideway.stats()
    guideway.child.send_signal(signal.SIGSTOP)
    return measured, stats


def check(name, stats, flows):
    """Fails unless an appliance forwarded packets of known flows and lost none."""
    received, forwarded = stats["received"], stats["verdicts"].get("forwarded", 0)
    if received - forwarded > received / 1000:
        support.die(f"{name} forwarded {forwarded} of {received} packets: {stats['verdicts']}")
    known = stats["events"].get("flow_hit", 0)
    if known < forwarded * 0.99:
        support.die(f"{name}: only {known} of {forwarded} packets were of known flows, of which there are {flows}")


def device(directory, flows, tagged=False):
    """The device with so many flows, whose capture may be there already."""
    capture = directory / f"{flows}{'-tagged' if tagged else ''}.pcap"
    if not capture.exists():
        write_capture(capture, flows, tagged)
    return f"net_pcap0,rx_pcap={capture},infinite_rx=1"


@contextlib.contextmanager
def started(appliance, number, flows, cpu, hugepages, directory):
    """An appliance that knows its flows and is stopped."""
    ports = [support.port(device(directory, flows, appliance.tagged))]
    place = directory / f"appliance{number}"
    place.mkdir(exist_ok=True)
    configuration = support.configuration(
        place, cpu, hugepages, MIB, ports, buffers=BUFFERS, encapsulation=appliance.encapsulation
    )
    with Guideway(place, configuration) as guideway:
        time.sleep(CONFIRMED)
        guideway.child.send_signal(signal.SIGSTOP)
        yield guideway


def measure(flows, appliances, options, hugepages, directory):
    """Packets per second of each program, by round."""
    cpus = support.two_cpus()
    arguments = [f"--burst={BURST}", f"--mbcache={POOL_CACHE}", f"--total-num-mbufs={BUFFERS}"]
    arguments += ["--rxd=1024", "--txd=1024"]
    environment = [*support.environment(hugepages, MIB), f"--vdev={device(directory, flows)}"]
    rates = {name: [] for name in (*MODES, *(appliance.name for appliance in appliances))}
    with contextlib.ExitStack() as stack:
        testpmd = stack.enter_context(Testpmd(directory, cpus, environment, arguments))
        running = {
            appliance.name: stack.enter_context(started(appliance, n, flows, cpus[1], hugepages, directory))
            for n, appliance in enumerate(appliances)
        }
        for number in range(options.max_rounds):
            stats = {}
            for mode in MODES:
                rates[mode].append(testpmd_rate(testpmd, mode, options.seconds))
            for name, guideway in running.items():
                measured, stats[name] = guideway_rate(guideway, options.seconds)
                rates[name].append(measured)
            text = ", ".join(f"{name} {values[-1] / 1e6:.2f}" for name, values in rates.items())
            progress(f"{flows} flows, round {number + 1}: {text} million packets per second")
            widest = max(support.spread(ratios(rates, PLAIN.name, name)) for name in rates)
            if number + 1 >= options.rounds and widest <= MAX_SPREAD:
                break
        for name, of_appliance in stats.items():
            check(name, of_appliance, flows)
    return rates


def ratios(rates, name, other):
    """The rate of one over that of another, by round."""
    return [mine / its for mine, its in zip(rates[name], rates[other], strict=True)]


def rows(flows, run, rates):
    """Rates beside testpmd's: one row for each program."""
    for name in (*MODES, PLAIN.name):
        values = rates[name]
        million = support.median(values) / 1e6
        row = [flows, run, name, f"{million:.2f}", f"{1e3 / million:.1f}", f"{100 * support.spread(values):.1f} %"]
        if name == PLAIN.name:
            yield [*row, "", ""]
        else:
            yield [*row, *with_spread(ratios(rates, PLAIN.name, name))]


def other_rows(run, rates):
    """Rates of the other appliances beside that for plain packets by GRE."""
    for appliance in OTHERS:
        values = rates[appliance.name]
        million = support.median(values) / 1e6
        row = [run, appliance.name, f"{million:.2f}", f"{1e3 / million:.1f}", f"{100 * support.spread(values):.1f} %"]
        yield [*row, *with_spread(ratios(rates, appliance.name, PLAIN.name))]


def with_spread(values):
    return f"{support.median(values):.3f}", f"{100 * support.spread(values):.1f} %"


def claims(runs):
    """The claims on runs of the same programs: each run must keep them."""
    rate = f"Packets per second on a device, {CLAIM_FLOWS:,} flows"
    each = [(f"{rate}, over testpmd's in {mode}", PLAIN.name, mode, target) for mode, target in CLAIMS]
    each += [(f"{rate}, {other.packets} over {PLAIN.packets}", other.name, PLAIN.name, OTHERS_TARGET) for other in OTHERS]
    for text, name, other, target in each:
        least = min((ratios(rates, name, other) for rates in runs), key=support.median)
        yield support.claim(f"{text}, the least of {len(runs)} runs", "at least", target, "", least)


def tables(measured, options, hugepages):
    """The tables of what was measured, which is the runs by the number of flows."""
    rounds = min(len(rates[PLAIN.name]) for runs in measured.values() for rates in runs)
    columns = ["million packets per second", "ns per packet", "spread"]
    yield {
        "name": "device",
        "title": "One core on net_pcap, infinite_rx, 60-byte TCP",
        "columns": ["flows", "run", "program", *columns, "guideway's ratio to it", "its spread"],
        "rows": [
            row for flows, runs in measured.items() for run, rates in enumerate(runs, 1) for row in rows(flows, run, rates)
        ],
        "note": f"In turns, {options.seconds:g} s each, {rounds} rounds or more; {hugepages}; {BUFFERS:,} buffers, "
        f"bursts of {BURST}, {POOL_CACHE} buffers in the pool's cache.",
    }
    if CLAIM_FLOWS in measured:
        yield {
            "name": "others",
            "title": f"Tagged packets, and IPIP, {CLAIM_FLOWS:,} flows",
            "columns": ["run", "program", *columns, "its ratio to plain GRE", "the ratio's spread"],
            "rows": [row for run, rates in enumerate(measured[CLAIM_FLOWS], 1) for row in other_rows(run, rates)],
            "note": "In the same rounds as the table above.",
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each in a round")
    parser.add_argument("--rounds", type=int, default=7, help="at least")
    parser.add_argument("--max-rounds", type=int, default=15, help="if the spread stays large")
    parser.add_argument("--flows", type=int, nargs="+", choices=list(FLOWS), default=list(FLOWS))
    options = parser.parse_args()
    before = support.load_average()
    measured = {flows: [] for flows in options.flows}
    processes = 1 + max(len(FLOWS[flows][1]) for flows in measured)
    with Hugepages(processes * PROCESS_MIB) as hugepages, tempfile.TemporaryDirectory(prefix="guideway-") as name:
        for flows, runs in measured.items():
            count, appliances = FLOWS[flows]
            for run in range(count):
                progress(f"{flows} flows, run {run + 1} of {count}")
                runs.append(measure(flows, appliances, options, hugepages, Path(name)))
    held = list(claims(measured[CLAIM_FLOWS])) if CLAIM_FLOWS in measured else []
    support.print_part("device", before, list(tables(measured, options, hugepages)), held, memory=str(hugepages))


if __name__ == "__main__":
    main()
