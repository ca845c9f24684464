"""
Learning, and learning behind a gate: hybrid takes learning's choice only where outcomes support it.
Without outcomes it is complexity: what is merely declared overrules nobody, and nothing is tried.

A small share of what passes the gate stays on complexity's choice. Comparing the two says whether
hybrid earns its keep; if it does worse, complexity decides, and learning is on probation: it keeps
a small share, so that newer outcomes can clear it.
"""

from collections.abc import Sequence
from dataclasses import replace

from services.router.domain.candidates import Question, cost_order, fitting, with_fallbacks
from services.router.domain.decision import Candidate, Confidence, Role
from services.router.domain.gate import GATE_EVIDENCE, gate_of
from services.router.domain.preference import (
    EXPLORED_SHARE,
    Wish,
    affordable,
    dice_of,
    explore,
    good_enough,
    order,
    why_lost,
)
from services.router.domain.rankings import Ranking, by_complexity, counted, named

TRIED_FROM = 10.0  # outcomes of all models: where nobody rates, trying teaches nothing
CONTROL_SHARE = 0.03
PROBATION_SHARE = 0.1

MUCH_EVIDENCE = 50.0
SOME_EVIDENCE = 10.0
SURE = 0.12  # spread of the expected quality
RATHER_SURE = 0.25


def by_learning(question: Question, wish: Wish, fits: Sequence[Candidate] | None = None) -> Ranking:
    """Take the model of the best expected quality for its price; now and then, try another."""
    fits = affordable(fits or fitting(question), wish)
    ranked = order(question, fits, wish)
    best = ranked[0]
    tried = _tried(question, ranked, wish)
    chosen = tried or best
    if tried is None:
        why = _argument(ranked, wish)
    elif tried is best:
        why = f"{named(best)} promises most, and is tried because few outcomes show it."
    else:
        why = f"{named(tried)} is tried to learn more; by what is known it would have been"
        why = f"{why} {named(best)}."
    rest = [c for c in ranked if c.model.name != chosen.model.name]
    return Ranking(
        with_fallbacks([chosen], rest, question=question),
        trust(chosen),
        why,
        why_lost(question, fits, wish, best),
        fits,
        {"preset": wish.preset, "explored": tried is not None},
        "plain" if tried is None else "explored",
    )


def by_hybrid(question: Question, wish: Wish) -> Ranking:
    """Take learning's choice where outcomes support it, else complexity's."""
    fits = fitting(question)
    learned = by_learning(question, wish, fits)
    cautious = by_complexity(question, good_enough(affordable(fits, wish), wish))
    if wish.min_quality is not None:
        cautious = replace(cautious, lost=learned.lost)  # they know of the bar
    c, chosen = cautious.candidates[0], learned.candidates[0]
    gate = gate_of(c, chosen)
    role: Role = "plain"
    ranking = cautious
    fallen = question.beliefs.fallen_back
    control_share = 1 - PROBATION_SHARE if fallen else CONTROL_SHARE
    if learned.role == "explored":
        ranking, role, why = learned, "explored", "Explored."
    elif chosen.model.name == c.model.name:
        ranking, why = learned, "Complexity and learning agree."
    elif gate.verdict == "learning_mismatch":
        why = f"Learning would take {chosen.model.name}, but {gate.objection}."
    elif dice_of(question, "control").random() < control_share:
        role, why = "control", "Kept on complexity's choice, to compare the two."
        if fallen:
            why = "Learning did worse than complexity lately, so complexity decides."
    else:
        ranking, role = learned, "treated"
        why = f"Outcomes support learning's choice over {c.model.name} ({gate.gain:+.3f})."
    return replace(
        ranking,
        reasoning=f"{why} {ranking.reasoning}",
        fits=fits,
        extra={
            **learned.extra,
            "chosen_by": "learning" if ranking is learned else "complexity",
            "explored": role == "explored",
            "gate": {**gate.explain(), "fallen_back": fallen},
        },
        role=role,
    )


def trust(candidate: Candidate) -> Confidence:
    """Say how sure we are of what is expected of *candidate*."""
    if candidate.evidence >= MUCH_EVIDENCE and candidate.spread <= SURE:
        return "high"
    if candidate.evidence >= SOME_EVIDENCE and candidate.spread <= RATHER_SURE:
        return "medium"
    return "low"


def _tried(question: Question, ranked: Sequence[Candidate], wish: Wish) -> Candidate | None:
    """Return whom to try on this request, if anyone; first who promises most and is unknown."""
    beliefs = question.beliefs
    if not wish.explorable or beliefs.fallen_back or beliefs.weight < TRIED_FROM:
        return None
    if dice_of(question, "explore").random() >= EXPLORED_SHARE:
        return None
    if ranked[0].evidence < GATE_EVIDENCE:
        return ranked[0]
    drawn = explore(question, ranked, wish)
    return None if drawn is ranked[0] else drawn


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
