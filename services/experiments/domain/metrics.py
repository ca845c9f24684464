"""What is compared between arms: each a ratio of sums over users."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from services.experiments.domain.analysis import (
    Covariate,
    Difference,
    Ratio,
    adjusted,
    covariate,
    difference,
    ratio_of,
)
from services.experiments.domain.options import Margins
from services.experiments.domain.totals import USERS, ArmTotals

MIN_USERS = 10  # in each arm, below which nothing is decided
MIN_RESULTS = 10
ALL_EXPLAINED = 1e-9  # of the variance left: what is left is rounding, which decides nothing
SLOPE_FROM = 10.0  # effective users in each arm, from which on a slope can be learned


Kind = Literal["amount", "share", "stars"]


@dataclass(frozen=True, slots=True)
class Metric:
    """R = Σ numerator / Σ denominator; the users who have any *present* are counted."""

    name: str
    numerator: str
    denominator: str
    present: str
    unit: float = 1.0  # one of ours, in what is shown
    kind: Kind = "amount"

    def of(self, arm: ArmTotals) -> Ratio | None:
        """Estimate it; what was never seen to happen is not sure never to happen."""
        found = ratio_of(arm, self.numerator, self.denominator)
        if found is None or self.kind == "amount":
            return found
        # Laplace's rule of succession; of stars that are all alike, one may be a star off.
        n = arm.sum(self.denominator)
        happened = arm.sum(self.numerator) if self.kind == "share" else 0
        share = (happened + 1) / (n + 2)
        return replace(found, variance=max(found.variance, share * (1 - share) / n))

    def enough(self, arm: ArmTotals) -> bool:
        counted = self.present if self.denominator == USERS else self.denominator
        return arm.users(self.present) >= MIN_USERS and arm.sum(counted) >= MIN_RESULTS


USD, MS = 1e-9, 1e-3
# Until something fails or is called bad, this is the cost per request.
COST = Metric("cost_per_successful_request", "cost_nano_usd", "good", "priced", USD)
COST_PER_REQUEST = Metric("cost_per_request", "cost_nano_usd", "priced", "priced", USD)
QUALITY = Metric("quality", "quality", "rated", "rated", kind="stars")
SLOW = Metric("slow_ratio", "slow", "results", "results", kind="share")
FAILURES = Metric("failure_ratio", "failures", "results", "results", kind="share")
WATCHED = (
    COST,
    COST_PER_REQUEST,
    QUALITY,
    Metric("latency_ms", "latency_us", "results", "results", MS),
    FAILURES,
    SLOW,
    Metric("requests_per_user", "results", USERS, "results"),
    Metric("cost_per_user", "cost_nano_usd", USERS, "priced", USD),
    Metric("feedback_ratio", "rated", "results", "results", kind="share"),
    Metric("fallbacks_per_request", "fallbacks", "results", "results"),
)


class Compared(NamedTuple):
    control: Ratio
    test: Ratio

    @property
    def certain(self) -> bool:
        """Neither arm varies at all."""
        return bool(self.control.variance == 0 and self.test.variance == 0)

    @property
    def difference(self) -> Difference:
        return difference(self.control, self.test)


def compare(metric: Metric, control: ArmTotals, test: ArmTotals) -> Compared | None:
    """Estimate *metric* in both arms; None while one has too little of it."""
    if not (metric.enough(control) and metric.enough(test)):
        return None
    a, b = metric.of(control), metric.of(test)
    return Compared(a, b) if a and b else None


def compare_adjusted(metric: Metric, control: ArmTotals, test: ArmTotals) -> Compared | None:
    """Do the same with what the length of prompts explains taken out; None if it is not known."""
    raw = compare(metric, control, test)
    if raw is None or metric.present != "priced" or metric.denominator == USERS:
        return None
    if any(arm.sum("measured") < arm.sum("priced") for arm in (control, test)):
        return None
    of_control, of_test = covariate_of(metric, control), covariate_of(metric, test)
    if of_control.own + of_test.own == 0 or min(raw.control.users, raw.test.users) <= SLOPE_FROM:
        return None
    found = Compared(*adjusted(raw.control, raw.test, of_control, of_test))
    before = raw.control.variance + raw.test.variance
    if found.control.variance + found.test.variance <= ALL_EXPLAINED * before:
        return None
    return found


def cost_of(control: ArmTotals, test: ArmTotals) -> Compared | None:
    """Estimate the costs that the verdict is about."""
    return compare_adjusted(COST, control, test) or compare(COST, control, test)


def covariate_of(metric: Metric, arm: ArmTotals) -> Covariate:
    """Relate a ratio of costs to the length of prompts."""
    m, d, x, k = metric.numerator, metric.denominator, "prompt_words", "priced"
    return covariate(
        arm.sum(m),
        arm.sum(d),
        arm.sum(x),
        arm.sum(k),
        xx=arm.product(x, x),
        xk=arm.product(x, k),
        kk=arm.product(k, k),
        mx=arm.product(m, x),
        mk=arm.product(m, k),
        dx=arm.product(d, x),
        dk=arm.product(d, k),
    )


@dataclass(frozen=True, slots=True)
class Worse:
    """By how much an arm is worse than it may be: positive is too much."""

    beyond: Difference
    scale: float  # the size of what is looked for


class Guardrail(NamedTuple):
    name: str
    metric: Metric

    def worse(self, control: ArmTotals, test: ArmTotals, margins: Margins) -> Worse | None:
        """Return how far *test* is beyond its margin; None while one arm has too little of it."""
        found = compare(self.metric, control, test)
        if found is None:
            return None
        if self.metric is QUALITY:
            beyond = difference(*found, times=1 - margins.quality_ratio)
            beyond = replace(beyond, value=-beyond.value)
            scale = 0.1 * float(found.control.value)
        elif self.metric is FAILURES:
            beyond = found.difference
            beyond = replace(beyond, value=beyond.value - margins.failures)
            scale = 0.05
        else:  # the margin is in what counts as slow
            beyond, scale = found.difference, 0.05
        return Worse(beyond, scale)


GUARDRAILS = (
    Guardrail("quality", QUALITY),
    Guardrail("latency", SLOW),
    Guardrail("failures", FAILURES),
)
