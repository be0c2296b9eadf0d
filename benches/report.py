#!/usr/bin/python3
"""Reports the benchmarks' results: tables, claims, and docs/performance.md.

    benches/report.py FILE...                          prints, and merges the parts into docs/performance.json
    benches/report.py FILE... --write                  also puts the tables into docs/performance.md
    benches/report.py FILE... --strict                 also exits 1 if a claim is not met
    benches/report.py instructions                     prints the table of benches/instructions.json
    benches/report.py instructions --write | --check   puts it into the page | exits 1 if the page differs
    benches/report.py instructions --json              prints the part of that name

A FILE is what one part of the benchmark prints, one object (`-` is standard input):

    {"part": "tables", "load": [before, after], "machine": {"cpu": "..."},
     "tables": [{"name": "build", "title": "...", "columns": ["slots", "median"],
                 "rows": [[65537, "0.93 ms"]], "note": "..."}],
     "claims": [{"claim": "...", "bound": "at most", "target": 1.0, "unit": "ms",
                 "measured": 0.93, "spread": 0.02, "met": true}]}

`machine`, `note`, `unit` and `spread` may be left out. `load` is the load average; `spread` half the
interquartile range over the median, as a fraction. In the page a part is between `<!-- PART -->` and
`<!-- end -->`, and all claims are between `<!-- claims -->` and `<!-- end -->`.
"""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTRUCTIONS = ROOT / "benches/instructions.json"
PAGE = ROOT / "docs/performance.md"
RESULTS = ROOT / "docs/performance.json"
NUMBER = (int, float)
# Cases that must cost the same number of instructions. The claim is about the highest over the lowest.
FLAT = {
    "Instructions, 1 to 10,000 services": ["hit/v4-in-v4", "hit/v4-100-services", "hit/v4-10000-services"],
    "Instructions, 10 to 10,000 backends": ["hit/v4-10-backends", "hit/v4-in-v4", "hit/v4-10000-backends"],
}
FLAT_TARGET = 1.05


class Malformed(Exception):
    """An input without the format of a part."""


def is_number(value):
    return isinstance(value, NUMBER) and not isinstance(value, bool)


def field(where, holder, name, kinds, optional=False):
    """A field of an object, which must have one of these types."""
    if optional and name not in holder:
        return None
    value = holder.get(name)
    if (isinstance(value, bool) and bool not in kinds) or not isinstance(value, kinds):
        raise Malformed(f"{where}: `{name}` is {value!r}; expected {' or '.join(k.__name__ for k in kinds)}")
    return value


def check_table(where, table):
    for name in ("name", "title"):
        field(where, table, name, (str,))
    field(where, table, "note", (str,), optional=True)
    columns = field(where, table, "columns", (list,))
    if not columns or not all(isinstance(column, str) for column in columns):
        raise Malformed(f"{where}: `columns` must be one text or more")
    for row in field(where, table, "rows", (list,)):
        if not isinstance(row, list) or len(row) != len(columns):
            raise Malformed(f"{where}: {row!r} has not the {len(columns)} columns of the table")
        if not all(isinstance(cell, str) or is_number(cell) for cell in row):
            raise Malformed(f"{where}: {row!r} has more than numbers and texts")


def holds(claim):
    if claim["bound"] == "at most":
        return claim["measured"] <= claim["target"]
    return claim["measured"] >= claim["target"]


def check_claim(where, claim):
    field(where, claim, "claim", (str,))
    if claim.get("bound") not in ("at most", "at least"):
        raise Malformed(f"{where}: `bound` is {claim.get('bound')!r}; expected `at most` or `at least`")
    for name in ("target", "measured"):
        field(where, claim, name, NUMBER)
    field(where, claim, "spread", NUMBER, optional=True)
    field(where, claim, "unit", (str,), optional=True)
    if field(where, claim, "met", (bool,)) != holds(claim):
        raise Malformed(f"{where}: `met` contradicts `measured` and `target`")


