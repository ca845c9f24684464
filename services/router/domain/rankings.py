"""The strategies' own rules: each ranks what fits and says in a sentence why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
from services.router.domain.complexity import COMPLEX_FROM, MODERATE_FROM, TIERS
from services.router.domain.decision import Candidate, Confidence
from services.router.domain.learning import GIVE_UP, Preset, spread

CLEAR_OF_THRESHOLD = 0.15  # a score this far from both thresholds is in its tier for certain
NEAR_THRESHOLD = 0.05
MUCH_EVIDENCE = 50.0
SOME_EVIDENCE = 10.0  # below it hybrid does not listen to learning
GATE_DOUBT = 0.5  # standard deviations held against a model that is little known
GATE_LOSS = -0.02  # expected quality that a cheaper choice of learning may lose


@dataclass(frozen=True, slots=True)
class Ranking:
    candidates: tuple[Candidate, ...]
    confidence: Confidence
    reasoning: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def by_complexity(question: Question, fits: Sequence[Candidate] | None = None) -> Ranking:
    """Take the cheapest model whose declared tier is that of the prompt or above."""
    complexity = question.complexity
    fits = fits or fitting(question)
    needed = TIERS.index(complexity.tier)
    adequate = sorted(
        (c for c in fits if TIERS.index(c.model.tier) >= needed),
        key=cost_order,
    )
    below = sorted(
        (c for c in fits if TIERS.index(c.model.tier) < needed),
        key=capability_order,
    )
    if adequate:
        candidates = with_fallbacks(adequate, below, question=question)
        choice = f"{_named(adequate[0])} is the cheapest of {_models(adequate)} adequate for that"
    else:
        candidates = with_fallbacks(below, question=question)
        choice = f"no model of that tier is on; {_named(below[0])} is the most capable there is"
    return Ranking(
        candidates, _clearness(complexity.score), f"The prompt is {complexity}; {choice}."
    )


def by_cost(question: Question) -> Ranking:
    """Take the cheapest model that fits."""
    ranked = sorted(fitting(question), key=cost_order)
    return Ranking(
        with_fallbacks(ranked, question=question),
        "high",
        f"{_named(ranked[0])} is the cheapest of {_models(ranked)} that fit.",
    )


def by_capability(question: Question) -> Ranking:
    """Take the model of the highest declared capability that fits."""
    ranked = sorted(fitting(question), key=capability_order)
    best = ranked[0]
    return Ranking(
        with_fallbacks(ranked, question=question),
        "high",
        f"{_named(best)} has the highest declared capability ({best.model.capability:.2f})"
        f" of {_models(ranked)} that fit.",
    )


def by_learning(
    question: Question, preset: Preset, fits: Sequence[Candidate] | None = None
) -> Ranking:
    """Take the cheapest model that is expected to be about as good as the best one."""
    tier = question.complexity.tier
    fits = fits or fitting(question)
    best = max(candidate.expected_quality for candidate in fits)
    bar = best - GIVE_UP[preset]
    good = sorted((c for c in fits if c.expected_quality >= bar), key=cost_order)
    rest = sorted(
        (c for c in fits if c.expected_quality < bar),
        key=lambda c: (-c.expected_quality, cost_order(c)),
    )
    evidence = question.beliefs.of(good[0].model, tier).weight
    return Ranking(
        with_fallbacks(good, rest, question=question),
        _trust(evidence),
        f"On {tier} prompts the best model is expected to do well in {best:.0%} of cases;"
        f" {_named(good[0])} is the cheapest of {_models(good)} within {GIVE_UP[preset]:.0%}"
        f" of that ({good[0].expected_quality:.0%}, from {evidence:.0f} outcomes"
        " and its declared capability).",
        {"preset": preset},
    )


def by_hybrid(question: Question, preset: Preset) -> Ranking:
    """Take learning's choice where outcomes support it, else complexity's."""
    tier = question.complexity.tier
    fits = fitting(question)
    cautious, learned = by_complexity(question, fits), by_learning(question, preset, fits)
    c, chosen = cautious.candidates[0], learned.candidates[0]
    outcomes = sum(question.beliefs.of(x.model, tier).weight for x in fits)
    gain = chosen.expected_quality - c.expected_quality
    doubt = GATE_DOUBT * spread(question.beliefs.of(chosen.model, tier))
    gate = {
        "outcomes": round(outcomes, 2),
        "outcomes_needed": SOME_EVIDENCE,
        "complexity_choice": c.model.name,
        "learning_choice": chosen.model.name,
        "gain": round(gain, 4),
        "doubt": round(doubt, 4),
    }

    if outcomes < SOME_EVIDENCE:
        by, ranking = "complexity", cautious
        why = f"Only {outcomes:.0f} outcomes on {tier} prompts so far, so complexity decides."
    elif chosen.model.name == c.model.name:
        by, ranking = "learning", learned
        why = "Complexity and learning agree."
    elif gain - doubt >= GATE_LOSS:
        by, ranking = "learning", learned
        why = f"Outcomes support learning's choice over {c.model.name} ({gain:+.0%} quality)."
    else:
        by, ranking = "complexity", cautious
        why = f"Outcomes do not yet support learning's choice, {chosen.model.name}."
    return Ranking(
        ranking.candidates,
        ranking.confidence,
        f"{why} {ranking.reasoning}",
        {"preset": preset, "chosen_by": by, "gate": gate},
    )


def by_name(question: Question, name: str, *, embeddings: bool = False) -> Ranking:
    """Take the named model, and nothing in its place but the fallbacks its entry declares."""
    model = find(name, question.catalog, embeddings=embeddings)
    candidates = (question.expect(model), *fallbacks_of(model, question))
    return Ranking(candidates, "high", f"{_named(candidates[0])} was asked for by name.")


def _named(candidate: Candidate) -> str:
    cost = usd(candidate.expected_cost_nano_usd)
    return f"{candidate.model.name} ({'unpriced' if cost is None else f'about ${cost:.6f}'})"


def _models(candidates: Sequence[Candidate]) -> str:
    return "1 model" if len(candidates) == 1 else f"{len(candidates)} models"


def _clearness(score: float) -> Confidence:
    distance = min(abs(score - MODERATE_FROM), abs(score - COMPLEX_FROM))
    if distance >= CLEAR_OF_THRESHOLD:
        return "high"
    return "medium" if distance >= NEAR_THRESHOLD else "low"


def _trust(evidence: float) -> Confidence:
    if evidence >= MUCH_EVIDENCE:
        return "high"
    return "medium" if evidence >= SOME_EVIDENCE else "low"
