"""
What outcomes say about a model: a Bayesian linear model of its quality on φ.

    A ← fA + (1-f)A₀ + wφφᵀ    b ← fb + (1-f)b₀ + wrφ    q = θᵀφ    s = noise·√(φᵀA⁻¹φ)    θ = A⁻¹b

for an outcome r of weight w, f being how it fades. Unrolled, A = A₀ + S with S ← fS + wφφᵀ: only S
and its companion are kept, so that the prior may change (a new capability in the catalog, a re-fit)
without touching what was seen. The prior comes back as outcomes fade: a model that is idle or that
drifted becomes uncertain and is tried again.

Source: the update of a Bayesian linear regression (Bishop 2006, section 3.3), with exponential
forgetting towards the prior (Kulhavy and Zarrop 1993).
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from services.router.domain.vector import SIZE, Floats

FADING = 0.998  # per outcome of the same model
FADING_SURPRISE = 0.95  # looks back on some twenty outcomes
TOO_SURPRISING = 4.0  # standard deviations
KEPT_OF_DRIFTED = 0.05
OUTCOME_SPREAD = 0.45  # standard deviation of one outcome; 0.5 would be a fair coin
PRIOR_LEVEL = 8.0  # what the declared capability weighs, in outcomes
PRIOR_DIFFICULTY = 40.0
PRIOR_FEATURE = 160.0  # with 40, a few hundred outcomes of chance order worse than complexity
FITTED_FEATURE = 1_000.0  # once a re-fit has set θ₀ from all outcomes, recent ones move it slowly
SLOPE = 0.35  # share of a model's declared weakness that a unit of difficulty adds
MOST_OUTCOMES = 2**53
MOST_WEIGHT = 1.01 / (1 - FADING)  # outcomes of weight 1 fade to this; more is nonsense
MOST_CORRECTION = 1.0  # of one number of θ₀
_ROUNDING = 1e-6

_UPPER = np.triu_indices(SIZE)
_SCALARS = 4
_PACKED = _UPPER[0].size + SIZE + _SCALARS


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Faded outcomes of one model. Nothing in it is ever changed in place."""

    matrix: Floats  # S: the sum of wφφᵀ
    vector: Floats  # the sum of wrφ
    weight: float  # the sum of w: how many outcomes stand behind it now
    outcomes: int  # ever
    surprise: float = 0.0  # how far the last few outcomes were off the mean: the sum of w(r - mean)
    surprise_square: float = 0.0  # the sum of w², for the spread of that sum by chance

    @classmethod
    def none(cls) -> Self:
        return cls(np.zeros((SIZE, SIZE)), np.zeros(SIZE), 0.0, 0)

    def learn(self, phi: Floats, outcome: float, weight: float = 1.0) -> "Evidence":
        """
        Add an outcome in [0, 1] on a prompt with features *phi*; what was there fades.

        When the last few outcomes are off the mean by more than chance, the model is not what it
        was: most of what was seen is forgotten at once.
        """
        mean = float(self.vector[0]) / self.weight if self.weight else outcome
        surprise = FADING_SURPRISE * self.surprise + weight * (outcome - mean)
        square = FADING_SURPRISE**2 * self.surprise_square + weight**2
        fading = FADING
        if abs(surprise) > TOO_SURPRISING * OUTCOME_SPREAD * math.sqrt(square):
            fading, surprise, square = KEPT_OF_DRIFTED, 0.0, 0.0
        return Evidence(
            fading * self.matrix + weight * np.outer(phi, phi),
            fading * self.vector + weight * outcome * phi,
            fading * self.weight + weight,
            self.outcomes + 1,
            surprise,
            square,
        )

    def revise(
        self,
        phi: Floats,
        before: tuple[float, float],
        after: tuple[float, float],
        *,
        later: int,
    ) -> "Evidence":
        """
        Change an outcome that was added before, as far as it has not faded.

        Args:
            phi: The prompt's features.
            before: Outcome and weight as they were added.
            after: Outcome and weight as they are now.
            later: Outcomes of this model that came after it.
        """
        kept = FADING ** max(later, 0)
        weight = kept * (after[1] - before[1])
        total = kept * (after[0] * after[1] - before[0] * before[1])
        revised = replace(
            self,
            matrix=self.matrix + weight * np.outer(phi, phi),
            vector=self.vector + total * phi,
            weight=self.weight + weight,
        )
        return revised if revised.sane else self  # it was forgotten by surprise meanwhile

    @property
    def sane(self) -> bool:
        """False for what no outcomes in [0, 1] can add up to."""
        if not (np.isfinite(self.matrix).all() and np.isfinite(self.vector).all()):
            return False
        if not (math.isfinite(self.surprise) and 0 <= self.surprise_square <= MOST_WEIGHT):
            return False
        weight, total, level = self.weight, float(self.vector[0]), float(self.matrix[0, 0])
        return (
            math.isfinite(weight)
            and 0 <= weight <= MOST_WEIGHT
            and abs(level - weight) <= _ROUNDING * (1 + weight)
            and -_ROUNDING <= total <= weight + _ROUNDING * (1 + weight)
            and bool(np.linalg.eigvalsh(self.matrix)[0] >= -_ROUNDING * (1 + weight))
        )

    def pack(self) -> bytes:
        """Return it as bytes, to be kept."""
        scalars = [self.weight, self.outcomes, self.surprise, self.surprise_square]
        return np.concatenate((self.matrix[_UPPER], self.vector, scalars)).astype("<f8").tobytes()

    @classmethod
    def unpack(cls, kept: bytes) -> "Evidence | None":
        """Read what `pack` gave; None for anything that no outcomes can add up to."""
        if len(kept) != 8 * _PACKED:
            return None
        flat = np.frombuffer(kept, "<f8")
        weight, outcomes, surprise, square = flat[-_SCALARS:].tolist()
        if not np.isfinite(flat).all() or not 0 <= outcomes < MOST_OUTCOMES:
            return None
        matrix = np.zeros((SIZE, SIZE))
        matrix[_UPPER] = flat[: _UPPER[0].size]
        matrix += np.triu(matrix, 1).T
        vector = flat[_UPPER[0].size : -_SCALARS].copy()
        found = cls(matrix, vector, weight, int(outcomes), surprise, square)
        return found if found.sane else None


