"""A decision as an argument that a person can check: figures, and why the others lost."""

from collections.abc import Mapping, Sequence

from common.money import usd
from services.router.domain.candidates import Question, routable
from services.router.domain.decision import Candidate
from services.router.domain.rankings import Ranking

LEAST_PROPENSITY = 1e-6
MOST_SHOWN = 12  # models, in each list: what is kept with every request has to end somewhere


def explain(strategy: str, question: Question, ranking: Ranking) -> dict[str, object]:
    """
    Say what was chosen by *strategy*, from what, and why.

    A propensity is the probability with which such a request is put to a model first; a candidate
    without one is never. From them off_policy.py tells what other strategies would have cost.
    """
    chosen, *others = _considered(ranking)[:MOST_SHOWN]
    odds = ranking.odds or {chosen.model.name: 1.0}
    return {
        "strategy": strategy,
        "reasoning": ranking.reasoning,
        "confidence": ranking.confidence,
        "complexity": question.complexity.explain(),
        "candidates": [
            _figures(question, chosen, odds),
            *({**_figures(question, c, odds), "lost": ranking.lost(c)} for c in others),
        ],
        "propensity": _shown(odds.get(chosen.model.name, 0.0)) or LEAST_PROPENSITY,
        "unfit": _unfit(question),
        **ranking.extra,
    }


def _considered(ranking: Ranking) -> Sequence[Candidate]:
    """Return those who may be asked, in their order, and then those who only fit."""
    asked = {c.model.name for c in ranking.candidates}
    return [*ranking.candidates, *(c for c in ranking.fits if c.model.name not in asked)]


def _figures(
    question: Question, candidate: Candidate, odds: Mapping[str, float]
) -> dict[str, object]:
    said: dict[str, object] = {
        "model": candidate.model.name,
        "tier": candidate.model.tier,
        "capability": candidate.model.capability,
        "expected_cost_usd": usd(candidate.expected_cost_nano_usd),
        "expected_quality": round(candidate.expected_quality, 4),
        "spread": round(candidate.spread, 4),
        "evidence": round(candidate.evidence, 2),
    }
    if propensity := _shown(odds.get(candidate.model.name, 0.0)):
        said["propensity"] = propensity
    if candidate.faults:
        said["faults"] = round(candidate.faults, 4)
    if saved := question.switch_cost(candidate.model):
        said["switching_away_costs_usd"] = usd(saved)
    return said


def _shown(propensity: float) -> float:
    """Keep four digits of it; 0: so rare that nothing can be told from it."""
    return float(f"{min(propensity, 1.0):.4g}") if propensity >= LEAST_PROPENSITY else 0.0


def _unfit(question: Question) -> dict[str, str]:
    """Say what models that are on lack for this request."""
    if question.ask.model:
        return {}  # pinned: nobody else was looked at
    lacks = {
        m.name: ", ".join(missing)
        for m in routable(question.catalog)
        if (missing := question.needs.missing(m))
    }
    return dict(list(lacks.items())[:MOST_SHOWN])
