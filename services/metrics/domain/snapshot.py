"""The picture of the last days: the body of `GET /routing/metrics`, without its timestamp."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from common.money import NANO_PER_USD, usd
from services.metrics.domain.savings import Savings

PERIOD_DAYS = 7


@dataclass(frozen=True, slots=True)
class Group:
    """Sums over the period of the requests that share these words."""

    strategy: str  # empty: the request failed before any strategy had a say
    provider: str  # empty: nobody was asked
    confidence: str
    cache_hit: bool
    requests: int
    priced: int
    cost_nano_usd: int
    averaged: int  # the priced that did not fail
    averaged_cost_nano_usd: int
    compared_cost_nano_usd: int
    baseline_cost_nano_usd: int


def snapshot(groups: Iterable[Group]) -> dict[str, Any]:
    """
    Say what was decided, what it cost and what it saved.

    A cached answer is a request that cost nothing: it counts, and enters averages as 0. What the
    cache saved is told apart from what routing saved. A request that was unpriced or failed counts,
    but enters no average: outages must not look like bargains. `avg_cost` is None when nothing is
    left to average.
    """
    groups = list(groups)
    routed = [g for g in groups if not g.cache_hit]
    cached = [g for g in groups if g.cache_hit]
    total = sum(g.requests for g in groups)
    return {
        "total_decisions": total,
        "strategy_performance": _by(groups, lambda g: g.strategy, _performance),
        "confidence_distribution": {
            level: sum(g.requests for g in groups if g.confidence == level)
            for level in ("high", "medium", "low")
        },
        "provider_usage": _by(groups, lambda g: g.provider, _usage),
        "cost_savings": {
            **_savings(routed).as_json(),
            "cache_saved": usd(_savings(cached).saved_nano_usd),
            "period_days": PERIOD_DAYS,
        },
        "total_cost": usd(sum(g.cost_nano_usd for g in groups)),
        "unpriced": total - sum(g.priced for g in groups),
        "cache_hits": sum(g.requests for g in cached),
        "period_days": PERIOD_DAYS,
    }


def _by(
    groups: list[Group], name: Callable[[Group], str], describe: Callable[[list[Group]], Any]
) -> dict[str, Any]:
    names = sorted({name(g) for g in groups} - {""})
    return {n: describe([g for g in groups if name(g) == n]) for n in names}


def _performance(groups: list[Group]) -> dict[str, Any]:
    count = sum(g.requests for g in groups)
    high = sum(g.requests for g in groups if g.confidence == "high")
    return {**_usage(groups), "high_confidence_pct": 100 * high / count if count else 0.0}


def _usage(groups: list[Group]) -> dict[str, Any]:
    averaged = sum(g.averaged for g in groups)
    cost = sum(g.averaged_cost_nano_usd for g in groups)
    return {
        "count": sum(g.requests for g in groups),
        "avg_cost": cost / (averaged * NANO_PER_USD) if averaged else None,
    }


def _savings(groups: list[Group]) -> Savings:
    return Savings(
        intelligent_cost_nano_usd=sum(g.compared_cost_nano_usd for g in groups),
        baseline_cost_nano_usd=sum(g.baseline_cost_nano_usd for g in groups),
    )
