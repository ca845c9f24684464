"""
What outcomes say about a model: a probability of a good enough answer, per difficulty.

Beta prior from the catalog's declared capability, worth `PRIOR_WEIGHT` outcomes, moved by feedback
in [0, 1]. Without any feedback it orders models as their declared capability does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from services.router.domain.catalog import Model, Tier

PRIOR_WEIGHT = 8.0
OUTCOME_SPREAD = 0.45  # standard deviation of one outcome; 0.5 would be a fair coin
DEFAULT_OUTPUT_TOKENS = 300
ROUNDING = 1e-6  # what adding and taking back many outcomes may leave
# Share of a model's declared weakness (1 - capability) that shows on prompts of each difficulty.
WEAKNESS_SHOWN: Mapping[Tier, float] = {"simple": 0.15, "moderate": 0.35, "complex": 0.9}

Preset = Literal["economy", "balanced", "quality"]
# How much expected quality may be given up for a lower price.
GIVE_UP: Mapping[Preset, float] = {"economy": 0.2, "balanced": 0.1, "quality": 0.03}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Outcomes of one model on prompts of one difficulty, summed with their weights."""

    weight: float = 0.0
    total: float = 0.0  # sum of weight times outcome

    @property
    def sane(self) -> bool:
        """False for what no outcomes in [0, 1] can add up to."""
        return (
            math.isfinite(self.weight)
            and math.isfinite(self.total)
            and -ROUNDING <= self.total <= self.weight + ROUNDING
        )


NO_EVIDENCE = Evidence()


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What was learned so far: a snapshot that never changes."""

    evidence: Mapping[tuple[str, Tier], Evidence] = field(default_factory=dict)
    output_tokens: Mapping[str, float] = field(default_factory=dict)  # running mean by model

    def of(self, model: Model, tier: Tier) -> Evidence:
        """Return the evidence on *model*; none where it is absurd: the prior stands then."""
        found = self.evidence.get((model.name, tier), NO_EVIDENCE)
        return found if found.sane else NO_EVIDENCE

    def answer_tokens(self, model: Model) -> float:
        """Return how long an answer of *model* is expected to be."""
        mean = self.output_tokens.get(model.name, DEFAULT_OUTPUT_TOKENS)
        return mean if math.isfinite(mean) and mean > 0 else DEFAULT_OUTPUT_TOKENS


NOTHING_LEARNED = Beliefs()


def prior_quality(model: Model, tier: Tier) -> float:
    """Return the expected quality before any outcome."""
    return 1 - WEAKNESS_SHOWN[tier] * (1 - model.capability)


def quality(model: Model, tier: Tier, evidence: Evidence) -> float:
    """Return the expected quality: the mean of the posterior."""
    prior = prior_quality(model, tier)
    return (PRIOR_WEIGHT * prior + evidence.total) / (PRIOR_WEIGHT + evidence.weight)


def spread(evidence: Evidence) -> float:
    """Return the standard deviation of the expected quality."""
    return OUTCOME_SPREAD / math.sqrt(PRIOR_WEIGHT + evidence.weight)
