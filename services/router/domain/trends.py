"""
How the quality of a model's answers moves. Pure.

An outcome weighs what it weighed when it was learned: a user who rates everything is no more to a
trend than to learning.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

FEWEST = 10  # outcomes on each side
FEWEST_EFFECTIVE = 4  # of equal weight that would tell as much: one heavy outcome is no sample
TWO_SIDED_95 = 1.959964  # normal quantile


@dataclass(frozen=True, slots=True)
class Side:
    """Outcomes x with weights w > 0, added up."""

    count: int = 0
    w: float = 0.0
    wx: float = 0.0
    ww: float = 0.0
    wwx: float = 0.0
    wwxx: float = 0.0

    def __add__(self, other: "Side") -> "Side":
        return Side(
            self.count + other.count,
            self.w + other.w,
            self.wx + other.wx,
            self.ww + other.ww,
            self.wwx + other.wwx,
            self.wwxx + other.wwxx,
        )

    @property
    def mean(self) -> float:
        return self.wx / self.w

    @property
    def effective(self) -> float:
        """Return how many outcomes of equal weight would tell as much (Kish 1965)."""
        return self.w**2 / self.ww if self.ww else 0.0

    @property
    def error(self) -> float:
        """Return the squared standard error of the mean; two outcomes on the edges are added."""
        usual = self.w / self.count
        edges = Side(2, 2 * usual, usual, 2 * usual**2, usual**2, usual**2)
        wide = self + edges
        spread = wide.wwxx - 2 * wide.mean * wide.wwx + wide.mean**2 * wide.ww
        return max(spread, 0.0) / wide.w**2 * wide.effective / (wide.effective - 1)


@dataclass(frozen=True, slots=True)
class Change:
    """Later less earlier, in quality, with its 95 % interval."""

    value: float
    low: float
    high: float


def change(earlier: Side, later: Side) -> Change | None:
    """
    Compare two halves of a window; None: there is too little on a side to say.

    Source: B. L. Welch 1938, Biometrika 29, 350-362, degrees of freedom after Satterthwaite 1946,
    with Kish's effective sizes for counts. Two outcomes on the edges keep ten equal ones from
    having no spread at all.
    """
    for side in (earlier, later):
        if side.count < FEWEST or side.effective < FEWEST_EFFECTIVE:
            return None
    value = later.mean - earlier.mean
    error = earlier.error + later.error
    shares = [(side.error / error, side.effective) for side in (earlier, later)]
    freedom = 1 / sum(share**2 / (size - 1) for share, size in shares)
    half = t_quantile(freedom) * math.sqrt(error)
    return Change(value, max(value - half, -1.0), min(value + half, 1.0))


def t_quantile(freedom: float) -> float:
    """
    Return the 97.5 % quantile of Student's t, within 0.005 from 3 degrees of freedom on.

    Source: Abramowitz and Stegun 1964, 26.7.5; the router carries no scipy.
    """
    z = TWO_SIDED_95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def side_of(parts: Iterable[Side]) -> Side:
    """Add up parts, such as days."""
    return reduce(Side.__add__, parts, Side())