def check(part):
    """Returns the part if its format is right."""
    if not isinstance(part, dict):
        raise Malformed(f"expected an object, not {type(part).__name__}")
    name = field("part", part, "part", (str,))
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise Malformed(f"part: {name!r} is no name")
    load = field(name, part, "load", (list,))
    if len(load) != 2 or not all(is_number(value) for value in load):
        raise Malformed(f"{name}: `load` must be the load average before and after")
    field(name, part, "machine", (dict,), optional=True)
    for kind, each in (("tables", check_table), ("claims", check_claim)):
        for index, item in enumerate(field(name, part, kind, (list,))):
            where = f"{name}: {kind}[{index}]"
            if not isinstance(item, dict):
                raise Malformed(f"{where}: expected an object")
            each(where, item)
    return part


def read(file):
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        return check(json.loads(text))
    except (OSError, ValueError, Malformed) as error:
        sys.exit(f"report.py: {file}: {error}")


def text_of(number):
    return f"{number:,}" if isinstance(number, int) else f"{number:.4g}"


def quantity(claim, name):
    unit = claim.get("unit", "")
    return f"{text_of(claim[name])} {unit}".strip()


def percent(spread):
    return "" if spread is None else f"{100 * spread:.1f} %"


def verdict(claim):
    return "met" if claim["met"] else "NOT MET"


def claim_rows(claims):
    return [
        [
            claim["claim"],
            f"{claim['bound']} {quantity(claim, 'target')}",
            quantity(claim, "measured"),
            percent(claim.get("spread")),
            verdict(claim),
        ]
        for claim in claims
    ]


CLAIM_COLUMNS = ["claim", "target", "measured", "spread", "verdict"]


def is_numeric(cell):
    """Whether a cell is right-aligned: it begins with a digit or a sign."""
    return is_number(cell) or not cell or bool(re.match(r"[-+<>~]?\d", cell))


def rights(rows, columns):
    """For each column, whether it is right-aligned."""
    return [bool(rows) and all(is_numeric(row[at]) for row in rows) for at in range(len(columns))]


def markdown(columns, rows):
    rule = ["---:" if right else "---" for right in rights(rows, columns)]
    lines = [columns, rule, *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def plain(columns, rows):
    lines = [[str(cell) for cell in line] for line in [columns, *rows]]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    right = rights(rows, columns)
    text = ""
    for line in lines:
        cells = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True))
        text += "  " + "  ".join(cells).rstrip() + "\n"
    return text


def environment(part):
    """Machine and load average, in one line."""
    before, after = part["load"]
    words = [str(value) for value in part.get("machine", {}).values()]
    return ", ".join([*words, f"load average {before:.2f} before, {after:.2f} after"])


def show(part):
    """A part for the terminal."""
    text = f"\n{part['part']}: {environment(part)}\n"
    for table in part["tables"]:
        text += f"\n{table['title']}\n{plain(table['columns'], table['rows'])}"
        text += f"  {table['note']}\n" if table.get("note") else ""
    if part["claims"]:
        text += f"\nclaims\n{plain(CLAIM_COLUMNS, claim_rows(part['claims']))}"
    return text


def page_section(part):
    """A part for the page."""
    blocks = [environment(part)]
    for table in part["tables"]:
        blocks.append(f"**{table['title']}**")
        blocks.append(markdown(table["columns"], table["rows"]).rstrip())
        blocks += [table["note"]] if table.get("note") else []
    if part["claims"]:
        blocks.append(markdown(CLAIM_COLUMNS, claim_rows(part["claims"])).rstrip())
    return "\n\n".join(blocks) + "\n"


def claims_section(parts):
    """All claims, for the page."""
    rows = [[name, *row] for name in sorted(parts) for row in claim_rows(parts[name]["claims"])]
    return markdown(["part", *CLAIM_COLUMNS], rows)


