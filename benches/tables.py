#!/usr/bin/python3
"""The tables of docs/performance.md, made of what the benchmarks measured.

    benches/tables.py times|instructions             prints the table
    benches/tables.py times|instructions --write     puts it in its place in docs/performance.md
    benches/tables.py times|instructions --check     exits 1 if another stands there

Times come from target/criterion, where ci/bench.sh leaves them; instructions from
benches/instructions.json. The place in the page is between `<!-- NAME -->` and `<!-- end -->`.
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"
INSTRUCTIONS = ROOT / "benches/instructions.json"
TIMES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "criterion"


def table(header, rows):
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def instructions():
    measured = json.loads(INSTRUCTIONS.read_text())
    rows = [
        [name, f"{count / measured['packets']:.1f}"]
        for name, count in sorted(measured["instructions"].items())
    ]
    header = ["case", "instructions per packet"]
    return f"{measured['compiler']}\n\n{table(header, rows)}"


def natural(text):
    """A sort key by which 100 comes before 1000."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def readable(nanoseconds):
    for unit, size in (("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def cpu():
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{found[1] if found else 'unknown CPU'}, {os.cpu_count()} CPUs"


def times():
    measured = {}
    for file in TIMES.glob("**/new/benchmark.json"):
        benchmark = json.loads(file.read_text())
        estimates = json.loads((file.parent / "estimates.json").read_text())
        elements = (benchmark.get("throughput") or {}).get("Elements", 1)
        interval = estimates["median"]["confidence_interval"]
        numbers = (estimates["median"]["point_estimate"], interval["lower_bound"], interval["upper_bound"])
        measured[benchmark["full_id"]] = [readable(number / elements) for number in numbers]
    if not measured:
        sys.exit(f"{TIMES} has no measurements; run ci/bench.sh")
    rows = [
        [name, median, f"{low} to {high}"]
        for name, (median, low, high) in sorted(measured.items(), key=lambda row: natural(row[0]))
    ]
    return f"{cpu()}\n\n{table(['case', 'median', '95 % interval'], rows)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=["times", "instructions"])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = {"times": times, "instructions": instructions}[options.name]()
    if not (options.write or options.check):
        print(text, end="")
        return
    page = PAGE.read_text()
    place = re.compile(f"(<!-- {options.name} -->\n).*?(<!-- end -->)", re.DOTALL)
    written, places = place.subn(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)
    if places != 1:
        sys.exit(f"{PAGE} has {places} places for {options.name} instead of 1")
    if options.write:
        PAGE.write_text(written)
    elif page != written:
        sys.exit(f"{PAGE} has other {options.name} than were measured: benches/tables.py {options.name} --write")


if __name__ == "__main__":
    main()
