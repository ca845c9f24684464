"""
The picture of the last days: the body of `GET /routing/metrics`, without its timestamp. Pure.

What passes by itself, the rates of the last minute, is apart from what only requests change.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any

from common.money import NANO_PER_USD, usd
from services.metrics.domain.durations import NO_PERCENTILES, Percentiles
from services.metrics.domain.savings import Savings

PERIOD_DAYS = 7
TOP_MODELS = 10
CONTROL = "control"  # the arm that the others of an experiment are compared with


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
    model: str = ""  # empty: nobody was asked
    arm: str = ""  # "3/test": of experiment 3; empty: in none
    failures: int = 0
    fell_back: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """In nano-USD, over the priced."""

    today: int = 0  # since 00:00 UTC
    this_month: int = 0  # since the first, 00:00 UTC


NOTHING_SPENT = Spent()


@dataclass(frozen=True, slots=True)
class Lately:
    """The last whole minute and what has passed of this one."""

    since: datetime
    requests: int
    failures: int
    cache_hits: int
    experiments: tuple[int, ...] = ()  # whose arms took requests
    latency: Percentiles = NO_PERCENTILES  # of what was answered


def snapshot(
    groups: Iterable[Group],
    *,
    latency: Percentiles = NO_PERCENTILES,
    first_token: Percentiles = NO_PERCENTILES,
    spent: Spent = NOTHING_SPENT,
) -> dict[str, Any]:
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
        "latency_ms": asdict(latency),
        "time_to_first_token_ms": asdict(first_token),
        "error_rate": _ratio(sum(g.failures for g in groups), total),
        "fallback_rate": _ratio(sum(g.fell_back for g in groups), total),
        "top_models": _top_models(groups, total),
        "arm_usage": _by(groups, lambda g: g.arm, partial(_arm_usage, groups)),
        "spent": {"today": usd(spent.today), "this_month": usd(spent.this_month)},
        "total_cost": usd(sum(g.cost_nano_usd for g in groups)),
        "unpriced": total - sum(g.priced for g in groups),
        "cache_hits": sum(g.requests for g in cached),
        "period_days": PERIOD_DAYS,
    }


def rates(lately: Lately, now: datetime) -> dict[str, Any]:
    """Return what `GET /stats` calls the last minute, as of *now*."""
    return {
        "since": rfc3339(lately.since),
        "requests_per_s": lately.requests / (now - lately.since).total_seconds(),
        "p95_ms": lately.latency.p95,
        "error_rate": _ratio(lately.failures, lately.requests),
        "cache_hit_rate": _ratio(lately.cache_hits, lately.requests),
    }


def rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _by(
    groups: list[Group], name: Callable[[Group], str], describe: Callable[[list[Group]], Any]
) -> dict[str, Any]:
    names = sorted({name(g) for g in groups} - {""})
    return {n: describe([g for g in groups if name(g) == n]) for n in names}


def _ratio(some: int, of: int) -> float | None:
    return some / of if of else None


def _top_models(groups: list[Group], total: int) -> list[dict[str, Any]]:
    by_model: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        if group.model:
            by_model[group.model].append(group)
    busiest = sorted(by_model, key=lambda m: (-sum(g.requests for g in by_model[m]), m))
    return [_model(name, by_model[name], total) for name in busiest[:TOP_MODELS]]


def _model(name: str, groups: list[Group], total: int) -> dict[str, Any]:
    count = sum(g.requests for g in groups)
    priced = sum(g.priced for g in groups)
    return {
        "model": name,
        "count": count,
        "cost": usd(sum(g.cost_nano_usd for g in groups)) if priced else None,
        "share": count / total,
    }


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


def _arm_usage(everyone: list[Group], arm: list[Group]) -> dict[str, Any]:
    """Say, too, what as many answers of its control would have cost more, failures included."""
    experiment = arm[0].arm.partition("/")[0]
    control = [g for g in everyone if g.arm == f"{experiment}/{CONTROL}"]
    of, at = sum(g.averaged for g in arm), sum(g.averaged for g in control)
    paid, instead = (sum(g.cost_nano_usd for g in some) for some in (arm, control))
    known = arm[0].arm != f"{experiment}/{CONTROL}" and of and at
    saved = (instead * of - paid * at) / (at * NANO_PER_USD) if known else None
    return {**_usage(arm), "saved": saved}


def _savings(groups: list[Group]) -> Savings:
    return Savings(
        intelligent_cost_nano_usd=sum(g.compared_cost_nano_usd for g in groups),
        baseline_cost_nano_usd=sum(g.baseline_cost_nano_usd for g in groups),
    )
