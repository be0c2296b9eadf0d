#!/usr/bin/python3
"""Makes real TCP connections to the lab's virtual addresses, and compares each server's share.

    ci/lab.sh exec clients ci/lab/drive.py --weight s1=1 --weight s2=1 --weight s3=2

Each connection is new, from the next client address in turn, and requests one page, which is the server's
name. Prints a table. Exits 1 if a connection failed, or if a share differs from its weight's share by more
than the tolerance (relative to that share).

The number of connections: the hash assigns them at random, so the relative standard deviation of a share p is
sqrt((1 - p) / (p n)). For p = 1/4 and n = 6000 it is 2.2 %, so the default tolerance of 10 % is 4.5 of them.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=6000)
    parser.add_argument("--uploads", type=int, default=32, help="in full-size packets")
    parser.add_argument("--upload-bytes", type=int, default=256 << 10, help="of each upload")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one connection")
    parser.add_argument("--give-up", type=int, default=100, metavar="N", help="after N failed connections")
    parser.add_argument("--tolerance", type=float, default=0.10)
    parser.add_argument("--weight", action="append", required=True, metavar="SERVER=WEIGHT")
    parser.add_argument("--vip", action="append", metavar="ADDRESS")
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args()
    options.vip = options.vip or ["203.0.113.10", "2001:db8:f::10"]
    options.weight = {name: int(value) for name, value in (w.split("=") for w in options.weight)}
    return options


CHUNK = 64 << 10


def clients_of(vip):
    """The lab's client addresses of the VIP's family."""
    form = "2001:db8:c::{}" if ":" in vip else "198.51.100.{}"
    return [form.format(number) for number in range(1, 9)]


async def fetch(source, vip, port, size):
    """Makes one connection. Sends a body of `size` bytes, and returns the server's name."""
    reader, writer = await asyncio.open_connection(vip, port, local_addr=(source, 0))
    try:
        host = f"[{vip}]" if ":" in vip else vip
        request = "POST /upload" if size else "GET /"
        head = f"{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        writer.write(f"{head}Content-Length: {size}\r\n\r\n".encode())
        for begin in range(0, size, CHUNK):
            writer.write(bytes(min(CHUNK, size - begin)))
            await writer.drain()
        response = await reader.read()
    finally:
        writer.close()
    head, _, body = response.partition(b"\r\n\r\n")
    name, *received = body.decode().split() or [""]
    if not head.startswith(b"HTTP/1.1 200 ") or received != ([str(size)] if size else []):
        raise ValueError(f"unexpected response {response[:60]!r}")
    return name


class Run:
    """The results of some connections."""

    def __init__(self):
        self.served = Counter()
        self.errors = Counter()
        self.families = Counter()
        self.slowest = 0.0
        self.begun = time.monotonic()

    @property
    def done(self):
        return self.served.total() + self.errors.total()

    async def drive(self, options, connections, size=0):
        """Makes so many connections, a limited number at a time."""
        plan = iter(range(connections))
        # Of families with unlike numbers of clients, the smaller number.
        sources = zip(*map(clients_of, options.vip), strict=False)
        pairs = [(source, vip) for row in sources for source, vip in zip(row, options.vip, strict=True)]

        async def client():
            for number in plan:
                if self.errors.total() >= options.give_up:
                    return
                source, vip = pairs[number % len(pairs)]
                begun = time.monotonic()
                try:
                    name = await asyncio.wait_for(fetch(source, vip, options.port, size), options.timeout)
                    self.served[name] += 1
                    self.families["IPv6" if ":" in vip else "IPv4"] += 1
                except (TimeoutError, OSError, ValueError) as error:
                    self.errors[f"{vip}: {type(error).__name__} {error}".strip()] += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)

        workers = [asyncio.create_task(client()) for _ in range(options.concurrency)]
        progress = asyncio.create_task(self.show(connections))
        await asyncio.gather(*workers)
        progress.cancel()
        return self

    async def show(self, connections):
        """Shows progress, only on a terminal."""
        while sys.stderr.isatty():
            await asyncio.sleep(0.2)
            print(f"\r{self.done} of {connections} connections", end="", file=sys.stderr, flush=True)


def rows(weights, served):
    """For each server: name, weight, ideal share, connections, share, deviation relative to the ideal."""
    total, weight_sum = served.total(), sum(weights.values())
    for name in sorted(weights.keys() | served.keys()):
        ideal = weights.get(name, 0) / weight_sum
        share = served[name] / total if total else 0.0
        deviation = share / ideal - 1 if ideal else (0.0 if share == 0 else float("inf"))
        yield name, weights.get(name, 0), ideal, served[name], share, deviation


def main():
    options = arguments()
    run = asyncio.run(Run().drive(options, options.connections))
    seconds = time.monotonic() - run.begun
    uploads = asyncio.run(Run().drive(options, options.uploads, options.upload_bytes))
    table = list(rows(options.weight, run.served))
    failed = run.errors.total() + uploads.errors.total()
    off = [name for name, *_, deviation in table if abs(deviation) > options.tolerance]
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    if options.json:
        keys = ("server", "weight", "ideal", "connections", "share", "deviation")
        print(json.dumps({
            "connections": run.done, "failed": run.errors.total(), "servers": [dict(zip(keys, r, strict=True)) for r in table],
            "uploads": uploads.done, "uploads_failed": uploads.errors.total(),
            "errors": run.errors + uploads.errors, "families": run.families, "ok": not failed and not off,
        }))
        return 1 if failed or off else 0
    print(f"{'server':<8} {'weight':>6} {'its share':>10} {'connections':>12} {'share':>8} {'deviation':>10}")
    for name, weight, ideal, connections, share, deviation in table:
        mark = "  <- off" if name in off else ""
        print(f"{name:<8} {weight:>6} {ideal:>10.1%} {connections:>12} {share:>8.1%} {deviation:>+10.1%}{mark}")
    print()
    families = ", ".join(f"{count} over {family}" for family, count in sorted(run.families.items()))
    slowest = f"slowest {run.slowest * 1000:.0f} ms"
    print(f"{run.done} connections ({families}) in {seconds:.1f} s, {run.errors.total()} failed, {slowest}")
    print(f"{uploads.done} uploads of {options.upload_bytes >> 10} KiB in full-size packets, {uploads.errors.total()} failed")
    for error, count in (run.errors + uploads.errors).most_common(5):
        print(f"  {count} x {error}")
    if off:
        print(f"more than {options.tolerance:.0%} off the weight's share: {', '.join(off)}")
    return 1 if failed or off else 0


if __name__ == "__main__":
    sys.exit(main())
