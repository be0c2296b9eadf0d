"""benches/report.py and ci/bench.sh make tables and verdicts from the output of the benchmarks' parts."""

import copy
import json
import subprocess
import sys

import pytest
from support import binaries

ROOT = binaries.ROOT
PART = {
    "part": "tables",
    "load": [0.25, 1.5],
    "machine": {"cpu": "a CPU"},
    "tables": [
        {
            "name": "build",
            "title": "Building",
            "columns": ["slots", "median"],
            "rows": [[65537, "0.93 ms"], [655373, "11 ms"]],
            "note": "By one thread.",
        }
    ],
    "claims": [
        {
            "claim": "Building, 65,537 slots",
            "bound": "at most",
            "target": 1.0,
            "unit": "ms",
            "measured": 0.93,
            "spread": 0.02,
            "met": True,
        },
        {"claim": "Rate", "bound": "at least", "target": 2, "measured": 2, "met": True},
    ],
}
PAGE = "# Page\n\n<!-- claims -->\n<!-- end -->\n\n<!-- tables -->\nold\n<!-- end -->\nafter\n"


@pytest.fixture
def report(tmp_path):
    """Runs the report on parts, which are objects or text."""
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    page.write_text(PAGE)

    def run(*parts, arguments=()):
        files = []
        for index, part in enumerate(parts):
            files.append(tmp_path / f"{index}.json")
            files[-1].write_text(part if isinstance(part, str) else json.dumps(part))
        command = [ROOT / "benches/report.py", *files, "--page", page, "--results", results, *arguments]
        return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)

    run.page, run.results = page, results
    return run


def with_claim(**changes):
    part = copy.deepcopy(PART)
    part["claims"][0].update(changes)
    return part


def test_met_claims_are_printed_with_the_load(report):
    done = report(PART)
    assert done.returncode == 0, done.stderr
    assert "a CPU, load average 0.25 before, 1.50 after" in done.stdout
    assert " 65537  0.93 ms\n" in done.stdout
    assert "at most 1 ms   0.93 ms   2.0 %" in done.stdout
    assert "2 of 2 claims met" in done.stdout and "NOT MET" not in done.stdout
    assert json.loads(report.results.read_text()) == {"tables": PART}
    assert report.page.read_text() == PAGE, "the page stays without --write"


def test_a_missed_claim_fails_only_with_strict(report):
    missed = with_claim(measured=1.2, met=False)
    done = report(missed)
    assert done.returncode == 0
    assert "NOT MET: Building, 65,537 slots: 1.2 ms instead of at most 1 ms" in done.stdout
    assert "1 of 2 claims met" in done.stdout
    assert report(missed, arguments=["--strict"]).returncode == 1
    assert report(PART, arguments=["--strict"]).returncode == 0


def test_the_page_has_each_part_between_its_markers_and_all_claims(report):
    other = {**PART, "part": "cost", "claims": [{**PART["claims"][0], "claim": "Hit", "measured": 2.0, "met": False}]}
    assert report(other).returncode == 0
    done = report(PART, arguments=["--write"])
    assert done.returncode == 0, done.stderr
    page = report.page.read_text()
    assert "old" not in page and page.endswith("<!-- end -->\nafter\n")
    assert "| slots | median |\n| ---: | ---: |\n| 65537 | 0.93 ms |\n" in page
    # The earlier part stays.
    assert "| cost | Hit | at most 1 ms | 2 ms | 2.0 % | NOT MET |\n" in page
    assert "| tables | Rate | at least 2 | 2 |  | met |\n" in page
    assert set(json.loads(report.results.read_text())) == {"cost", "tables"}


def test_a_page_without_markers_is_left_alone(report):
    done = report({**PART, "part": "scaling"}, arguments=["--write"])
    assert done.returncode == 1
    assert "0 places for scaling" in done.stderr
    assert report.page.read_text() == PAGE


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ("{", "Expecting property name"),
        ("[]", "expected an object"),
        ({**PART, "part": "no name"}, "is no name"),
        ({**PART, "load": [1]}, "`load` must be"),
        ({k: v for k, v in PART.items() if k != "claims"}, "`claims` is None"),
        ({**PART, "tables": [{**PART["tables"][0], "rows": [[1]]}]}, "has not the 2 columns"),
        ({**PART, "tables": [{**PART["tables"][0], "rows": [[1, None]]}]}, "more than numbers and texts"),
        (with_claim(bound="below"), "`bound` is 'below'"),
        (with_claim(measured="0.93"), "`measured` is '0.93'"),
        (with_claim(measured=True), "`measured` is True"),
        (with_claim(met=False), "`met` contradicts"),
        (with_claim(measured=1.2), "`met` contradicts"),
    ],
)
def test_a_malformed_part_is_refused(report, part, complaint):
    done = report(PART, part)
    assert done.returncode == 1
    assert complaint in done.stderr and "1.json" in done.stderr
    assert not report.results.exists()


def test_the_instructions_are_a_valid_part(report):
    command = [sys.executable, ROOT / "benches/report.py", "instructions", "--json"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    done = report(printed.stdout)
    assert done.returncode == 0, done.stderr
    assert "10,000 services" in done.stdout


def test_an_unknown_part_is_an_error_that_names_the_known():
    done = subprocess.run([ROOT / "ci/bench.sh", "speed"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no part 'speed'" in done.stderr and "device pair" in done.stderr