NO_EVIDENCE = Evidence.none()


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """What is believed without recent outcomes: θ₀, and A₀ on its diagonal."""

    mean: Floats
    precision: Floats


def prior_of(capability: float, fitted: Floats | None = None) -> Prior:
    """
    Return the prior of a model of declared *capability*.

    It orders models as their capability does, the more the harder the prompt.

    Args:
        capability: Probability of a good enough answer to a usual prompt, 0 to 1.
        fitted: What a re-fit added to θ₀; None: there was none.
    """
    mean = np.zeros(SIZE)
    mean[0] = capability
    mean[1] = -SLOPE * (1 - capability)
    precision = np.full(SIZE, PRIOR_FEATURE if fitted is None else FITTED_FEATURE)
    precision[0], precision[1] = PRIOR_LEVEL, PRIOR_DIFFICULTY
    return Prior(mean if fitted is None else mean + fitted, precision)


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """The posterior of one model: prior and evidence together."""

    mean: Floats
    covariance: Floats  # A⁻¹
    evidence: float  # weight of the outcomes behind it, the prior's left out

    def expect(self, phi: Floats) -> tuple[float, float]:
        """Return (q, s): the expected quality on a prompt, and how far off that may be."""
        variance = float(phi @ self.covariance @ phi)
        return float(self.mean @ phi), OUTCOME_SPREAD * math.sqrt(max(variance, 0.0))


def believe(prior: Prior, evidence: Evidence) -> Belief:
    """Put prior and evidence together."""
    precision = np.diag(prior.precision) + evidence.matrix
    covariance = np.linalg.inv(precision).astype(np.float64)
    mean: Floats = covariance @ (prior.precision * prior.mean + evidence.vector)
    return Belief(mean, covariance, evidence.weight)


def correction_of(kept: bytes) -> Floats | None:
    """Read what a re-fit added to a θ₀; None for what it cannot have added."""
    try:
        found = np.frombuffer(kept, "<f8").astype(np.float64)
    except ValueError:
        return None
    return found if fits(found) else None


def fits(correction: Floats) -> bool:
    """Say whether a re-fit can have added this to a θ₀."""
    return (
        correction.shape == (SIZE,)
        and bool(np.isfinite(correction).all())
        and float(np.abs(correction).max()) <= MOST_CORRECTION
    )
