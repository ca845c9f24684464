"""Strategies by name. A strategy is a name with parameters; what it does stands in `rankings`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from common.errors import Invalid, NotFound
from common.money import nano_usd
from services.router.domain import rankings
from services.router.domain.beliefs import NOTHING_LEARNED, Beliefs
from services.router.domain.candidates import Question, read
from services.router.domain.cascade import by_cascade
from services.router.domain.catalog import Catalog
from services.router.domain.decision import Decision, Strategy
from services.router.domain.explanation import explain
from services.router.domain.hybrid import by_hybrid, by_learning
from services.router.domain.preference import PRICE_OF_QUALITY, Preset, Wish
from services.router.domain.rankings import Ranking
from services.router.domain.request import Ask, StrategyChoice
from services.router.domain.vector import packed

MOST_USD = 1_000_000
PINNED = "pinned"  # not a strategy: what decisions on a pinned model call themselves
_WISHES = ("preset", "min_quality", "max_cost_usd")
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "complexity": (),
    "learning": _WISHES,
    "hybrid": _WISHES,
    "cascade": _WISHES,
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
    snapshot: str = ""  # of which these are the beliefs

    def decide(self, ask: Ask, catalog: Catalog) -> Decision:
        question = read(ask, catalog, self.beliefs())
        decision = _decision(self.name, question, self.rank(question))
        return decision.adding(snapshot=self.snapshot) if self.snapshot else decision


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

    def get(self, choice: StrategyChoice, frozen: Beliefs | None = None) -> Strategy:
        """
        Return the strategy of that name, with those parameters.

        Args:
            choice: As it was asked for.
            frozen: What was learned at the choice's snapshot; None: it decides with what is now.

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
        rank = _rank(name, choice.parameters)
        if frozen is None:
            return Ranked(name, rank, self._beliefs)
        return Ranked(name, rank, lambda: frozen, choice.snapshot)

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
        explanation=explain(strategy, question, ranking),
        features=packed(question.phi),
        score=question.complexity.score,
        pattern=question.complexity.pattern,
        role=ranking.role,
        plan=ranking.plan,
    )


def _rank(name: str, parameters: Mapping[str, Any]) -> Rank:
    rule: Callable[[Question, Wish], Ranking]
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
            rule = by_learning
        case "cascade":
            rule = by_cascade
        case _:
            rule = by_hybrid
    preset = _preset(parameters)
    min_quality, cap = _min_quality(parameters), _cost_cap(parameters)
    return lambda question: rule(
        question, Wish(preset or cast("Preset", question.catalog.preset), min_quality, cap)
    )


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
    if not isinstance(preset, str) or preset not in PRICE_OF_QUALITY:
        raise Invalid(f"preset must be one of {', '.join(PRICE_OF_QUALITY)}", param="strategy")
    return cast("Preset", preset)


def _min_quality(parameters: Mapping[str, Any]) -> float | None:
    found = parameters.get("min_quality")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
        raise Invalid("min_quality must be a number from 0 to 1", param="strategy")
    return float(found)


def _cost_cap(parameters: Mapping[str, Any]) -> int | None:
    found = parameters.get("max_cost_usd")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= MOST_USD:
        raise Invalid(f"max_cost_usd must be a number from 0 to {MOST_USD}", param="strategy")
    return nano_usd(found)


def _model(parameters: Mapping[str, Any]) -> str:
    model = parameters.get("model")
    if not isinstance(model, str) or not model:
        raise Invalid(
            'the strategy fixed needs the parameter model, such as {"model": "acme/large"}',
            param="strategy",
        )
    return model
