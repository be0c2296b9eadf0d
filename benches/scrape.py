#!/usr/bin/python3
"""Part `scrape`: what a scrape of the largest configuration costs, and what it takes from a worker.

10,000 services, 200 pools of 100 backends; one worker forwards as fast as it can on DPDK's pcap device. Rounds have two
parts: one without scrapes, and one in which a client scrapes once a second while another asks /healthz. Ten slow readers
hold a scrape each all the time. The worker's rate with scrapes over its rate without is a ratio within the round.

    benches/scrape.py [--seconds S] [--rounds N] [--soak SCRAPES]

`--soak` scrapes so often, once a second, and shows the memory of the process.
"""

import argparse
import contextlib
import http.client
import re
import socket
import tempfile
import threading
import time
from pathlib import Path

import device
import support
from support import Guideway, Hugepages, progress

ADDRESS = ("127.0.0.1", 9429)
SERVICES, POOLS, BACKENDS = 10_000, 199, 100
FLOWS = 4000
MIB = 512
SLOW_READERS = 10
# Seconds between two questions about health.
HEALTH_PAUSE = 0.02
TARGET_SCRAPE_MS, TARGET_HEALTH_MS, TARGET_RATIO = 300, 50, 0.99


def configuration(directory, cpu, hugepages, device_name):
    """The largest configuration, whose first service has the traffic."""
    text = support.configuration(directory, cpu, hugepages, MIB, [support.port(device_name)], buffers=device.BUFFERS)
    rest = [f'[metrics]\nlisten = ["{ADDRESS[0]}:{ADDRESS[1]}"]\n']
    for pool in range(POOLS):
        members = ",\n".join(
            f'    {{ name = "b{n}", address = "10.{1 + pool // 100}.{pool % 100}.{1 + n}" }}' for n in range(BACKENDS)
        )
        rest.append(f'[[pool]]\nname = "p{pool}"\nbackends = [\n{members}\n]\n')
    for number in range(SERVICES - 1):
        rest.append(
            f'[[service]]\nname = "service{number}"\naddress = "198.51.{100 + number // 250 % 100}.{1 + number % 250}"\n'
            f'protocol = "tcp"\nport = 443\npool = "p{number % POOLS}"\n'
        )
    return text + "".join(rest)


def get(path):
    """The body of a page, its status, and the milliseconds that it took."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(*ADDRESS, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    return body, response.status, 1e3 * (time.monotonic() - began)


class Scraping:
    """Scrapes once a second, and asks about health, until it is left."""

    def __init__(self):
        self.scrapes, self.health, self.failed = [], [], []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.scrape), threading.Thread(target=self.ask)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def note(self, path, to):
        body, status, took = get(path)
        to.append(took)
        if status != 200:
            self.failed.append(f"{path}: {status}: {body[:200]!r}")

    def scrape(self):
        while not self.over.wait(1.01):
            self.note("/metrics", self.scrapes)

    def ask(self):
        while not self.over.wait(HEALTH_PAUSE):
            self.note("/healthz", self.health)


@contextlib.contextmanager
def slow_readers():
    """Clients that ask for a scrape and read a byte now and then."""
    over = threading.Event()

    def read():
        while not over.is_set():
            with contextlib.suppress(OSError), socket.create_connection(ADDRESS) as client:
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                while not over.wait(0.5) and client.recv(1):
                    pass

    threads = [threading.Thread(target=read) for _ in range(SLOW_READERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def resident(guideway):
    """Kilobytes of memory of the process."""
    status = Path(f"/proc/{guideway.child.pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1])


def soak(guideway, scrapes):
    """Scrapes once a second. Returns kilobytes of memory after a tenth of the scrapes, and at the end."""
    readings = []
    for number in range(scrapes):
        _, status, took = get("/metrics")
        if status != 200:
            support.die(f"scrape {number}: status {status}")
        readings.append(resident(guideway))
        if number % max(1, scrapes // 20) == 0:
            progress(f"scrape {number}: {took:.0f} ms, {readings[-1]:,} kB")
        time.sleep(max(0, 1.01 - took / 1e3))
    return readings[scrapes // 10], readings[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5, help="of each part of a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--soak", type=int, default=60, metavar="SCRAPES")
    options = parser.parse_args()
    before = support.load_average()
    cpus = support.two_cpus()
    ratios, scraping = [], Scraping()
    with Hugepages(3 * device.BUFFERS * 3 // 1024) as hugepages, tempfile.TemporaryDirectory(prefix="guideway-") as name:
        directory = Path(name)
        capture = directory / "flows.pcap"
        device.write_capture(capture, FLOWS)
        text = configuration(directory, cpus[1], hugepages, f"net_pcap0,rx_pcap={capture},infinite_rx=1")
        with Guideway(directory, text) as guideway:
            time.sleep(device.CONFIRMED)
            body, _, _ = get("/metrics")
            series = sum(1 for line in body.splitlines() if line and not line.startswith(b"#"))
            with slow_readers():
                for number in range(options.rounds):
                    alone = device.rate(guideway.transmitted, options.seconds)
                    with Scraping() as current:
                        beside = device.rate(guideway.transmitted, options.seconds)
                    for found, to in ((current.scrapes, scraping.scrapes), (current.health, scraping.health)):
                        to.extend(found)
                    if current.failed:
                        support.die("\n".join(current.failed))
                    ratios.append(beside / alone)
                    progress(
                        f"round {number + 1}: {alone / 1e6:.2f} and {beside / 1e6:.2f} million packets per second, "
                        f"scrapes {', '.join(f'{took:.0f}' for took in current.scrapes)} ms, "
                        f"healthz {max(current.health):.0f} ms at most"
                    )
            early, late = soak(guideway, options.soak) if options.soak else (resident(guideway),) * 2
    table = {
        "name": "scrape",
        "title": f"Scrapes of {SERVICES:,} services and {(POOLS + 1) * BACKENDS:,} backends",
        "columns": [
            "series",
            "bytes",
            "scrape, median ms",
            "scrape, most ms",
            "/healthz, median ms",
            "/healthz, most ms",
            f"memory after {options.soak // 10} scrapes, kB",
            f"after {options.soak}",
        ],
        "rows": [
            [
                f"{series:,}",
                f"{len(body):,}",
                f"{support.median(scraping.scrapes):.0f}",
                f"{max(scraping.scrapes):.0f}",
                f"{support.median(scraping.health):.1f}",
                f"{max(scraping.health):.1f}",
                f"{early:,}",
                f"{late:,}",
            ]
        ],
        "note": f"One worker at its greatest rate, {SLOW_READERS} slow readers; {options.rounds} rounds of "
        f"{options.seconds:g} s without scrapes and {options.seconds:g} s with one a second; {hugepages}.",
    }
    claims = [
        support.claim(
            "Milliseconds of a scrape of the largest configuration", "at most", TARGET_SCRAPE_MS, "ms", scraping.scrapes
        ),
        support.claim(
            "Milliseconds of /healthz beside scrapes and slow readers, at most",
            "at most",
            TARGET_HEALTH_MS,
            "ms",
            [max(scraping.health)],
        ),
        support.claim("A worker's rate with scrapes over its rate without", "at least", TARGET_RATIO, "", ratios),
        support.claim("Memory after the soak over that after a tenth of it", "at most", 1.02, "", [late / early]),
    ]
    support.print_part("scrape", before, [table], claims, memory=str(hugepages))


if __name__ == "__main__":
    main()
