"""
The prior, fitted anew from all outcomes that are kept; the same from the same.

Nothing fades here; how strongly the fit is held back is read off the outcomes themselves.

Source: empirical Bayes, evidence maximisation (MacKay 1992).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.router.domain.learning import (
    MOST_CORRECTION,
    OUTCOME_SPREAD,
    PRIOR_DIFFICULTY,
    PRIOR_LEVEL,
    prior_of,
)
from services.router.domain.vector import SIZE, Floats

ENOUGH_OUTCOMES = 100  # in all; below it there is nothing to fit
FIRST_AT = 500
GROWTH = 1.1
PRECISIONS = (2_560.0, 1_280.0, 640.0, 320.0, 160.0, 80.0, 40.0)  # the most cautious first
CLEARLY = 2.0  # nats by which a less cautious one must win
NOISE = OUTCOME_SPREAD**2


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Kept outcomes of one model, in any order."""

    capability: float  # as declared
    phis: Floats  # shape (n, SIZE)
    outcomes: Floats  # shape (n,), 0 to 1
    weights: Floats  # shape (n,)


@dataclass(frozen=True, slots=True, eq=False)
class Refit:
    corrections: Mapping[str, Floats]  # by model: what is added to the θ₀ of its capability
    outcomes: int
    precision: float  # with which the fit was held back


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    matrix: Floats  # Σ wφφᵀ
    vector: Floats  # Σ w(r - prior)φ
    square: float  # Σ w(r - prior)²


def refit(kept: Mapping[str, Outcomes]) -> Refit:
    """Fit the prior of every model to all its outcomes; models without any keep theirs."""
    count = sum(len(one.outcomes) for one in kept.values())
    if count < ENOUGH_OUTCOMES:
        return Refit({}, count, 0.0)
    sums = {name: _sum(one) for name, one in kept.items()}
    precision = _caution(list(sums.values()))
    diagonal = _diagonal(precision)
    corrections: dict[str, Floats] = {
        name: _solve(one, diagonal).clip(-MOST_CORRECTION, MOST_CORRECTION)
        for name, one in sums.items()
    }
    return Refit(corrections, count, precision)


def _sum(one: Outcomes) -> _Sums:
    rests = one.outcomes - one.phis @ prior_of(one.capability).mean
    weighted = one.phis * one.weights[:, None]
    return _Sums(weighted.T @ one.phis, weighted.T @ rests, float(one.weights @ rests**2))


def _caution(sums: Sequence[_Sums]) -> float:
    """Choose how strongly differences are held back: the least likely to be chance."""
    best, most = PRECISIONS[0], -np.inf
    for precision in PRECISIONS:
        likely = sum(_log_evidence(one, _diagonal(precision)) for one in sums)
        if likely > most + CLEARLY:
            best, most = precision, likely
    return best


def _diagonal(precision: float) -> Floats:
    diagonal = np.full(SIZE, precision)
    diagonal[0], diagonal[1] = PRIOR_LEVEL, PRIOR_DIFFICULTY
    return diagonal


def _solve(sums: _Sums, diagonal: Floats) -> Floats:
    return np.linalg.solve(np.diag(diagonal) + sums.matrix, sums.vector).astype(np.float64)


def _log_evidence(sums: _Sums, diagonal: Floats) -> float:
    _, log_volume = np.linalg.slogdet(np.diag(diagonal) + sums.matrix)
    explained = float(sums.vector @ _solve(sums, diagonal))
    return float(
        0.5 * (np.log(diagonal).sum() - log_volume) - 0.5 * (sums.square - explained) / NOISE
    )


def refit_due(outcomes: int, fitted_at: int) -> bool:
    """Say whether there is so much more than at the last re-fit that it need not wait a week."""
    return outcomes >= max(FIRST_AT, GROWTH * fitted_at)
