"""benches/modes.py groups rounds by the mode of the machine, and says when a machine cannot tell."""

import importlib.util
import itertools
import random
import sys

import pytest
from support import binaries


def load(name):
    spec = importlib.util.spec_from_file_location(name, binaries.ROOT / f"benches/{name}.py")
    module = importlib.util.module_from_spec(spec)
    # For those that import it.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


sample, modes = load("sample"), load("modes")
LEAST, MOST = 5, 0.05


def rounds(baselines, share=0.8):
    """Rounds between these baselines, each with this share of the baseline before it."""
    return [modes.Round(before, share * before, after) for before, after in itertools.pairwise(baselines)]


def counts(found):
    return [len(mode.rounds) for mode in found]


def test_a_machine_of_one_mode_tells_the_ratio():
    measured = rounds([4.5, 4.6, 4.5, 4.4, 4.5, 4.5])
    (mode,) = modes.telling(measured, LEAST, MOST)
    assert mode.rate == pytest.approx(0.8 * 4.5)
    assert mode.baseline == pytest.approx(4.5)
    assert sample.median(mode.ratios) == pytest.approx(0.8, rel=0.02)


def test_two_modes_are_groups_of_their_own_the_fastest_first():
    # The machine jumps by half and back; the two rounds of the jumps are left out.
    measured = rounds([4.5] * 6 + [3.0] * 7 + [4.5])
    fast, slow = modes.telling(measured, LEAST, MOST)
    assert (fast.baseline, slow.baseline) == (4.5, 3.0)
    assert (len(fast.rounds), len(slow.rounds)) == (5, 6)
    assert all(ratio == pytest.approx(0.8) for ratio in fast.ratios + slow.ratios)


def test_a_jump_within_a_round_leaves_it_out():
    # With the jumps the ratios are 0.8 * 3.0 / 3.75 and 0.8 * 4.5 / 3.75, and not 0.8.
    assert counts(modes.grouped(rounds([3.0, 4.5, 3.0]))) == []
    assert counts(modes.grouped(rounds([3.0, 3.0, 4.5, 4.5, 4.5]))) == [2, 1]


@pytest.mark.parametrize(
    "baselines",
    [
        [],
        [4.5],
        # Too few rounds in either mode.
        [4.5] * 5 + [3.0] * 5,
        # A machine that jumps each time.
        [4.5, 3.0] * 10,
        # Nothing passed.
        [0.0] * 10,
        [4.5, 0.0] * 10,
    ],
)
def test_a_machine_that_cannot_tell(baselines):
    assert modes.telling(rounds(baselines), LEAST, MOST) == []


def test_ratios_of_a_wide_spread_tell_nothing():
    steady = [modes.Round(4.5, rate, 4.5) for rate in (2.0, 2.5, 3.0, 3.5, 4.0, 4.5)]
    assert counts(modes.grouped(steady)) == [6]
    assert modes.telling(steady, LEAST, MOST) == []
    assert modes.telling(steady, LEAST, 1.0) != []


def test_a_baseline_that_drifts_is_one_mode():
    drift = [3.0 * 1.1**n for n in range(7)]
    assert counts(modes.grouped(rounds(drift))) == [6]


def test_a_jump_of_just_the_limit_is_one():
    assert counts(modes.grouped(rounds([1.0, 1.0 * modes.JUMP]))) == []
    assert counts(modes.grouped(rounds([1.0, 0.999 * modes.JUMP]))) == [1]


def test_groups_depend_on_no_order_and_lose_no_steady_round():
    chance = random.Random(17)
    for _ in range(200):
        # Of each four rounds, about three are steady.
        baselines = [chance.uniform(1, 5) for _ in range(chance.randrange(12))]
        measured = [modes.Round(one, chance.uniform(1, 5), one * chance.uniform(0.8, 1.25)) for one in baselines]
        shuffled = chance.sample(measured, len(measured))
        found = modes.grouped(measured)
        assert [set(mode.rounds) for mode in found] == [set(mode.rounds) for mode in modes.grouped(shuffled)]
        assert sum(counts(found)) == sum(one.is_steady for one in measured)
        for faster, slower in itertools.pairwise(found):
            lowest = min(one.baseline for one in faster.rounds)
            assert lowest >= max(one.baseline for one in slower.rounds) * modes.JUMP


def test_the_spread_is_half_the_interquartile_range_over_the_median():
    assert sample.spread([1, 2, 3, 4, 5]) == pytest.approx((4 - 2) / 2 / 3)
    assert sample.spread([7]) == 0
