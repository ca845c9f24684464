"""A decision as an argument that a person can check: figures, and why the others lost."""

from collections.abc import Sequence

from common.money import usd
from services.router.domain.candidates import Question, routable
from services.router.domain.decision import Candidate
from services.router.domain.rankings import Ranking

MOST_SHOWN = 12  # models, in each list: what is kept with every request has to end somewhere


def explain(strategy: str, question: Question, ranking: Ranking) -> dict[str, object]:
    """Say what was chosen by *strategy*, from what, and why."""
    chosen, *others = _considered(ranking)[:MOST_SHOWN]
    return {
        "strategy": strategy,
        "reasoning": ranking.reasoning,
        "confidence": ranking.confidence,
        "complexity": question.complexity.explain(),
        "candidates": [
            _figures(question, chosen),
            *({**_figures(question, c), "lost": ranking.lost(c)} for c in others),
        ],
        "unfit": _unfit(question),
        **ranking.extra,
    }


def _considered(ranking: Ranking) -> Sequence[Candidate]:
    """Return those who may be asked, in their order, and then those who only fit."""
    asked = {c.model.name for c in ranking.candidates}
    return [*ranking.candidates, *(c for c in ranking.fits if c.model.name not in asked)]


def _figures(question: Question, candidate: Candidate) -> dict[str, object]:
    said: dict[str, object] = {
        "model": candidate.model.name,
        "expected_cost_usd": usd(candidate.expected_cost_nano_usd),
        "expected_quality": round(candidate.expected_quality, 4),
        "spread": round(candidate.spread, 4),
        "evidence": round(candidate.evidence, 2),
    }
    if candidate.faults:
        said["faults"] = round(candidate.faults, 4)
    if saved := question.switch_cost(candidate.model):
        said["switching_away_costs_usd"] = usd(saved)
    return said


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
