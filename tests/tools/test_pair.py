"""benches/pair.py: what it prints of rounds in which the machine changed its mode."""

from support.benches import evaluated

LEAST = 5


def printed(*rounds):
    """The table and its note for rounds of testpmd's rate before, Guideway's rate, and testpmd's rate after."""
    measured = "[pair.modes.Round(*(1e6 * rate for rate in one)) for one in given]"
    table = f"pair.throughput_table({measured}, {LEAST})"
    return evaluated("pair", f"[{table}['rows'], pair.throughput_note({measured}, {LEAST})]", rounds)


FAST, SLOW, JUMP = (4.5, 3.6, 4.5), (3.0, 2.7, 3.0), (4.5, 3.0, 3.0)


def test_each_mode_that_has_enough_rounds_has_a_ratio():
    rows, note = printed(*[FAST] * 6, JUMP, *[SLOW] * 4)
    assert rows == [
        ["1 of 2", 6, "guideway", "3.60", "0.0 %", "", ""],
        ["1 of 2", 6, "testpmd io", "4.50", "0.0 %", "0.80", "0.0 %"],
        ["2 of 2", 4, "guideway", "2.70", "0.0 %", "", ""],
        ["2 of 2", 4, "testpmd io", "3.00", "0.0 %", "", ""],
    ]
    assert "Of 11 rounds, 1 are left out" in note and "cannot tell" not in note


def test_a_machine_that_cannot_tell_has_no_ratio():
    rows, note = printed(*[FAST, JUMP] * 3, *[SLOW] * 4)
    assert [row[5:] for row in rows] == [["", ""]] * 4
    assert "This machine cannot tell" in note and "5 rounds" in note and "5%" in note


def test_latency_is_measured_at_the_rate_of_the_slowest_mode():
    measured = "[pair.modes.Round(*one) for one in given]"
    assert evaluated("pair", f"pair.full_rate({measured})", [FAST] * 5 + [SLOW] * 2) == SLOW[1]
    assert evaluated("pair", f"pair.full_rate({measured})", [JUMP] * 3) == JUMP[1]


# Programs whose searches give rates from a list.
SCRIPTED = """
import argparse, contextlib
class Scripted:
    def __init__(self, name):
        self.name, self.rates = name, list(given[name])
        self.running = contextlib.nullcontext
    def search(self, seconds, steps):
        return self.rates.pop(0)
options = argparse.Namespace(seconds=1, steps=8, rounds=5, max_rounds=20)
guideway, testpmd = Scripted("guideway"), Scripted("testpmd")
rounds = pair.throughput(options, guideway, testpmd)
"""


def measured(guideway, testpmd):
    """The rounds that are measured if the searches give these rates."""
    expression = "[[one.before, one.rate, one.after] for one in rounds]"
    return evaluated("pair", expression, {"guideway": guideway, "testpmd": testpmd}, SCRIPTED)


def test_rounds_end_when_a_mode_tells_something():
    rounds = measured([3.6] * 20, [4.5] * 21)
    assert rounds == [[4.5, 3.6, 4.5]] * 5
    # Two rounds of the fast mode, a jump, three of the slow one, a jump back: three more are needed.
    rates = [3.6] * 2 + [2.7] * 4 + [3.6] * 20
    rounds = measured(rates, [4.5] * 3 + [3.0] * 4 + [4.5] * 20)
    assert len(rounds) == 10
    assert rounds[2] == [4.5, 2.7, 3.0] and rounds[6] == [3.0, 3.6, 4.5]


def test_rounds_end_when_the_machine_cannot_tell():
    assert len(measured([3.6] * 20, [4.5, 3.0] * 11)) == 20
