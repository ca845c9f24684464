"""
What would another strategy have cost? An estimate from what this one did, and left to chance.

    V = mean( rₜx̂ₜ + w (c - rₐx̂ₐ) )    w = 1{a = t} / p(t), at most MOST_WEIGHT

for the model a that was asked, the one t that the other strategy would have asked, its propensity
p, the cost c that came of it, expected costs x̂ and their corrections r. Where chance decided, the
second term corrects what is expected by what happened; where it did not, expectation is all there
is. It is right on average if either the propensities or the expected costs are.

Source: Dudík, Langford and Li 2011, "Doubly Robust Policy Evaluation and Learning",
arXiv:1103.4601.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.router.domain.trends import t_quantile
from services.router.domain.vector import Floats

Mask: TypeAlias = NDArray[np.bool_]

MOST_WEIGHT = 100.0  # of one request: clipping pulls the estimate towards what is expected
FEWEST_OF_MODEL = 10  # requests; below it the correction of all models serves
FEWEST_EFFECTIVE = 10.0  # requests that went where the other strategy would have sent them
FEWEST_USERS = 5  # below it nobody knows how much users differ


@dataclass(frozen=True, slots=True)
class Case:
    """One request: what was done and what it cost, beside what would have been done."""

    user: str | None  # None: nobody was named, and nobody else is like it
    cost_nano_usd: int
    chosen: str  # model that was asked first
    chosen_cost_nano_usd: int  # expected
    target: str  # model that the other strategy would have asked first
    target_cost_nano_usd: int  # expected
    propensity: float  # with which *target* was asked first; 0: it could not have been
    alone: bool = True  # the cost is that of *chosen*, and of those who stood in for it


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean cost of a request in nano-USD; what cannot be told is None, and *reason* says why."""

    requests: int
    actual: float | None = None
    estimated: float | None = None
    low: float | None = None  # 95 % interval
    high: float | None = None
    self_normalised: float | None = None  # by propensities alone: Σwc / Σw
    effective_size: float = 0.0  # requests that the correction rests on: (Σw)² / Σw²
    overlap_ratio: float | None = None  # share on which the other's choice had a chance
    reason: str = ""

    @property
    def saved_ratio(self) -> float | None:
        """Share of the cost that the other strategy would have saved; below 0: added."""
        if self.estimated is None or not self.actual:
            return None
        return 1 - self.estimated / self.actual


def estimate(cases: Sequence[Case]) -> Estimate:
    """
    Estimate the mean cost of what would have been done, with an interval clustered by user.

    The interval is that of a linearised mean: it counts that corrections are estimated as well, and
    that requests of one user are alike. It does not count what no data shows: errors of
    the expected cost where the overlap is missing.
    """
    if not cases:
        return Estimate(0, reason="no request with a price was routed in that time")
    cost = np.array([case.cost_nano_usd for case in cases], float)
    propensity = np.array([case.propensity for case in cases])
    same = np.array([case.alone and case.chosen == case.target for case in cases])
    weights = np.where(same & (propensity > 0), 1 / np.maximum(propensity, 1 / MOST_WEIGHT), 0.0)
    actual, overlap = float(cost.mean()), float((propensity > 0).mean())
    if not weights.any():
        why = (
            "none of these requests went where this strategy would have sent it"
            if overlap
            else "none of these requests could have gone where this strategy would have sent it"
        )
        return Estimate(len(cases), actual, overlap_ratio=overlap, reason=why)
    each, influence = _linearised(cases, cost, weights)
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    estimated = max(float(each.mean()), 0.0)
    half, why = _half_width(influence, [case.user for case in cases], effective)
    return Estimate(
        len(cases),
        actual,
        estimated,
        None if half is None else max(float(each.mean()) - half, 0.0),
        None if half is None else max(float(each.mean()) + half, 0.0),
        float((weights * cost).sum() / weights.sum()),
        effective,
        overlap,
        why,
    )


def _linearised(cases: Sequence[Case], cost: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """
    Return what each request says of the mean, and its influence on it, both of shape (n,).

    A correction r = Σc / Σx̂ of a model moves the mean by D = mean(x̂ₜ(1 - w)) over the requests
    that it corrects, and each request behind it moves r by (c - rx̂) / Σx̂.
    """
    expected = np.array([case.chosen_cost_nano_usd for case in cases], float)
    target = np.array([case.target_cost_nano_usd for case in cases], float)
    corrected_by = _corrections([case.chosen if case.alone else None for case in cases])
    each, influence = np.zeros(len(cases)), np.zeros(len(cases))
    targets = np.array([case.target for case in cases], object)
    for model in dict.fromkeys(targets.tolist()):
        mine = targets == model
        behind = corrected_by(model)
        total = float(expected[behind].sum())
        ratio = float(cost[behind].sum()) / total if total else 1.0
        wants = np.where(mine, target, 0.0)
        each += ratio * wants * (1 - weights)
        if total:
            moved = float((wants * (1 - weights)).mean())
            off = np.where(behind, cost - ratio * expected, 0.0)
            influence += moved * off * len(cases) / total
    each += weights * cost
    return each, influence + each - each.mean()


def _corrections(chosen: Sequence[str | None]) -> Callable[[str], Mask]:
    """Return which requests correct the expected cost of a model: its own, or those of all."""
    models = np.array(chosen, object)
    alone = np.array([model is not None for model in chosen])

    def behind(model: str) -> Mask:
        own = models == model
        return own if own.sum() >= FEWEST_OF_MODEL else alone

    return behind


def _half_width(
    influence: Floats, users: Sequence[str | None], effective: float
) -> tuple[float | None, str]:
    """Return half the interval; or None, and why."""
    known: dict[str, int] = {}
    places = [
        len(users) + number if user is None else known.setdefault(user, len(known))
        for number, user in enumerate(users)
    ]
    _, clusters = np.unique(places, return_inverse=True)
    count = int(clusters.max()) + 1
    if count < FEWEST_USERS:
        return None, f"an interval needs requests of at least {FEWEST_USERS} users"
    if effective < FEWEST_EFFECTIVE:
        return None, "too few requests went where this strategy would have sent them"
    sums = np.bincount(clusters, influence)
    variance = count / (count - 1) * float((sums**2).sum()) / len(users) ** 2
    return t_quantile(count - 1) * math.sqrt(variance), ""
