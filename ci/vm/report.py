#!/usr/bin/python3
"""Prints the results of the virtual machine's cases as a table.

    ci/vm/report.py RESULTS...            prints it
    ci/vm/report.py RESULTS... --write    puts it into docs/drivers.md, between `<!-- cases -->` and `<!-- end -->`

If several files have a case, the last one counts.
"""

import json
import re
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/drivers.md"
COLUMNS = ("case", "driver", "binding", "queues", "RSS", "steering")
COLUMNS += ("failed", "packets", "link", "interrupts", "buffers", "huge pages")


def yes(value):
    return "back" if value else "NOT back"


def row(record):
    """The cells of a case, as text."""
    if record.get("refused"):
        reason = re.sub(r"^.*?Error: ", "", record["refused"])
        return [record["case"], "", record["binding"], *[""] * 3, f"refused: {reason}", *[""] * 5]
    if "driver" not in record:
        return [record["case"], *[""] * 5, "; ".join(record["wrong"]), *[""] * 5]
    total = sum(record["packets"]) or 1
    shares = " / ".join(f"{packets / total:.0%}" for packets in record["packets"])
    return [
        record["case"], record["driver"], record["binding"], "{} rx, {} tx".format(*record["queues"]),
        "yes" if record["rss"] else "-", record["steering"]["method"].replace("_", " "),
        f"{record['failed']} of {record['connections']}", shares, "up" if record["link"]["up"] else "down",
        "yes" if record["interrupts"] else "-", yes(record["buffers_back"]), yes(record["huge_pages_back"]),
    ]  # fmt: skip


def steering(facts):
    """How a port's packets reach their workers: the fields that are not null, without counts."""
    if facts["crowded_queue"]:
        facts = facts | {"crowded_queue": facts["crowded_queue"]["queue"]}
    return json.dumps({name: fact for name, fact in facts.items() if fact is not None})


def said(results):
    """The messages of the drivers, each once, as lines."""
    lines = []
    for record in results:
        if "driver" in record:
            names = [record[key] or "not reported" for key in ("rx_function", "tx_function")]
            functions = f"receive function: {names[0]}; transmit function: {names[1]}"
            for text in (f"RSS over {record['rss']}" if record["rss"] else "no RSS in use", functions):
                lines.append(f"{record['driver']}: {text}")
            lines.append(f"{record['driver']}, steering: `{steering(record['steering'])}`")
    return list(dict.fromkeys(lines))


def tried(results):
    return [f"{record['case']}: {note}" for record in results for note in record["notes"]]


def table(results):
    rows = [COLUMNS, *(row(record) for record in results)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows]
    return "\n".join([*lines, "", *said(results), "", *tried(results)])


def markdown(results):
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    lines += ["| " + " | ".join(row(record)) + " |" for record in results]
    lines += ["", "What the drivers said:", "", *(f"- {line}" for line in said(results))]
    return "\n".join([*lines, "", "What was tried beside connections:", "", *(f"- {line}" for line in tried(results))])


def main():
    files = [word for word in sys.argv[1:] if word != "--write"]
    records = [record for file in files for record in json.loads(Path(file).read_text())]
    results = list({record["case"]: record for record in records}.values())
    if "--write" in sys.argv:
        text = PAGE.read_text()
        begin, end = "<!-- cases -->\n", "<!-- end -->"
        head, rest = text.split(begin)
        PAGE.write_text(head + begin + markdown(results) + "\n" + end + rest.split(end, 1)[1])
    else:
        print(table(results))


if __name__ == "__main__":
    main()
