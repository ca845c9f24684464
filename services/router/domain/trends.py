"""How the quality of a model's answers moves. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST = 10  # outcomes on each side
TWO_SIDED_95 = 1.96


@dataclass(frozen=True, slots=True)
class Side:
    """Outcomes of one half of a window."""

    count: int
    total: float
    squares: float  # sum of the squared outcomes

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def error(self) -> float:
        """Return the squared standard error of the mean; two outcomes on the edges are added."""
        count, total, squares = self.count + 2, self.total + 1, self.squares + 1
        return max(squares / count - (total / count) ** 2, 0.0) / (count - 1)


@dataclass(frozen=True, slots=True)
class Change:
    """Later less earlier, in quality, with its 95 % interval."""

    value: float
    low: float
    high: float


def change(earlier: Side, later: Side) -> Change | None:
    """
    Compare two halves of a window; None: there is too little on a side to say.

    Source: B. L. Welch 1938, Biometrika 29, 350-362, with the normal quantile: the sides are not
    small. Two outcomes on the edges keep ten equal ones from having no spread at all.
    """
    if min(earlier.count, later.count) < FEWEST:
        return None
    value = later.mean - earlier.mean
    half = TWO_SIDED_95 * math.sqrt(earlier.error + later.error)
    return Change(value, value - half, value + half)


def side_of(outcomes: Sequence[tuple[int, float, float]]) -> Side:
    """Add up days, each given as (count, sum, sum of squares)."""
    return Side(
        sum(count for count, _, _ in outcomes),
        sum(total for _, total, _ in outcomes),
        sum(squares for _, _, squares in outcomes),
    )
