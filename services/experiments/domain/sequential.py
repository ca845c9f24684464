"""
Looking at any time. A t-test that is looked at after each request finds a winner between two equal
arms in two of five experiments; what is said here is wrong in one of twenty, however often it is
looked at.

Two boundaries share the error. One knows where the experiment is meant to end and spends most of
its error there (O'Brien-Fleming, monitored continuously); the other ends early what is obvious
(a mixture sequential probability ratio test). The clock is requests, never users: of a closed
group of users all have come early on, and what they tell still grows.
"""

import math

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from services.experiments.domain.analysis import Difference, Values

ALPHA = 0.05
PLANNED_SHARE = 0.8  # of the error: the boundary that knows the planned size
EARLY_SHARE = 0.2  # the one that does not
EXPECTED_LIFT = 0.2  # τ: the size of effects that the early boundary is made for, of the control


def p_value(found: Difference, *, done: Values, scale: Values) -> Values:
    """
    Return the p-value of this look; the smallest of all looks so far is valid at any time.

    Args:
        found: The difference as it is now.
        done: The share of the planned results that is in, 0 to 1.
        scale: The size of effects that are looked for, in the unit of the difference.

    Returns:
        At most 0.05 exactly when this look is beyond one of the boundaries.

    Source:
        Planned end: P(sup |W(f)| > c) <= 4 (1 - Φ(c)), the reflection principle; O'Brien, Fleming
        (1979), Biometrics 35. Early: Robbins (1970), Ann. Math. Stat. 41; Howard, Ramdas,
        McAuliffe, Sekhon (2021), Ann. Statist. 49, eq. 14; Johari, Koomen, Pekelis, Walsh (2022),
        Oper. Res. 70.
    """
    z = np.abs(found.z)
    return _combined(z, 4 * special.ndtr(-z * np.sqrt(done)), scale**2 / found.variance)


def p_value_above(found: Difference, *, done: Values, scale: Values) -> Values:
    """Return the same against "not above 0": 1 while the difference is not positive."""
    z = np.maximum(found.z, 0.0)
    return _combined(z, 2 * special.ndtr(-z * np.sqrt(done)), scale**2 / found.variance)


def critical_z(variance: Values, *, done: Values, scale: Values, comparisons: int = 1) -> Values:
    """
    Return how large z must be to be beyond a boundary at this look.

    Of several *comparisons* each gets its part of the error (Bonferroni), so that their intervals
    hold together; the p-values, by Holm's rule, may be significant a little sooner.
    """
    alpha = ALPHA / comparisons
    planned = -special.ndtri(alpha * PLANNED_SHARE / 4)  # of one: 2.3263
    r = scale**2 / variance
    early = np.sqrt((1 + 1 / r) * (np.log1p(r) + 2 * math.log(1 / (alpha * EARLY_SHARE))))
    return np.minimum(planned / np.sqrt(done), early)


def _combined(z: Values, planned: Values, r: Values) -> Values:
    log_odds = r * z * z / (2 * (1 + r)) - np.log1p(r) / 2
    early = np.exp(np.minimum(-log_odds, 0.0))
    return np.minimum(1.0, np.minimum(planned / PLANNED_SHARE, early / EARLY_SHARE))
