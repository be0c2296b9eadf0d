#!/usr/bin/python3
"""testpmd generates on one core, the appliance forwards on another, over a shared-memory device (net_memif).

    memif.py PROFILE [--encapsulation E] [--seconds S] [--packets N]

PROFILE is a profile of capture.py, which testpmd replays with testpmd/replay.cmd, or a command file in testpmd/:
udp, udp-constant or flowgen. Prints packets per second of both, a line for each trial until the spread is small,
and the appliance's counters. Needs no NIC, and uses hugepages if it can reserve them.

udp and udp-constant receive nothing: then the appliance sends to a second port that discards all packets. The
programs are those in target/release, or in $GUIDEWAY_BIN_DIR.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import capture

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "benches"))

import support  # noqa: E402 - its directory is in the path from here on

COMMANDS = {path.stem: path for path in (HERE / "testpmd").glob("*.cmd")}
REPLAY = "replay"
# Profiles whose packets testpmd makes itself.
MADE = sorted(set(COMMANDS) - {REPLAY})
MIB = 512
BUFFERS = 32768
SYN_ENTRIES, ENTRIES = 64, 1 << 20
FLOWGEN_SERVICES = 1024
MAX_SPREAD, LEAST, MOST = 0.02, 3, 15

SINK = """
[[port]]
name = "sink"
device = "net_null0,no-rx=1"
interface = "none"
addresses = ["198.51.100.1/24"]
mtu = 1600
mac = "02:00:00:00:00:02"
"""
FLOWGEN_SERVICE = """
[[service]]
name = "flowgen-{number}"
address = "10.253.{high}.{low}"
protocol = "udp"
port = 1001
pool = "web"
"""


def arguments(path):
    """testpmd's arguments from the lines of a command file that begin with `#:`."""
    found = re.findall(r"^#:(.*)$", path.read_text(), re.MULTILINE)
    return [*" ".join(found).split(), f"--cmdline-file={path}"]


def configuration(options, directory, cpu, hugepages):
    values = {
        "DEVICE": f"net_memif0,role=server,socket={directory}/memif.sock,socket-abstract=no",
        "CPU": str(cpu),
        "HUGEPAGES": str(hugepages.granted).lower(),
        "ENTRIES": str(SYN_ENTRIES if options.profile == "syn" else ENTRIES),
        "ENCAPSULATION": options.encapsulation,
        "SOCKET": f"{directory}/guideway.sock",
        "STATE": f"{directory}/state",
    }
    text = re.sub("@([A-Z]+)@", lambda found: values[found[1]], (HERE / "appliance.toml").read_text())
    if options.profile == "flowgen":
        text = text.replace('mac = "02:00:00:00:00:01"', 'mac = "00:01:02:03:04:01"')
        for number in range(FLOWGEN_SERVICES):
            text += FLOWGEN_SERVICE.format(number=number, high=number // 256, low=number % 256)
    elif options.profile in MADE:
        # The backends are reached by the second port.
        text = re.sub(r'"192\.0\.2\.(1\d)"', r'"198.51.100.\1"', text) + SINK
    return text


def generator(options, directory, cpus, hugepages):
    """testpmd, and the number of its port that leads to the appliance."""
    memif = f"--vdev=net_memif0,role=client,socket={directory}/memif.sock,socket-abstract=no"
    devices, name, port = [memif], options.profile, 0
    if name not in MADE:
        path = directory / f"{name}.pcap"
        capture.write(name, path, options.packets)
        devices, name, port = [f"--vdev=net_pcap0,rx_pcap={path},infinite_rx=1", memif], REPLAY, 1
    environment = [*support.environment(hugepages, MIB), *devices]
    return support.Testpmd(directory, cpus, environment, [f"--total-num-mbufs={BUFFERS}", *arguments(COMMANDS[name])]), port


class Sample:
    """The counts of both programs, and the time."""

    def __init__(self, testpmd, port, guideway):
        printed = testpmd.ask(f"show port stats {port}")
        self.time = time.monotonic()
        stats = guideway.stats()
        counts = [int(re.search(rf"{kind}-packets: (\d+)", printed)[1]) for kind in ("TX", "RX")]
        self.counts = [*counts, stats["received"], stats["transmitted"]]

    def rates(self, before):
        return [(now - then) / (self.time - before.time) for now, then in zip(self.counts, before.counts, strict=True)]


def line(name, values, form="{:14,.0f}"):
    print(f"{name:>8}" + "".join(form.format(value) for value in values), flush=True)


def measure(options, testpmd, port, guideway):
    print(f"{options.profile}, {options.encapsulation}: {options.seconds:g} s a trial, load average {support.load_average():.2f}")
    print("   trial" + "".join(f"{name:>14}" for name in ("sent/s", "back/s", "received/s", "forwarded/s")))
    testpmd.ask("start")
    time.sleep(1)
    rows, before = [], Sample(testpmd, port, guideway)
    while len(rows) < MOST:
        time.sleep(options.seconds)
        now = Sample(testpmd, port, guideway)
        rows.append(now.rates(before))
        before = now
        line(len(rows), rows[-1])
        columns = list(zip(*rows, strict=True))
        if len(rows) >= LEAST and support.spread(columns[2]) <= MAX_SPREAD:
            break
    testpmd.ask("stop")
    line("median", map(support.median, columns))
    line("spread", [100 * support.spread(column) if any(column) else 0 for column in columns], "{:13.1f}%")
    print(f"load average {support.load_average():.2f}\n")
    stats = guideway.stats()
    for kind in ("verdicts", "events"):
        for name, count in stats[kind].items():
            if count:
                print(f"{kind[:-1]:<8} {name:<20} {count:>14,}")
    if not stats["received"]:
        support.die("nothing arrived at the appliance")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", choices=[*capture.PROFILES, *MADE])
    parser.add_argument("--encapsulation", default="gre", help="as pool.encapsulation in docs/configuration.md")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a trial")
    parser.add_argument("--packets", type=int, default=1200, help="of the capture")
    options = parser.parse_args()
    if os.environ.get("GUIDEWAY_BIN_DIR"):
        support.BIN = Path(os.environ["GUIDEWAY_BIN_DIR"])
    generating, forwarding = support.two_cpus()
    with support.Hugepages(2 * MIB) as hugepages, tempfile.TemporaryDirectory(prefix="guideway-") as name:
        directory = Path(name)
        appliance = support.Guideway(directory, configuration(options, directory, forwarding, hugepages))
        testpmd, port = generator(options, directory, (forwarding, generating), hugepages)
        with appliance as guideway, testpmd:
            measure(options, testpmd, port, guideway)


if __name__ == "__main__":
    main()
