#!/usr/bin/python3
"""The slow path under load: how long a ping to the node takes, and whether BGP sessions with BFD stay up.

    benches/slow_path.py [--seconds S] [--bin DIRECTORY]

Namespaces hold an appliance with one worker on a veth (net_af_packet), BIRD in its namespace, a router with BIRD, and
the sender of all load. First comes the greatest rate of data of which no packet is lost. Then the sessions must stay up
for S seconds (60) under four fifths of that rate, with floods of ARP, of pings, of UDP to the node and of port 179 beside
it. Sessions: from the addresses of the interface and from a loopback (multihop), BFD 3 x 100 ms. Needs root and BIRD.
"""

import argparse
import contextlib
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/live")]

# Seconds of a trial of one rate.
TRIAL = 3
# The first rate of data, packets a second, and the precision of the last.
FIRST, PRECISION = 10_000, 0.05
LOAD = 0.8
PINGS = 500
# Offset of the UDP source port in a frame over IPv4.
SOURCE_PORT = 34


def data(site, rate):
    from support.hosts import Flood
    from support.packets import client_packet, flow

    return Flood(site.attacker, client_packet(flow(4, "udp", 7, 6000), payload=bytes(8)).frame, rate, SOURCE_PORT)


def forwarded(site):
    return site.daemon.ask("stats")["verdicts"]["forwarded"]


def trial(site, rate):
    """Sends at a rate. Returns packets sent a second, and how many were lost."""
    before, begin = forwarded(site), time.monotonic()
    with data(site, rate) as flood:
        time.sleep(TRIAL)
    sent, seconds = flood.stop(), time.monotonic() - begin
    time.sleep(0.5)
    return sent / seconds, sent - (forwarded(site) - before)


def no_drop_rate(site):
    """The greatest rate without loss; a sender that cannot send more ends the search too."""
    good, bad, rate = 0, None, FIRST
    while bad is None or bad - good > PRECISION * good:
        sent, lost = trial(site, int(rate))
        print(f"  {sent:>9,.0f} packets/s: {lost} lost", flush=True)
        if lost:
            bad = rate
        elif sent < 0.9 * rate:
            return sent, True
        else:
            good = rate
        rate = (good + bad) / 2 if bad else rate * 1.5
    return good, False


def pings(site):
    """Round trips from the router to the node, in milliseconds."""
    said = site.router.run("ping", "-n", "-c", PINGS, "-i", "0.01", "192.0.2.1").stdout
    return [float(found) for found in re.findall(r"time=([0-9.]+) ms", said)]


def show(what, times):
    quantiles = statistics.quantiles(times, n=100)
    print(f"  {what}: median {statistics.median(times):.2f} ms, 99 % {quantiles[98]:.2f} ms, {len(times)} of {PINGS} answered")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--bin", default=str(ROOT / "target/release"))
    options = parser.parse_args()
    os.environ.setdefault("GUIDEWAY_BIN_DIR", options.bin)
    import test_bgp as bgp
    from support.hosts import Fabric

    with Fabric() as fabric, tempfile.TemporaryDirectory() as directory:
        fabric.end = fabric.cable("gw0", fabric.bridge("edge"))
        with bgp.Site(fabric, Path(directory)).up() as site:
            print("idle")
            show("ping", pings(site))
            print("data alone")
            best, is_senders = no_drop_rate(site)
            print(f"no packet is lost at {best:,.0f} packets/s" + (", which is all that the sender sends" if is_senders else ""))
            load = int(LOAD * best)
            print(f"{load:,} packets/s of data")
            with data(site, load):
                show("ping", pings(site))
            print(f"{load:,} packets/s of data, and all floods, for {options.seconds:.0f} s")
            with contextlib.ExitStack() as stack, site.stays_up():
                stack.enter_context(data(site, load))
                for name in ("arp", "pings", "udp", "bgp"):
                    stack.enter_context(bgp.BURDENS[name](site))
                end = time.monotonic() + options.seconds
                show("ping", pings(site))
                time.sleep(max(0, end - time.monotonic()))
            print("  all sessions stayed up")
            for row in site.daemon.ask("punt", "list"):
                print(f"  {row['class']}: {row['punted']:,} punted, {row['limited']:,} beyond the limit")


if __name__ == "__main__":
    main()
