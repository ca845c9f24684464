"""Learning as the product does it, in bulk: outcome by outcome, with re-fits as they fall due."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from services.router.domain.learning import NO_EVIDENCE, Belief, Evidence, believe, prior_of
from services.router.domain.refit import Outcomes, refit, refit_due
from services.router.domain.vector import Floats


@dataclass
class Learner:
    """Models by number, with their declared capabilities."""

    capabilities: Sequence[float]
    evidence: list[Evidence] = field(init=False)
    corrections: dict[str, Floats] = field(default_factory=dict)
    fitted_at: int = 0
    kept: list[tuple[int, Floats, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.evidence = [NO_EVIDENCE for _ in self.capabilities]

    def learn(self, model: int, phi: Floats, outcome: float) -> None:
        self.evidence[model] = self.evidence[model].learn(phi, outcome)
        self.kept.append((model, phi, outcome))
        if refit_due(len(self.kept), self.fitted_at):
            self.refit()

    def refit(self) -> None:
        by_model = {
            str(model): Outcomes(
                capability,
                np.array([phi for one, phi, _ in self.kept if one == model]),
                np.array([outcome for one, _, outcome in self.kept if one == model]),
                np.ones(sum(one == model for one, _, _ in self.kept)),
            )
            for model, capability in enumerate(self.capabilities)
            if any(one == model for one, _, _ in self.kept)
        }
        self.corrections = dict(refit(by_model).corrections)
        self.fitted_at = len(self.kept)

    def beliefs(self) -> list[Belief]:
        return [
            believe(prior_of(capability, self.corrections.get(str(model))), evidence)
            for model, (capability, evidence) in enumerate(
                zip(self.capabilities, self.evidence, strict=True)
            )
        ]

    def qualities(self, phis: Floats) -> Floats:
        """Return what is expected of each model, shape (prompts, models)."""
        found: Floats = phis @ np.array([belief.mean for belief in self.beliefs()]).T
        return found
