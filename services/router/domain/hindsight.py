"""What a plain rule would have chosen, told from what the ledger keeps of a decision."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from common.errors import Invalid
from common.money import NANO_PER_USD
from services.router.domain.complexity import TIERS
from services.router.domain.off_policy import Case
from services.router.domain.request import StrategyChoice

REPLAYED = ("cheapest", "best", "complexity", "fixed")
# Their explanations list what could have been chosen, up to explanation.MOST_SHOWN models. Pinned
# and fixed requests are no choice, and list fallbacks only.
_CHOOSING = ("complexity", "learning", "hybrid", "cascade", "cheapest", "best")
_PLACES = {tier: place for place, tier in enumerate(TIERS)}


class Option(NamedTuple):  # there are many at a time, and a tuple is made fast
    """A model that could have been chosen, as it was seen then."""

    model: str
    tier: int  # its place in TIERS
    capability: float
    expected_quality: float
    expected_cost_nano_usd: int | None  # None: unpriced
    propensity: float  # probability that it was asked first; 0: never


@dataclass(frozen=True, slots=True)
class Logged:
    """One request that was routed."""

    user: str | None  # None: nobody was named
    cost_nano_usd: int | None  # of all attempts; None: unpriced
    tier: int  # of the prompt
    options: Sequence[Option]  # the first was chosen
    cascaded: bool  # a second model may have answered, too


Rule = Callable[[Logged], Option | None]  # None: it cannot be told


def read(
    details: Mapping[str, Any], *, user: str | None, cost_nano_usd: int | None
) -> Logged | None:
    """Read what was kept with a decision; None: there was no choice, or too little was kept."""
    try:
        candidates = details["candidates"]
        if details["strategy"] not in _CHOOSING or not details["propensity"] > 0 or not candidates:
            return None
        return Logged(
            user,
            cost_nano_usd,
            _PLACES[details["complexity"]["tier"]],
            [_option(one) for one in candidates],
            details.get("cascade", {}).get("first") is not None,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None  # of an older version


def rule_of(choice: StrategyChoice) -> Rule:
    """
    Return how *choice* would have chosen.

    Args:
        choice: With parameters that the strategy takes.

    Raises:
        Invalid: that cannot be told from what is kept.
    """
    match choice.name:
        case "cheapest":
            return lambda logged: min(logged.options, key=_cost_order)
        case "best":
            return lambda logged: min(logged.options, key=_capability_order)
        case "complexity":
            return _by_complexity
        case "fixed":
            model = choice.parameters["model"]
            return lambda logged: next((o for o in logged.options if o.model == model), None)
    raise Invalid(
        f"what {choice.name} would have chosen cannot be told from what is kept of a decision:"
        f" only {', '.join(REPLAYED)} can",
        code="cannot_estimate",
        param="strategy",
    )


def cases_of(rows: Sequence[Logged], rule: Rule) -> Iterator[Case]:
    """Put what happened beside what *rule* would have chosen; what has no price is left out."""
    for row in rows:
        chosen, target = row.options[0], rule(row)
        if target is None or row.cost_nano_usd is None:
            continue
        if chosen.expected_cost_nano_usd is None or target.expected_cost_nano_usd is None:
            continue
        yield Case(
            row.user,
            row.cost_nano_usd,
            chosen.model,
            chosen.expected_cost_nano_usd,
            target.model,
            target.expected_cost_nano_usd,
            0.0 if row.cascaded else target.propensity,
            alone=not row.cascaded,
        )


def _by_complexity(logged: Logged) -> Option:
    adequate = [o for o in logged.options if o.tier >= logged.tier]
    if adequate:
        return min(adequate, key=lambda o: (*_price_order(o), -o.capability, o.model))
    return min(logged.options, key=_capability_order)


def _price_order(option: Option) -> tuple[bool, int]:
    cost = option.expected_cost_nano_usd
    return cost is None, cost or 0


def _cost_order(option: Option) -> tuple[bool, int, float, str]:
    return (*_price_order(option), -option.expected_quality, option.model)


def _capability_order(option: Option) -> tuple[float, bool, int, str]:
    return (-option.capability, *_price_order(option), option.model)


def _option(kept: Mapping[str, Any]) -> Option:
    cost, tier = kept["expected_cost_usd"], _PLACES[kept["tier"]]
    capability, quality = kept["capability"], kept["expected_quality"]
    propensity = kept.get("propensity", 0.0)
    nano = None if cost is None else round(cost * NANO_PER_USD)
    if not (0 <= capability <= 1 and 0 <= quality <= 1 and 0 <= propensity <= 1):
        raise ValueError("absurd")  # also what is no number
    if nano is not None and nano < 0:
        raise ValueError("absurd")
    return Option(str(kept["model"]), tier, capability, quality, nano, propensity)
