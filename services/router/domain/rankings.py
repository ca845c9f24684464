"""The plain rules: each ranks what fits, says in a sentence why, and of each other why not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.money import usd
from services.router.domain.candidates import (
    Question,
    capability_order,
    cost_order,
    fallbacks_of,
    find,
    fitting,
    with_fallbacks,
)
from services.router.domain.complexity import TIERS, Complexity
from services.router.domain.decision import Candidate, Confidence, Role

if TYPE_CHECKING:
    from services.router.domain.cascade import Plan

CLEAR_OF_THRESHOLD = 0.15  # a score this far from both thresholds is in its tier for certain
NEAR_THRESHOLD = 0.05


@dataclass(frozen=True, slots=True)
class Ranking:
    """
    Args:
        candidates: Whom to ask, in this order.
        confidence: In the choice.
        reasoning: Why the first one.
        lost: Says of another one why not.
        fits: All that could have been chosen.
        extra: What the rule has to add to the explanation.
        role: Why this choice was made.
        plan: To check the first answer.
        odds: With which each could have come first, by model; empty: the choice was certain.
    """

    candidates: tuple[Candidate, ...]
    confidence: Confidence
    reasoning: str
    lost: Callable[[Candidate], str]
    fits: Sequence[Candidate] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    role: Role = "plain"
    plan: "Plan | None" = None
    odds: Mapping[str, float] = field(default_factory=dict)


def by_complexity(question: Question, fits: Sequence[Candidate] | None = None) -> Ranking:
    """Take the cheapest model whose declared tier is that of the prompt or above."""
    complexity = question.complexity
    fits = fits or fitting(question)
    needed = TIERS.index(complexity.tier)
    adequate = sorted(
        (c for c in fits if TIERS.index(c.model.tier) >= needed),
        key=_declared_order,
    )
    below = sorted(
        (c for c in fits if TIERS.index(c.model.tier) < needed),
        key=capability_order,
    )
    if adequate:
        candidates = with_fallbacks(adequate, below, question=question)
        choice = f"{named(adequate[0])} is the cheapest of {counted(adequate)} adequate for that"
    else:
        candidates = with_fallbacks(below, question=question)
        choice = f"no model of that tier is on; {named(below[0])} is the most capable there is"

    def lost(other: Candidate) -> str:
        if adequate and TIERS.index(other.model.tier) < needed:
            return f"its tier, {other.model.tier}, is below the prompt's"
        return dearer(other, adequate[0]) if adequate else less_capable(other, below[0])

    why = f"The prompt is {complexity}; {choice}."
    return Ranking(candidates, _clearness(complexity), why, lost, fits)


def by_cost(question: Question) -> Ranking:
    """Take the cheapest model that fits."""
    ranked = sorted(fitting(question), key=cost_order)
    return Ranking(
        with_fallbacks(ranked, question=question),
        "high",
        f"{named(ranked[0])} is the cheapest of {counted(ranked)} that fit.",
        lambda other: dearer(other, ranked[0]),
        ranked,
    )


def by_capability(question: Question) -> Ranking:
    """Take the model of the highest declared capability that fits."""
    ranked = sorted(fitting(question), key=capability_order)
    best = ranked[0]
    return Ranking(
        with_fallbacks(ranked, question=question),
        "high",
        f"{named(best)} has the highest declared capability ({best.model.capability:.2f})"
        f" of {counted(ranked)} that fit.",
        lambda other: less_capable(other, best),
        ranked,
    )


def by_name(question: Question, name: str, *, embeddings: bool = False) -> Ranking:
    """Take the named model, and nothing in its place but the fallbacks its entry declares."""
    model = find(name, question.catalog, embeddings=embeddings)
    candidates = (question.expect(model), *fallbacks_of(model, question))
    return Ranking(
        candidates,
        "high",
        f"{named(candidates[0])} was asked for by name.",
        lambda _: f"a fallback that {name} declares",
    )


def named(candidate: Candidate) -> str:
    return f"{candidate.model.name} ({priced(candidate)})"


def priced(candidate: Candidate) -> str:
    cost = usd(candidate.expected_cost_nano_usd)
    return "unpriced" if cost is None else f"about ${cost:.6f}"


def counted(candidates: Sequence[Candidate]) -> str:
    return "1 model" if len(candidates) == 1 else f"{len(candidates)} models"


def dearer(other: Candidate, chosen: Candidate) -> str:
    if other.expected_cost_nano_usd is None:
        return "its price is not known"
    if other.expected_cost_nano_usd == chosen.expected_cost_nano_usd:
        return f"no cheaper than {chosen.model.name}, and comes after it"
    return f"{priced(other)}, against {priced(chosen)}"


def less_capable(other: Candidate, chosen: Candidate) -> str:
    declared, best = other.model.capability, chosen.model.capability
    if declared == best:
        return f"declared as capable as {chosen.model.name}, but {dearer(other, chosen)}"
    return f"declared capability {declared:.2f}, against {best:.2f}"


def _declared_order(candidate: Candidate) -> tuple[bool, int, float, str]:
    """Sort cheapest first, as `cost_order`, but let nothing that was learned decide."""
    unpriced, cost, _, name = cost_order(candidate)
    return (unpriced, cost, -candidate.model.capability, name)


def _clearness(complexity: Complexity) -> Confidence:
    cuts = (complexity.thresholds.moderate, complexity.thresholds.complex)
    distance = min(abs(complexity.score - cut) for cut in cuts)
    if distance >= CLEAR_OF_THRESHOLD:
        return "high"
    return "medium" if distance >= NEAR_THRESHOLD else "low"
