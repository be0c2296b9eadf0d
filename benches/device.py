#!/usr/bin/python3
"""Part `device`: the appliance beside testpmd, one core each, on a device that never runs dry.

The device is DPDK's net_pcap with infinite_rx: it copies the packets of a capture into new buffers, over and
over, and frees packets that are sent. So testpmd's mode `io`, which touches no packet, is the upper bound for
any program. `macswap` writes 12 bytes of each packet; `5tswap` parses it and exchanges its addresses and ports.

All run on the same core, with the same number of buffers, pool cache and burst size, and in turns within each
round: testpmd changes its mode, and the appliance is stopped (SIGSTOP) while testpmd forwards.
"""

import argparse
import signal
import socket
import struct
import tempfile
import time
from pathlib import Path

import support
from support import Guideway, Hugepages, Testpmd, progress

FLOWS = (4000, 30000)
MODES = ("io", "macswap", "5tswap")
APPLIANCE = "guideway"
# The modes with a claim, the least share of their rate, and the number of flows.
CLAIMS = (("5tswap", 0.75), ("io", 0.5))
CLAIM_FLOWS = 4000
# The appliance's own values: POOL_CACHE in forwarder/src/appliance, BURST in forwarder/src/dpdk/burst.rs.
POOL_CACHE = 256
BURST = 32
# Enough for the capture, and as many again for packets in work.
BUFFERS = 65535
MIB = 512
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


def frame(number):
    """60 bytes of TCP, an ACK; each number is another flow. No program under test verifies the TCP checksum."""
    source = socket.inet_aton(f"198.18.{number // 250 % 250}.{1 + number % 250}")
    target = socket.inet_aton("203.0.113.10")
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 64, 6, 0, source, target)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    tcp = struct.pack("!HHIIBBHHH", 1024 + number % 60000, 80, 1, 1, 0x50, 0x10, 65535, 0, 0)
    return (bytes.fromhex("0200000000010200000000fe0800") + ip + tcp).ljust(60, b"\0")


def write_capture(path, flows):
    with path.open("wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number in range(flows):
            data = frame(number)
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


def check(stats, flows):
    """Fails unless the appliance forwarded packets of known flows and lost none."""
    received, forwarded = stats["received"], stats["verdicts"].get("forwarded", 0)
    if received - forwarded > received / 1000:
        support.die(f"the appliance forwarded {forwarded} of {received} packets: {stats['verdicts']}")
    known = stats["events"].get("flow_hit", 0)
    if known < forwarded * 0.99:
        support.die(f"only {known} of {forwarded} packets were of known flows, of which there are {flows}")


def measure(flows, options, hugepages, directory):
    """Packets per second of each program, by round."""
    cpus = support.two_cpus()
    capture = directory / f"{flows}.pcap"
    write_capture(capture, flows)
    device = f"net_pcap0,rx_pcap={capture},infinite_rx=1"
    memory = support.environment(hugepages, MIB)
    arguments = [f"--burst={BURST}", f"--mbcache={POOL_CACHE}", f"--total-num-mbufs={BUFFERS}"]
    arguments += ["--rxd=1024", "--txd=1024"]
    configuration = support.configuration(directory, cpus[1], hugepages, MIB, [support.port(device)], buffers=BUFFERS)
    rates = {name: [] for name in (*MODES, APPLIANCE)}
    environment = [*memory, f"--vdev={device}"]
    with (
        Testpmd(directory, cpus, environment, arguments) as testpmd,
        Guideway(directory, configuration) as guideway,
    ):
        time.sleep(CONFIRMED)
        guideway.child.send_signal(signal.SIGSTOP)
        for number in range(options.max_rounds):
            for mode in MODES:
                rates[mode].append(testpmd_rate(testpmd, mode, options.seconds))
            measured, stats = guideway_rate(guideway, options.seconds)
            rates[APPLIANCE].append(measured)
            text = ", ".join(f"{name} {values[-1] / 1e6:.2f}" for name, values in rates.items())
            progress(f"{flows} flows, round {number + 1}: {text} million packets per second")
            widest = max(support.spread(ratios(rates, mode)) for mode in MODES)
            if number + 1 >= options.rounds and widest <= MAX_SPREAD:
                break
        check(stats, flows)
    return rates


def ratios(rates, mode):
    """The appliance's rate over testpmd's, by round."""
    return [mine / other for mine, other in zip(rates[APPLIANCE], rates[mode], strict=True)]


def rows(flows, rates):
    for name, values in rates.items():
        million = support.median(values) / 1e6
        row = [flows, name, f"{million:.2f}", f"{1e3 / million:.1f}", f"{100 * support.spread(values):.1f} %"]
        if name == APPLIANCE:
            yield [*row, "", ""]
        else:
            compared = ratios(rates, name)
            yield [*row, f"{support.median(compared):.3f}", f"{100 * support.spread(compared):.1f} %"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each in a round")
    parser.add_argument("--rounds", type=int, default=7, help="at least")
    parser.add_argument("--max-rounds", type=int, default=15, help="if the spread stays large")
    parser.add_argument("--flows", type=int, nargs="+", default=list(FLOWS))
    options = parser.parse_args()
    before = support.load_average()
    measured = {}
    with Hugepages(3 * BUFFERS * 3 // 1024) as hugepages, tempfile.TemporaryDirectory(prefix="guideway-") as name:
        for flows in options.flows:
            measured[flows] = measure(flows, options, hugepages, Path(name))
    columns = ["flows", "program", "million packets per second", "ns per packet", "spread"]
    columns += ["guideway's ratio to it", "its spread"]
    table = {
        "name": "device",
        "title": "One core on net_pcap, infinite_rx, 60-byte TCP",
        "columns": columns,
        "rows": [row for flows, rates in measured.items() for row in rows(flows, rates)],
        "note": f"In turns, {options.seconds:g} s each, {min(len(r['io']) for r in measured.values())} rounds or more; "
        f"{hugepages}; {BUFFERS:,} buffers, bursts of {BURST}, {POOL_CACHE} buffers in the pool's cache.",
    }
    claims = [
        support.claim(
            f"Packets per second on a device, {CLAIM_FLOWS:,} flows, over testpmd's in {mode}",
            "at least",
            target,
            "",
            ratios(measured[CLAIM_FLOWS], mode),
        )
        for mode, target in CLAIMS
        if CLAIM_FLOWS in measured
    ]
    support.print_part("device", before, [table], claims, memory=str(hugepages))


if __name__ == "__main__":
    main()
