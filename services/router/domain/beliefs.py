"""What was learned so far, as one decision sees it: a snapshot that never changes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.router.domain.catalog import Model
from services.router.domain.complexity import FIXED, Thresholds
from services.router.domain.learning import (
    NO_EVIDENCE,
    PRIOR_DIFFICULTY,
    PRIOR_FEATURE,
    PRIOR_LEVEL,
    Belief,
    Evidence,
    Prior,
    believe,
    prior_of,
)
from services.router.domain.vector import SIZE, Floats
from services.router.domain.verifier import verdict_of

DEFAULT_OUTPUT_TOKENS = 300
LENGTHS = "output_tokens"  # the evidence on how long answers are; models are called a/b
FAULTS = "faults:"  # before a model's name: the evidence on its faults
VERDICTS = "verdicts"  # the evidence on which checked answers are wrong
LENGTH_SCALE = 10.0  # lengths are learned as log(tokens) / LENGTH_SCALE: 0 to 1 up to 22,000
ENOUGH_LENGTHS = 20.0
MOST_LENGTH_RATIO = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Beliefs:
    """
    Args:
        evidence: By model. What is absurd must have been left out: `Evidence.unpack` does.
        faults: How often answers have a fault that shows, by model.
        corrections: What the last re-fit added to θ₀, by model.
        output_tokens: Running mean by model.
        lengths: How long answers are, by prompt: of all models together.
        usual_cost_nano_usd: Running mean of what the dearest model would have cost.
        thresholds: Where the tiers of complexity begin.
        fallen_back: Hybrid did worse than complexity lately, and leaves most choices to it.
        verdicts: How often checked answers were wrong, by what the checks found.
    """

    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    faults: Mapping[str, Evidence] = field(default_factory=dict)
    corrections: Mapping[str, Floats] = field(default_factory=dict)
    output_tokens: Mapping[str, float] = field(default_factory=dict)
    lengths: Evidence = NO_EVIDENCE
    usual_cost_nano_usd: float | None = None
    thresholds: Thresholds = FIXED
    fallen_back: bool = False
    verdicts: Evidence = NO_EVIDENCE
    _known: dict[tuple[str, float], Belief] = field(default_factory=dict, repr=False)

    @property
    def weight(self) -> float:
        """Say how many outcomes of all models stand behind it."""
        return sum(one.weight for one in self.evidence.values())

    def of(self, model: Model) -> Belief:
        """Return what is believed of *model*; computed once a snapshot."""
        key = (model.name, model.capability)
        found = self._known.get(key)
        if found is None:
            prior = prior_of(model.capability, self.corrections.get(model.name))
            found = believe(prior, self.evidence.get(model.name, NO_EVIDENCE))
            self._known[key] = found
        return found

    def fault_ratio(self, model: Model, phi: Floats) -> float:
        """Return the share of *model*'s answers to such prompts that show a fault, 0 to 1."""
        evidence = self.faults.get(model.name)
        if evidence is None or not evidence.vector[0]:
            return 0.0  # none was ever seen
        key = (FAULTS + model.name, 0.0)
        belief = self._known.get(key)
        if belief is None:
            belief = self._known[key] = believe(_level_prior(0.0), evidence)
        return max(0.0, min(belief.expect(phi)[0], 1.0))

    @property
    def verdict(self) -> Belief:
        """What is believed of answers that were checked."""
        key = (VERDICTS, 0.0)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = verdict_of(self.verdicts)
        return found

    def answer_tokens(self, model: Model) -> float:
        """Return how long an answer of *model* usually is."""
        mean = self.output_tokens.get(model.name, DEFAULT_OUTPUT_TOKENS)
        return mean if math.isfinite(mean) and mean > 0 else DEFAULT_OUTPUT_TOKENS

    def length_ratio(self, phi: Floats) -> float:
        """Say how many times longer than usual answers to such a prompt are."""
        lengths = self.lengths
        if lengths.weight < ENOUGH_LENGTHS:
            return 1.0
        usual = float(lengths.vector[0]) / lengths.weight
        key = (LENGTHS, usual)
        belief = self._known.get(key)
        if belief is None:
            belief = self._known[key] = believe(_level_prior(usual), lengths)
        ratio = math.exp(LENGTH_SCALE * (belief.expect(phi)[0] - usual))
        return max(1 / MOST_LENGTH_RATIO, min(ratio, MOST_LENGTH_RATIO))


NOTHING_LEARNED = Beliefs()


def length_outcome(output_tokens: int) -> float:
    """Return a length as `Beliefs.lengths` learns it."""
    return min(math.log(max(output_tokens, 1)) / LENGTH_SCALE, 1.0)


def _level_prior(level: float) -> Prior:
    """Expect *level* of every prompt."""
    mean, precision = np.zeros(SIZE), np.full(SIZE, PRIOR_FEATURE)
    mean[0] = level
    precision[0], precision[1] = PRIOR_LEVEL, PRIOR_DIFFICULTY
    return Prior(mean, precision)
