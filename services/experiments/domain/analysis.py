"""
Comparing two arms. Users are randomised, so users are counted: a user's requests are alike.

Everything here is valid for one look at the planned size; a p-value for looking at any time is
another matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special  # type: ignore[import-untyped]  # `stats` takes a second to import

from common.errors import Invalid

Floats = npt.NDArray[np.float64]

MIN_USERS = 10  # in each arm, below which no p-value is told
MIN_RESULTS = 10


@dataclass(frozen=True, slots=True)
class UserCost:
    """One user's priced requests in one arm."""

    requests: int
    cost_nano_usd: int


@dataclass(frozen=True, slots=True)
class Effect:
    """A difference of two means, and how surprising it would be if there were none."""

    difference: float
    low: float
    high: float
    p_value: float


def user_means(users: Sequence[UserCost]) -> Floats:
    """Return each user's cost per request in nano-USD, shape (n,): one value, one vote a user."""
    return np.array([u.cost_nano_usd / u.requests for u in users], dtype=np.float64)


def mean_difference(control: Floats, test: Floats, *, confidence: float = 0.95) -> Effect:
    """
    Estimate mean(test) - mean(control), allowing unequal variances.

    Fixed-horizon: valid when looked at once, at the planned sample size.

    Args:
        control: Shape (n,), n >= 2. One value per user, any unit.
        test: Shape (m,), m >= 2. Same unit as *control*.
        confidence: Coverage of the interval, strictly between 0 and 1.

    Returns:
        The effect in the samples' unit; low <= difference <= high; 0 <= p_value <= 1. If neither
        sample varies, the interval is a point and the p-value 1 (equal) or 0 (different).

    Raises:
        Invalid: a sample has under two values or one that is not finite; *confidence* is outside.

    Source:
        B. L. Welch (1947), Biometrika 34, 28-35; degrees of freedom after Satterthwaite (1946),
        Biometrics Bulletin 2, 110-114.
    """
    for sample in (control, test):
        if sample.ndim != 1 or sample.size < 2 or not np.isfinite(sample).all():  # noqa: PLR2004
            raise Invalid("a sample must have at least two values, all finite")
    if not 0 < confidence < 1:
        raise Invalid(f"confidence must be within (0, 1), got {confidence}")

    (mean_c, error_c), (mean_t, error_t) = _mean_and_error(control), _mean_and_error(test)
    difference = mean_t - mean_c
    error = error_c + error_t
    if error == 0:
        return Effect(difference, difference, difference, 1.0 if difference == 0 else 0.0)
    # The shares sum to 1, so this is Satterthwaite's formula without its over- and underflows.
    share_c, share_t = error_c / error, error_t / error
    freedom = 1 / (share_c**2 / (control.size - 1) + share_t**2 / (test.size - 1))
    half = float(special.stdtrit(freedom, (1 + confidence) / 2)) * float(np.sqrt(error))
    p_value = 2 * float(special.stdtr(freedom, -abs(difference) / np.sqrt(error)))
    return Effect(difference, difference - half, difference + half, min(1.0, p_value))


def p_value_fixed(
    control: Sequence[UserCost], test: Sequence[UserCost], *, results: int, sample_size: int
) -> float | None:
    """
    Return Welch's two-sided p on user means of the cost per request; None while it says nothing.

    Args:
        control: The users with at least one priced request in the control arm.
        test: The same of the test arm.
        results: All results so far, unpriced and failed ones included.
        sample_size: How many were planned.

    Returns:
        None below 10 users or 10 priced results in an arm; and, while neither arm varies at all,
        until *sample_size* is reached: two constants differ by luck or by law, and only having
        waited tells.
    """
    for users in (control, test):
        if len(users) < MIN_USERS or sum(u.requests for u in users) < MIN_RESULTS:
            return None
    means_control, means_test = user_means(control), user_means(test)
    if np.ptp(means_control) == 0 and np.ptp(means_test) == 0 and results < sample_size:
        return None
    return mean_difference(means_control, means_test).p_value


def _mean_and_error(sample: Floats) -> tuple[float, float]:
    """Return the mean and its squared standard error; exactly 0 for a constant sample."""
    if np.ptp(sample) == 0:  # rounding in the mean would leave a variance that is not there
        return float(sample[0]), 0.0
    return float(sample.mean()), float(sample.var(ddof=1)) / sample.size