def put(page, name, text):
    """The page with `text` in the section of that name."""
    place = re.compile(f"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    written, places = place.subn(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)
    if places != 1:
        place = f"`<!-- {name} -->`, `<!-- end -->`"
        sys.exit(f"report.py: the page has {places} places for {name} instead of 1: {place}")
    return written


def instructions_section():
    measured = json.loads(INSTRUCTIONS.read_text())
    return f"{measured['compiler']}\n\n{markdown(*instructions_table(measured))}"


def instructions_table(measured):
    rows = [[name, f"{count / measured['packets']:.1f}"] for name, count in sorted(measured["instructions"].items())]
    return ["case", "instructions per packet"], rows


def instructions_part():
    """The accepted counts as a part. They are exact: they have no spread, and load does not matter."""
    measured = json.loads(INSTRUCTIONS.read_text())
    columns, rows = instructions_table(measured)
    table = {"name": "instructions", "title": "Instructions per packet", "columns": columns, "rows": rows}
    claims = []
    for claim, cases in FLAT.items():
        counts = [measured["instructions"][case] for case in cases]
        ratio = round(max(counts) / min(counts), 4)
        claims.append({"claim": f"{claim}, highest over lowest", "bound": "at most", "target": FLAT_TARGET,
                       "measured": ratio, "spread": 0.0, "met": ratio <= FLAT_TARGET})
    machine = {"compiler": measured["compiler"]}
    load = [float(Path("/proc/loadavg").read_text().split()[0])] * 2
    return {"part": "instructions", "load": load, "machine": machine, "tables": [table], "claims": claims}


def instructions(options):
    if options.json:
        json.dump(check(instructions_part()), sys.stdout)
        return
    text = instructions_section()
    if not (options.write or options.check):
        print(text, end="")
        return
    page = options.page.read_text()
    written = put(page, "instructions", text)
    if options.write:
        options.page.write_text(written)
    elif page != written:
        sys.exit(f"report.py: {options.page} has other instructions than benches/instructions.json; see --write")


def merge(results, parts):
    """All parts measured so far, with the new ones in place of the old."""
    merged = {}
    if results.exists():
        try:
            merged = {name: check(part) for name, part in json.loads(results.read_text()).items()}
        except (ValueError, AttributeError, Malformed) as error:
            sys.exit(f"report.py: {results}: {error}; remove it, or take it from git")
    merged.update((part["part"], part) for part in parts)
    results.write_text(json.dumps(merged, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return merged


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a claim is not met")
    parser.add_argument("--check", action="store_true", help="instructions only: compare with the page")
    parser.add_argument("--json", action="store_true", help="instructions only: print the part")
    parser.add_argument("--page", type=Path, default=PAGE, help="instead of docs/performance.md")
    parser.add_argument("--results", type=Path, default=RESULTS, help="instead of docs/performance.json")
    options = parser.parse_args()
    if options.files == ["instructions"]:
        instructions(options)
        return
    if options.check or options.json:
        parser.error("--check and --json are for `instructions`")
    parts = [read(file) for file in options.files]
    for part in parts:
        print(show(part), end="")
    merged = merge(options.results, parts)
    if options.write:
        page = options.page.read_text()
        for part in parts:
            # The instructions' section is the same on every machine; ci/instructions.sh checks it.
            own = part["part"] == "instructions"
            page = put(page, part["part"], instructions_section() if own else page_section(part))
        options.page.write_text(put(page, "claims", claims_section(merged)))
    missed = [claim for part in parts for claim in part["claims"] if not claim["met"]]
    claims = sum(len(part["claims"]) for part in parts)
    print(f"\n{claims - len(missed)} of {claims} claims met")
    for claim in missed:
        wanted = f"{claim['bound']} {quantity(claim, 'target')}"
        print(f"NOT MET: {claim['claim']}: {quantity(claim, 'measured')} instead of {wanted}")
    if missed and options.strict:
        sys.exit(1)


if __name__ == "__main__":
    main()
