"""The lists of encapsulations are complete, and the known answers equal scapy's headers."""

import re

import pytest
from support import binaries, encapsulations, known_answers


@pytest.mark.parametrize("table", known_answers.tables())
def test_known_answers_are_scapys(table):
    """If it fails, run tests/support/known_answers.py --write."""
    found = known_answers.rows_pattern(table).search(known_answers.KNOWN.read_text())
    assert found[2] == known_answers.tables()[table]


def test_each_encapsulation_has_a_known_answer():
    """`gre` has two rows with a key; other tests cover plain `gre`. `l2` has no header."""
    names = [name for name in encapsulations.of_forwarder() if name != "l2"]
    rows = {name.split("-")[0] if name in ("gre-7", "gre-flow") else name for name in known_answers.HEADERS}
    encapsulations.assert_rows(rows, names, "HEADERS of tests/support/known_answers.py")


def test_the_lab_has_each_encapsulation():
    """The live tests of the lab follow its list."""
    names = encapsulations.of_forwarder()
    encapsulations.assert_rows(encapsulations.of_lab(), names, "known_encapsulations in ci/lab/options.sh")


def test_the_pages_have_each_encapsulation():
    """Each has a row in the forwarder's table and a row in the agent's table."""
    text = "\n".join(page.read_text() for page in sorted((binaries.ROOT / "docs").glob("*.md")))
    first_cells = re.findall(r"^\| *([^|]*)\|", text, re.MULTILINE)
    for name in encapsulations.of_forwarder():
        assert sum(f"`{name}`" in cell for cell in first_cells) >= 2, f"docs/ has no two rows for {name}"
