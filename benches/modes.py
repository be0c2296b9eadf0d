"""Groups the rounds of a comparison by the mode that the machine was in.

A virtual machine may change between two speeds at which its CPUs pass packets to each other, and stay with either for
seconds or minutes: probably its host moves it between cores that share a cache and cores that do not. A program's rate
then jumps by half, and a ratio of two rates says nothing if a jump came between the two.

So a baseline is measured before and after each measurement. A round in which it jumped is left out. The others
are grouped by their baseline, and rounds are compared within their group only.
"""

import dataclasses

from sample import median, spread

# The least factor between two baselines of different modes. One that jumps by half has a factor of 1.5.
JUMP = 1.2


@dataclasses.dataclass(frozen=True)
class Round:
    """A rate, and the baseline's before and after it."""

    before: float
    rate: float
    after: float

    @property
    def baseline(self):
        return (self.before + self.after) / 2

    @property
    def ratio(self):
        return self.rate / self.baseline

    @property
    def is_steady(self):
        """Whether the machine was in one mode, as far as the baseline shows."""
        low, high = sorted((self.before, self.after))
        return low > 0 and high < low * JUMP


@dataclasses.dataclass(frozen=True)
class Mode:
    """Rounds that the machine spent in one mode."""

    rounds: tuple

    @property
    def rate(self):
        return median([one.rate for one in self.rounds])

    @property
    def baseline(self):
        return median([one.baseline for one in self.rounds])

    @property
    def ratios(self):
        return [one.ratio for one in self.rounds]

    def tells(self, least, most):
        """Whether it has at least `least` rounds, and their ratios a spread of at most `most`."""
        return len(self.rounds) >= least and spread(self.ratios) <= most


def grouped(rounds):
    """The modes, the fastest first: steady rounds, divided wherever two neighbouring baselines are a jump apart."""
    modes, last = [], None
    for one in sorted((one for one in rounds if one.is_steady), key=lambda one: -one.baseline):
        if last is None or last.baseline >= one.baseline * JUMP:
            modes.append([])
        modes[-1].append(one)
        last = one
    return [Mode(tuple(mode)) for mode in modes]


def telling(rounds, least, most):
    """The modes in which two programs can be compared, see `Mode.tells`. Empty if the machine cannot tell."""
    return [mode for mode in grouped(rounds) if mode.tells(least, most)]
