"""
What a judge says of two answers to one request, added up.

Every pair is judged twice, each answer first once. A judge that favours a position, whatever stands
in it, gives itself away: only a pair whose two verdicts name the same arm counts for that arm. A
pair tells of one request what two groups of users tell only on average, so it takes fewer of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import special  # type: ignore[import-untyped]  # `stats` takes a second to import

from common.errors import Invalid

TIE = ""  # the judge preferred neither
PRIOR = 4.0  # of a win share around 1/2, Beta(4, 4): shares from 0.2 to 0.8 are what is looked for

_LOG_2 = math.log(2)
_PRIOR_LOG_BETA = float(special.betaln(PRIOR, PRIOR))


@dataclass(frozen=True, slots=True)
class Counts:
    """Pairs by what both of their verdicts say."""

    control: int = 0  # both times the control's answer
    test: int = 0  # both times the test's
    ties: int = 0  # both times neither
    unsteady: int = 0  # the order made a difference, so they are ties too; the judge's bias, apart

    @property
    def pairs(self) -> int:
        return self.decided + self.ties + self.unsteady

    @property
    def decided(self) -> int:
        return self.control + self.test


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """
    How often the test's answer beats the control's. None: there is no pair to tell from.

    All but `p_value` are fixed-horizon: valid when looked at once, at a size fixed beforehand.
    """

    counts: Counts
    p_value: float | None  # valid at this look, however many came before it
    p_value_fixed: float | None
    win_share: float | None  # of the test among the decided pairs; 1/2: neither is better
    win_share_interval: Interval | None
    difference: float | None  # wins of the test less those of the control, over all pairs
    difference_interval: Interval | None


def count(said: Mapping[tuple[str, str], int], *, control: str, test: str) -> Counts:
    """
    Sort pairs by their two verdicts.

    Args:
        said: The arm whose answer the judge preferred, once with each answer first, `TIE` where
            it preferred neither; and of how many pairs it said so.
        control: The name of that arm.
        test: The name of the other.

    Raises:
        Invalid: a verdict names neither of them.
    """
    found = {control: 0, test: 0, TIE: 0}
    unsteady = 0
    for (first, second), pairs in said.items():
        if first not in found or second not in found:
            raise Invalid(f"a verdict must be {control}, {test} or a tie")
        if first == second:
            found[first] += pairs
        else:
            unsteady += pairs
    return Counts(found[control], found[test], found[TIE], unsteady)


def compare(counts: Counts, *, confidence: float = 0.95) -> Paired:
    """
    Say which arm's answers are better, and how sure that is.

    Args:
        counts: Of the pairs so far.
        confidence: Coverage of the intervals, strictly between 0 and 1.

    Raises:
        Invalid: a count is negative, or *confidence* is outside.
    """
    if min(counts.control, counts.test, counts.ties, counts.unsteady) < 0:
        raise Invalid("a count of pairs is negative")
    if not 0 < confidence < 1:
        raise Invalid(f"confidence must be between 0 and 1, got {confidence}")
    decided, pairs = counts.decided, counts.pairs
    return Paired(
        counts,
        p_value=p_value(counts) if decided else None,
        p_value_fixed=p_value_fixed(counts) if decided else None,
        win_share=counts.test / decided if decided else None,
        win_share_interval=win_share(counts, 1 - confidence) if decided else None,
        difference=(counts.test - counts.control) / pairs if pairs else None,
        difference_interval=difference(counts, 1 - confidence) if pairs else None,
    )


def p_value(counts: Counts) -> float:
    """
    Return the p-value of this look against "neither is better"; 1 without a decided pair.

    Looked at after every pair, it falls below any level with at most that probability while
    neither is better; so the smallest of all looks so far is valid at any time too.

    Source:
        Robbins (1970), Ann. Math. Stat. 41, 1397-1409, for coins with a beta mixture: the Bayes
        factor of Beta(4, 4) against 1/2 is a nonnegative martingale that starts at 1 (Ville).
        Waudby-Smith, Ramdas (2024), "Estimating means of bounded random variables by betting",
        JRSS B 86, 1-27, for why any such wealth may be read at any time.
    """
    log_wealth = (
        float(special.betaln(PRIOR + counts.test, PRIOR + counts.control))
        - _PRIOR_LOG_BETA
        + counts.decided * _LOG_2
    )
    return math.exp(min(0.0, -log_wealth))


def p_value_fixed(counts: Counts) -> float:
    """
    Return the exact two-sided p-value of the sign test, for one look; 1 without a decided pair.

    Source:
        McNemar (1947), Psychometrika 12, 153-157, in its exact form: of pairs that differ, as many
        to one side as to the other.
    """
    fewer = min(counts.control, counts.test)
    return min(1.0, 2 * float(special.bdtr(fewer, counts.decided, 0.5)))


def win_share(counts: Counts, alpha: float) -> Interval:
    """
    Return the interval of the test's share of the decided pairs; there must be one.

    It holds at least what it promises; it leaves out 1/2 exactly when `p_value_fixed` < *alpha*.

    Source:
        Clopper, Pearson (1934), Biometrika 26, 404-413.
    """
    wins, losses = counts.test, counts.control
    low = float(special.betaincinv(wins, losses + 1, alpha / 2)) if wins else 0.0
    high = float(special.betaincinv(wins + 1, losses, 1 - alpha / 2)) if losses else 1.0
    return Interval(low, high)


def difference(counts: Counts, alpha: float) -> Interval:
    """
    Return the interval of (wins of the test - wins of the control) / pairs; there must be a pair.

    Source:
        Agresti, Min (2005), "Simple improved confidence intervals for comparing matched
        proportions", Statistics in Medicine 24, 729-740: half a pair more of every kind.
    """
    pairs = counts.pairs + 2
    centre = (counts.test - counts.control) / pairs
    variance = ((counts.decided + 1) / pairs - centre**2) / pairs
    half = -float(special.ndtri(alpha / 2)) * math.sqrt(variance)
    return Interval(max(-1.0, centre - half), min(1.0, centre + half))
