"""
Learning, and learning behind a gate: hybrid takes learning's choice only where outcomes support it.
Without outcomes it is complexity: what is merely declared overrules nobody, and nothing is tried.

A small share of what passes the gate stays on complexity's choice. Comparing the two says whether
hybrid earns its keep; if it does worse, complexity decides, and learning is on probation: it keeps
a small share, so that newer outcomes can clear it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
    odds_of_drawing,
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


@dataclass(frozen=True, slots=True)
class _Learned:
    """What learning would do, and what it might have done on such a request."""

    ranking: Ranking
    best: Candidate  # that it takes if it tries nobody
    trials: Mapping[str, float]  # whom it may try, with which probability, by model


def by_learning(question: Question, wish: Wish) -> Ranking:
    """Take the model of the best expected quality for its price; now and then, try another."""
    learned = _learn(question, wish, fitting(question))
    return replace(learned.ranking, odds=_mixed(learned.trials, {learned.best.model.name: 1.0}))


def _learn(question: Question, wish: Wish, fits: Sequence[Candidate]) -> _Learned:
    fits = affordable(fits, wish)
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
    ranking = Ranking(
        with_fallbacks([chosen], rest, question=question),
        trust(chosen),
        why,
        why_lost(question, fits, wish, best),
        fits,
        {"preset": wish.preset, "explored": tried is not None},
        "plain" if tried is None else "explored",
    )
    return _Learned(ranking, best, _trials(question, ranked, wish))


def by_hybrid(question: Question, wish: Wish) -> Ranking:
    """Take learning's choice where outcomes support it, else complexity's."""
    fits = fitting(question)
    learning = _learn(question, wish, fits)
    learned = learning.ranking
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
        odds=_mixed(learning.trials, _untried(c, learning.best, control_share)),
    )


def trust(candidate: Candidate) -> Confidence:
    """Say how sure we are of what is expected of *candidate*."""
    if candidate.evidence >= MUCH_EVIDENCE and candidate.spread <= SURE:
        return "high"
    if candidate.evidence >= SOME_EVIDENCE and candidate.spread <= RATHER_SURE:
        return "medium"
    return "low"


def _tries(question: Question, wish: Wish) -> bool:
    """Say whether anybody may be tried on such a request."""
    beliefs = question.beliefs
    return wish.explorable and not beliefs.fallen_back and beliefs.weight >= TRIED_FROM


def _tried(question: Question, ranked: Sequence[Candidate], wish: Wish) -> Candidate | None:
    """Return whom to try on this request, if anyone; first who promises most and is unknown."""
    if not _tries(question, wish):
        return None
    if dice_of(question, "explore").random() >= EXPLORED_SHARE:
        return None
    if ranked[0].evidence < GATE_EVIDENCE:
        return ranked[0]
    drawn = explore(question, ranked, wish)
    return None if drawn is ranked[0] else drawn


def _trials(question: Question, ranked: Sequence[Candidate], wish: Wish) -> Mapping[str, float]:
    """Return whom `_tried` may return, with which probability, by model."""
    best = ranked[0].model.name
    if not _tries(question, wish):
        return {}
    if ranked[0].evidence < GATE_EVIDENCE:
        return {best: EXPLORED_SHARE}
    drawn = odds_of_drawing(question, ranked, wish)
    return {name: EXPLORED_SHARE * odds for name, odds in drawn.items() if name != best}


def _untried(c: Candidate, best: Candidate, control_share: float) -> Mapping[str, float]:
    """Return whom hybrid takes where nobody is tried, with which probability, by model."""
    if gate_of(c, best).verdict != "experimental":
        return {c.model.name: 1.0}
    return {c.model.name: control_share, best.model.name: 1 - control_share}


def _mixed(trials: Mapping[str, float], untried: Mapping[str, float]) -> Mapping[str, float]:
    left = 1 - sum(trials.values())
    names = {**trials, **untried}
    return {name: trials.get(name, 0.0) + left * untried.get(name, 0.0) for name in names}


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
