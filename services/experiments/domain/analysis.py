"""
Comparing two arms on ratios of sums over users: cost per request, failures per request, stars.

Users are randomised, so users are counted: the requests of one user are alike. Every function
takes single numbers or arrays of them (one element a look), and whole numbers are kept exact until
the last division.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special  # type: ignore[import-untyped]  # `stats` takes a second to import

from services.experiments.domain.totals import ArmTotals

Values = Any  # a float, or an array of them; of whole numbers where a docstring says so

SMALLEST_TAIL = 1e-300  # z is at most 37: surer than that makes no difference to anything


@dataclass(frozen=True, slots=True)
class Ratio:
    """R = ΣM / ΣD over the users of an arm, and how far it may be off."""

    value: Values
    variance: Values  # of the value, squared units
    users: Values  # that would tell as much if all had the same D; less those spent on slopes


@dataclass(frozen=True, slots=True)
class Difference:
    """R_test - R_control and how surprising it would be if the truth were 0."""

    value: Values
    variance: Values
    freedom: Values  # degrees of freedom, Welch-Satterthwaite

    @property
    def t(self) -> Values:
        return self.value / np.sqrt(self.variance)

    @property
    def p_value(self) -> Values:
        """Two-sided, for one look at the planned size."""
        return np.minimum(1.0, 2 * special.stdtr(self.freedom, -np.abs(self.t)))

    @property
    def z(self) -> Values:
        """Return the normal deviate that is as surprising as t, with the sign of the difference."""
        tail = special.stdtr(self.freedom, -np.abs(self.t))
        return -special.ndtri(np.clip(tail, SMALLEST_TAIL, 0.5)) * np.sign(self.value)


def ratio(m: Values, d: Values, *, mm: Values, md: Values, dd: Values) -> Ratio:
    """
    Estimate a ratio of sums with the delta method.

    A few users with many requests each tell less than their number says: chance is theirs alone.
    So users are counted by Kish's effective size, k = (ΣD)² / ΣD², which is their number if all
    have the same D. With one request a user this is the mean, and a difference of two is Welch's.

    Args:
        m: ΣM over users.
        d: ΣD, more than any one user has.
        mm: ΣM².
        md: ΣMD.
        dd: ΣD².

    Source:
        Deng, Knoblich, Lu 2018, "Applying the Delta Method in Metric Analytics", arXiv:1803.06336:
        V(R) = Σ(M - RD)² / (ΣD)², times k / (k - 1); k after L. Kish (1965), Survey Sampling.
    """
    centred = mm * d * d - 2 * m * d * md + m * m * dd  # Σ(M - RD)², times (ΣD)²
    return Ratio(m / d, centred / (d * d * (d * d - dd)), d * d / dd)


def ratio_of(arm: ArmTotals, numerator: str, denominator: str) -> Ratio | None:
    """Estimate a ratio of an arm; None where fewer than two users have any *denominator*."""
    d, dd = arm.sum(denominator), arm.product(denominator, denominator)
    if d * d <= dd:
        return None
    return ratio(
        arm.sum(numerator),
        d,
        mm=arm.product(numerator, numerator),
        md=arm.product(numerator, denominator),
        dd=dd,
    )


@dataclass(frozen=True, slots=True)
class Covariate:
    """How the length of prompts goes with what a ratio is of, in one arm."""

    value: Values  # P = ΣX / ΣN, words in a request
    own: Values  # Σ(X - PN)² / (ΣN)²
    joint: Values  # Σ(M - RD)(X - PN) / (ΣD ΣN)
    words: Values  # ΣX
    requests: Values  # ΣN


def covariate(
    m: Values,
    d: Values,
    x: Values,
    k: Values,
    *,
    xx: Values,
    xk: Values,
    kk: Values,
    mx: Values,
    mk: Values,
    dx: Values,
    dk: Values,
) -> Covariate:
    """Relate a ratio m/d to the covariate x/k (words in a request), by sums over users."""
    own = (xx * k * k - 2 * x * k * xk + x * x * kk) / k**4
    joint = (mx * d * k - m * k * dx - x * d * mk + m * x * dk) / (d * k) ** 2
    return Covariate(x / k, own, joint, x, k)


def adjusted(
    control: Ratio, test: Ratio, of_control: Covariate, of_test: Covariate
) -> tuple[Ratio, Ratio]:
    """
    Take out of both ratios what the length of prompts explains; an arm of under three is no use.

    Source:
        Deng, Xu, Kohavi, Walker 2013, "Improving the Sensitivity of Online Controlled Experiments
        by Utilizing Pre-Experiment Data" (CUPED), on linearised user totals; one slope for both
        arms, the one that leaves the difference with the least variance.
    """
    own = of_control.own + of_test.own
    joint = of_control.joint + of_test.joint
    slope = np.divide(joint, own, out=np.zeros_like(joint * 1.0), where=own != 0)
    overall = (of_control.words + of_test.words) / (of_control.requests + of_test.requests)
    return (
        _adjusted(control, of_control, slope, overall),
        _adjusted(test, of_test, slope, overall),
    )


def _adjusted(found: Ratio, by: Covariate, slope: Values, overall: Values) -> Ratio:
    k = found.users
    squares = found.variance * (k - 1) / k
    left = squares - 2 * slope * by.joint + slope * slope * by.own
    # The slope is learned from the same users: it costs one of them.
    variance = np.maximum(left, 0.0) * k / (k - 2)
    return Ratio(found.value - slope * (by.value - overall), variance, k - 1)


def difference(control: Ratio, test: Ratio, *, times: float = 1.0) -> Difference:
    """
    Return test - times * control with its degrees of freedom; the variances must not both be 0.

    On the absolute scale: on relative lift the delta method makes "cheaper" a far likelier false
    alarm than "dearer".

    Source:
        B. L. Welch (1947), Biometrika 34, 28-35; Satterthwaite (1946), Biometrics Bulletin 2.
    """
    of_control, of_test = control.variance * times**2, test.variance
    total = of_control + of_test
    # The shares sum to 1, so this is Satterthwaite's formula without its over- and underflows.
    share_c, share_t = of_control / total, of_test / total
    freedom = 1 / (share_c**2 / (control.users - 1) + share_t**2 / (test.users - 1))
    return Difference(test.value - times * control.value, total, freedom)


def critical_t(freedom: Values, z: Values) -> Values:
    """Return the t with these degrees of freedom that is as rare as *z*."""
    tail = np.maximum(special.ndtr(-z), SMALLEST_TAIL)
    return -special.stdtrit(freedom, tail)


@dataclass(frozen=True, slots=True)
class Interval:
    """None: without a bound on that side."""

    low: float | None
    high: float | None


def lift(control: Ratio, test: Ratio, critical: float) -> Interval:
    """
    Return the interval of R_test / R_control - 1; it leaves out 0 exactly when |t| > *critical*.

    Nothing that is measured falls below 0, so no lift is below -1.

    Source:
        E. C. Fieller (1954), "Some Problems in Interval Estimation", JRSS B 16, 175-185.
    """
    a, b = float(control.value), float(test.value)
    if not np.isfinite(critical * critical):
        return Interval(None, None)
    spread_a = critical * critical * float(control.variance)
    spread_b = critical * critical * float(test.variance)
    curve = a * a - spread_a
    if not curve > 0:  # the control may be 0: its multiples may be anything
        return Interval(None, None)
    root = float(np.sqrt(max(0.0, a * a * b * b - curve * (b * b - spread_b))))
    low, high = ((a * b + sign * root) / curve - 1 for sign in (-1, 1))
    return Interval(max(low, -1.0), max(high, -1.0))
