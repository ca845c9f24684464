"""
Learning, and learning behind a gate: hybrid takes learning's choice only where outcomes support it.

A small share of what passes the gate stays on complexity's choice. Comparing the two says whether
hybrid earns its keep; if it does worse, complexity decides until the evidence against it has aged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.router.domain.candidates import Question, cost_order, fitting, with_fallbacks
from services.router.domain.decision import Candidate, Confidence, Role
from services.router.domain.preference import (
    EXPLORED_SHARE,
    Wish,
    affordable,
    dice_of,
    explore,
    order,
    worths,
)
from services.router.domain.rankings import Ranking, by_complexity, counted, named

GATE_DOUBT = 0.5  # standard deviations held against a choice that is little known
GATE_LOSS = -0.02  # of quality that learning's choice may lose
CONTROL_SHARE = 0.03

MUCH_EVIDENCE = 50.0
SOME_EVIDENCE = 10.0
SURE = 0.12  # spread of the expected quality
RATHER_SURE = 0.25

WINDOW = 500  # outcomes that the comparison with complexity looks back on
MARGIN = 0.02  # of quality that hybrid may lose against complexity
FEWEST = 10  # outcomes on each side
ONE_SIDED_95 = 1.645


def by_learning(question: Question, wish: Wish, fits: Sequence[Candidate] | None = None) -> Ranking:
    """Take the model of the best expected quality for its price; now and then, try another."""
    fits = affordable(fits or fitting(question), wish)
    ranked = order(question, fits, wish)
    said: dict[str, object] = {"preset": wish.preset, "explored": False}
    if _explores(question, wish):
        tried = explore(question, fits, wish)
        said["explored"] = tried.model.name != ranked[0].model.name
        if said["explored"]:
            why = f"{named(tried)} is tried to learn more; by what is known it would have been"
            return _learned(question, [tried], ranked, f"{why} {named(ranked[0])}.", said)
    return _learned(question, ranked[:1], ranked[1:], _argument(ranked, wish), said)


def by_hybrid(question: Question, wish: Wish) -> Ranking:
    """Take learning's choice where outcomes support it, else complexity's."""
    fits = fitting(question)
    cautious = by_complexity(question, affordable(fits, wish))
    learned = by_learning(question, wish, fits)
    c, chosen = cautious.candidates[0], learned.candidates[0]
    gate = _gate(question, wish, c, chosen)
    role: Role = "plain"
    ranking = cautious
    if question.beliefs.fallen_back:
        why = "Learning did worse than complexity lately, so complexity decides."
    elif learned.role == "explored":
        ranking, role, why = learned, "explored", "Explored."
    elif chosen.model.name == c.model.name:
        ranking, why = learned, "Complexity and learning agree."
    elif gate["verdict"] == "learning_mismatch":
        why = f"Outcomes do not yet support learning's choice, {chosen.model.name}."
    elif dice_of(question, "control").random() < CONTROL_SHARE:
        role, why = "control", "Kept on complexity's choice, to compare the two."
    else:
        ranking, role = learned, "treated"
        why = f"Outcomes support learning's choice over {c.model.name} ({gate['gain']:+.3f})."
    return Ranking(
        ranking.candidates,
        ranking.confidence,
        f"{why} {ranking.reasoning}",
        {
            **learned.extra,
            "chosen_by": "learning" if ranking is learned else "complexity",
            "explored": role == "explored",
            "gate": gate,
        },
        role,
    )


def trust(candidate: Candidate) -> Confidence:
    """Say how sure we are of what is expected of *candidate*."""
    if candidate.evidence >= MUCH_EVIDENCE and candidate.spread <= SURE:
        return "high"
    if candidate.evidence >= SOME_EVIDENCE and candidate.spread <= RATHER_SURE:
        return "medium"
    return "low"


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


def _gate(question: Question, wish: Wish, c: Candidate, chosen: Candidate) -> dict[str, object]:
    worth = worths(question, [c, chosen], wish.price)
    quality_gain = chosen.expected_quality - c.expected_quality
    doubt = GATE_DOUBT * chosen.spread
    if chosen.model.name == c.model.name:
        verdict = "validated"
    else:
        supported = quality_gain - doubt >= GATE_LOSS
        verdict = "experimental" if supported else "learning_mismatch"
    return {
        "verdict": verdict,
        "complexity_choice": c.model.name,
        "learning_choice": chosen.model.name,
        "gain": round(quality_gain, 4),
        "worth_gain": round(worth[chosen.model.name] - worth[c.model.name], 4),
        "doubt": round(doubt, 4),
        "most_loss": -GATE_LOSS,
        "fallen_back": question.beliefs.fallen_back,
    }


def _explores(question: Question, wish: Wish) -> bool:
    return wish.explorable and dice_of(question, "explore").random() < EXPLORED_SHARE


def _learned(
    question: Question,
    chosen: Sequence[Candidate],
    rest: Sequence[Candidate],
    why: str,
    said: dict[str, object],
) -> Ranking:
    first = chosen[0]
    others = [c for c in rest if c.model.name != first.model.name]
    candidates = with_fallbacks(chosen, others, question=question)
    role: Role = "explored" if said["explored"] else "plain"
    return Ranking(candidates, trust(first), why, said, role)


def _argument(ranked: Sequence[Candidate], wish: Wish) -> str:
    first = ranked[0]
    expected = f"{first.expected_quality:.0%} ± {first.spread:.0%}"
    from_what = f"{first.evidence:.0f} outcomes and its declared capability"
    if wish.min_quality is not None:
        clears = "the cheapest" if first.expected_quality >= wish.min_quality else "the best"
        return (
            f"{named(first)} is {clears} of {counted(ranked)} for a quality of"
            f" {wish.min_quality:.0%} (expected: {expected}, from {from_what})."
        )
    best = max(ranked, key=lambda c: (c.expected_quality, cost_order(c)))
    return (
        f"{named(first)} is expected to do well in {expected} of such cases (from {from_what});"
        f" the best of {counted(ranked)}, {best.model.name}, in {best.expected_quality:.0%}."
        f" A choice may cost {wish.price:.0%} of quality more per price of the dearest model."
    )


def _mean(outcomes: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its squared standard error; two outcomes on the edges added to each."""
    n = len(outcomes) + 2  # without them, ten equal outcomes would have no spread at all
    mean = (sum(outcomes) + 1) / n
    square = (sum(x * x for x in outcomes) + 1) / n
    return mean, max(square - mean**2, 0.0) / (n - 1)
