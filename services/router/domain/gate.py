"""
When hybrid trusts learning: the gate before each choice, and the comparison behind all of them.

Source: B. L. Welch 1938, Biometrika 29, 350-362, for the interval of the comparison.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.router.domain.decision import Candidate

GATE_DOUBT = 0.5  # standard deviations held against a choice that is little known
GATE_LOSS = -0.02  # of quality that learning's choice may lose
GATE_EVIDENCE = 8.0  # outcomes of learning's choice: as much as its declaration weighs

WINDOW = 500  # outcomes that the comparison with complexity looks back on
MARGIN = 0.02  # of quality that hybrid may lose against complexity
FEWEST = 10  # outcomes on each side
ONE_SIDED_95 = 1.645


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether outcomes support learning's choice, where it differs from complexity's."""

    complexity_choice: str
    learning_choice: str
    gain: float  # in expected quality
    doubt: float  # held against it
    evidence: float  # outcomes of learning's choice

    @property
    def verdict(self) -> str:
        if self.complexity_choice == self.learning_choice:
            return "validated"
        return "learning_mismatch" if self.objection else "experimental"

    @property
    def objection(self) -> str:
        supported = self.gain - self.doubt >= GATE_LOSS
        if not supported and self.evidence < GATE_EVIDENCE:
            return f"{self.evidence:.0f} outcomes of it are too few, {GATE_EVIDENCE:.0f} are needed"
        if not supported:
            return (
                f"its gain in quality, {self.gain:+.3f} less {self.doubt:.3f} for doubt,"
                f" is below {GATE_LOSS:+.2f}"
            )
        return ""

    def explain(self) -> dict[str, object]:
        return {
            "verdict": self.verdict,
            "complexity_choice": self.complexity_choice,
            "learning_choice": self.learning_choice,
            "gain": round(self.gain, 4),
            "doubt": round(self.doubt, 4),
            "least_gain": GATE_LOSS,
            "evidence": round(self.evidence, 1),
            "least_evidence": GATE_EVIDENCE,
        }


def gate_of(c: Candidate, chosen: Candidate) -> Gate:
    """
    Compare complexity's choice *c* with learning's.

    Where learning's choice was hardly seen, it is only declared to be better, and that counts for
    nothing: then only what is wrong with *c* speaks for it.
    """
    better = chosen.expected_quality
    if chosen.evidence < GATE_EVIDENCE and c.faults < 1:
        promise = c.expected_quality / (1 - c.faults)  # of an answer without a fault
        better = min(better, promise * (1 - chosen.faults))
    return Gate(
        c.model.name,
        chosen.model.name,
        better - c.expected_quality,
        GATE_DOUBT * chosen.spread,
        chosen.evidence,
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Outcomes of the last `WINDOW` requests that passed the gate, with who chose."""

    treated: Sequence[float]  # learning's choice was taken
    control: Sequence[float]  # complexity's was kept, by chance

    @property
    def most(self) -> float | None:
        """
        Return the upper end of hybrid's advantage in quality, one-sided 95 %; None: too few.

        Source: B. L. Welch 1938, Biometrika 29, 350-362.
        """
        if min(len(self.treated), len(self.control)) < FEWEST:
            return None
        (mean, error), (other, other_error) = map(_mean, (self.treated, self.control))
        return mean - other + ONE_SIDED_95 * math.sqrt(error + other_error)

    @property
    def lost(self) -> bool:
        """True when hybrid is worse than complexity by more than the margin, for certain."""
        most = self.most
        return most is not None and most < -MARGIN


def _mean(outcomes: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its squared standard error; two outcomes on the edges added to each."""
    n = len(outcomes) + 2  # without them, ten equal outcomes would have no spread at all
    mean = (sum(outcomes) + 1) / n
    square = (sum(x * x for x in outcomes) + 1) / n
    return mean, max(square - mean**2, 0.0) / (n - 1)
