"""Strategies by name. A strategy is a name with parameters; what it does stands in `rankings`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from common.errors import Invalid, NotFound
from services.router.domain import rankings
from services.router.domain.candidates import Question, read
from services.router.domain.catalog import Catalog
from services.router.domain.decision import Decision, Strategy
from services.router.domain.learning import GIVE_UP, NOTHING_LEARNED, Beliefs, Preset
from services.router.domain.rankings import Ranking
from services.router.domain.request import Ask, StrategyChoice

PINNED = "pinned"  # not a strategy: what decisions on a pinned model call themselves
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "complexity": (),
    "learning": ("preset",),
    "hybrid": ("preset",),
    "cheapest": (),
    "best": (),
    "fixed": ("model",),
}
Rank = Callable[[Question], Ranking]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A `Strategy` made of a name and a rule."""

    name: str
    rank: Rank
    beliefs: Callable[[], Beliefs]

    def decide(self, ask: Ask, catalog: Catalog) -> Decision:
        question = read(ask, catalog, self.beliefs())
        return _decision(self.name, question, self.rank(question))


class Strategies:
    """
    The strategies there are.

    Args:
        catalog: Gives the catalog of this moment: its default strategy serves those who name none.
        beliefs: Gives what was learned up to this moment.
    """

    def __init__(
        self,
        catalog: Callable[[], Catalog],
        beliefs: Callable[[], Beliefs] = lambda: NOTHING_LEARNED,
    ) -> None:
        self._catalog = catalog
        self._beliefs = beliefs

    def names(self) -> list[str]:
        return list(PARAMETERS)

    def get(self, choice: StrategyChoice) -> Strategy:
        """
        Return the strategy of that name, with those parameters.

        Raises:
            NotFound: there is no such strategy.
            Invalid: it has no such parameter, or not with such a value.
        """
        name = choice.name or self._catalog().default_strategy
        if name not in PARAMETERS:
            raise NotFound(
                f"there is no strategy {name[:100]!r}; there are {', '.join(PARAMETERS)}",
                code="strategy_not_found",
                param="strategy",
            )
        _check_names(name, choice.parameters)
        return Ranked(name, _rank(name, choice.parameters), self._beliefs)

    def decide_pinned(self, ask: Ask, *, embeddings: bool = False) -> Decision:
        """
        Decide for the model that *ask* names.

        Raises:
            NotFound, Invalid, Unavailable: as `candidates.find`.
        """
        return decide_pinned(ask, self._catalog(), self._beliefs(), embeddings=embeddings)


def decide_pinned(
    ask: Ask, catalog: Catalog, beliefs: Beliefs = NOTHING_LEARNED, *, embeddings: bool = False
) -> Decision:
    """Decide for the model that *ask* names: nothing takes its place but declared fallbacks."""
    question = read(ask, catalog, beliefs)
    return _decision(
        PINNED, question, rankings.by_name(question, ask.model or "", embeddings=embeddings)
    )


def _decision(strategy: str, question: Question, ranking: Ranking) -> Decision:
    return Decision(
        strategy=strategy,
        confidence=ranking.confidence,
        candidates=ranking.candidates,
        explanation={
            "strategy": strategy,
            "complexity": question.complexity.explain(),
            "candidates": [question.explain(candidate) for candidate in ranking.candidates],
            "reasoning": ranking.reasoning,
            "confidence": ranking.confidence,
            **ranking.extra,
        },
    )


def _rank(name: str, parameters: Mapping[str, Any]) -> Rank:
    rule: Callable[[Question, Preset], Ranking]
    match name:
        case "complexity":
            return rankings.by_complexity
        case "cheapest":
            return rankings.by_cost
        case "best":
            return rankings.by_capability
        case "fixed":
            model = _model(parameters)
            return lambda question: rankings.by_name(question, model)
        case "learning":
            rule = rankings.by_learning
        case _:
            rule = rankings.by_hybrid
    preset = _preset(parameters)
    return lambda question: rule(question, preset or cast("Preset", question.catalog.preset))


def _check_names(strategy: str, parameters: Mapping[str, Any]) -> None:
    allowed = PARAMETERS[strategy]
    for name in parameters:
        if name not in allowed:
            has = f"only {', '.join(allowed)}" if allowed else "none"
            raise Invalid(
                f"the strategy {strategy} has no parameter {str(name)[:100]!r}: it takes {has}",
                param="strategy",
            )


def _preset(parameters: Mapping[str, Any]) -> Preset | None:
    preset = parameters.get("preset")
    if preset is None:
        return None
    if not isinstance(preset, str) or preset not in GIVE_UP:
        raise Invalid(f"preset must be one of {', '.join(GIVE_UP)}", param="strategy")
    return cast("Preset", preset)


def _model(parameters: Mapping[str, Any]) -> str:
    model = parameters.get("model")
    if not isinstance(model, str) or not model:
        raise Invalid(
            'the strategy fixed needs the parameter model, such as {"model": "acme/large"}',
            param="strategy",
        )
    return model
