"""
Every figure that is shown, reckoned anew from the ledger's rows: nothing here is the product's.

All sums are integers of nano-USD, tokens and requests. A ratio is the nearest float to the quotient
of two such integers, which is what the product has to show too.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

import asyncpg

BUCKETS = 0.04  # percentiles come out of buckets: within so much of the exact ones
LEAST_MS = 0.1  # what is shorter counts as this
NAMED = 11  # series by name; those after them are told together
TOP = 10

# A closing row's total knows what was corrected before it, so only what came behind it is added.
# What is unpriced stays so: something added to what nobody knows is not known.
READ = """
    WITH late AS (
        SELECT later.request_id,
               sum(later.cost_nano_usd) AS cost,
               bool_or(later.pricing = 'unpriced') AS unpriced,
               sum(later.input_tokens) AS input_tokens,
               sum(later.output_tokens) AS output_tokens
          FROM router.ledger AS later
          JOIN router.ledger AS ended ON ended.kind = 4 AND ended.attempt_id = later.request_id
         WHERE later.kind = 3
           AND (later.epoch, later.xact_id, later.seq) > (ended.epoch, ended.xact_id, ended.seq)
         GROUP BY later.request_id
    )
    SELECT ended.attempt_id AS id, date_trunc('milliseconds', recorded_at) AS at, tenant, user_id,
           coalesce(strategy, '') AS strategy, coalesce(confidence, '') AS confidence,
           coalesce(provider, '') AS provider, coalesce(model, '') AS model, outcome,
           cache_hit, streamed, fallbacks, experiment_id, arm, estimated,
           latency_ms, nullif(time_to_first_token_ms, 0) AS first_token_ms,
           ended.cost_nano_usd AS cost_then,
           ended.input_tokens AS tokens_in_then, ended.output_tokens AS tokens_out_then,
           CASE WHEN late.unpriced THEN NULL
                ELSE ended.cost_nano_usd + coalesce(late.cost, 0) END::bigint AS cost,
           baseline_cost_nano_usd AS baseline,
           (ended.input_tokens + coalesce(late.input_tokens, 0))::bigint AS tokens_in,
           (ended.output_tokens + coalesce(late.output_tokens, 0))::bigint AS tokens_out
      FROM router.ledger AS ended LEFT JOIN late ON late.request_id = ended.attempt_id
     WHERE ended.kind = 4 ORDER BY ended.attempt_id DESC
"""

# By model: what attempts used and cost, those of one tenant left out.
SETTLED = """
    SELECT model, provider, sum(cost_nano_usd)::bigint AS cost,
           count(*) FILTER (WHERE pricing = 'unpriced') AS unpriced,
           sum(greatest(input_tokens - cached_input_tokens, 0))::bigint AS input,
           sum(cached_input_tokens)::bigint AS cached_input, sum(output_tokens)::bigint AS output
      FROM router.ledger WHERE kind = 2 AND tenant <> $1 GROUP BY model, provider
"""
# Of the attempts that began on one day: what is priced in the end, and every token.
A_DAY = """
    WITH rows AS (
        SELECT *, last_value(pricing) OVER (PARTITION BY attempt_id ORDER BY kind
                   ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS in_the_end
          FROM router.ledger WHERE kind IN (2, 3) AND attempt_id >= $1 AND attempt_id < $2)
    SELECT coalesce(sum(cost_nano_usd) FILTER (WHERE in_the_end <> 'unpriced'), 0)::bigint AS cost,
           coalesce(sum(input_tokens + output_tokens), 0)::bigint AS tokens,
           count(DISTINCT attempt_id) AS attempts
      FROM rows
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that has ended, as it stands now; `_then`: as it stood when it ended."""

    id: UUID
    at: datetime
    tenant: str
    user_id: str | None
    strategy: str
    confidence: str
    provider: str
    model: str
    outcome: str
    cache_hit: bool
    streamed: bool
    fallbacks: int
    experiment_id: int | None
    arm: str | None
    estimated: bool
    latency_ms: float
    first_token_ms: float | None
    cost_then: int | None
    tokens_in_then: int
    tokens_out_then: int
    cost: int | None
    baseline: int | None
    tokens_in: int
    tokens_out: int

    @property
    def key(self) -> str:
        return self.tenant

    @property
    def arm_of(self) -> str:
        return f"{self.experiment_id}/{self.arm}" if self.experiment_id else ""

    @property
    def failed(self) -> bool:
        return self.outcome in ("failed", "truncated", "unknown")

    @property
    def timed(self) -> bool:
        return self.outcome not in ("failed", "unknown")


def ended(rows: Iterable[asyncpg.Record]) -> list[Ended]:
    return [Ended(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class Sums:
    requests: int
    failures: int
    cache_hits: int
    unpriced: int
    compared: int  # requests whose cost and baseline are known
    tokens_in: int
    tokens_out: int
    cost: int
    baseline: int  # of the compared; what the cache answered is apart
    saved: int
    cache_compared: int
    cache_saved: int


def sums(of: Sequence[Ended]) -> Sums:
    known = [one for one in of if None not in (one.cost, one.baseline)]
    compared, cached = ([one for one in known if one.cache_hit is hit] for hit in (False, True))
    baseline = sum(one.baseline or 0 for one in compared)
    return Sums(
        requests=len(of),
        failures=sum(one.failed for one in of),
        cache_hits=sum(one.cache_hit for one in of),
        unpriced=sum(one.cost is None for one in of),
        compared=len(compared),
        tokens_in=sum(one.tokens_in for one in of),
        tokens_out=sum(one.tokens_out for one in of),
        cost=sum(one.cost or 0 for one in of),
        baseline=baseline,
        saved=baseline - sum(one.cost or 0 for one in compared),
        cache_compared=len(cached),
        cache_saved=sum((one.baseline or 0) - (one.cost or 0) for one in cached),
    )


def usd(nano: int | None) -> float | None:
    return None if nano is None else nano / 10**9


def ratio(some: int, of: int) -> float | None:
    return some / of if of else None


def percentile(of: Iterable[Ended], percent: int, *, measure: str = "latency_ms") -> float | None:
    """Return the least duration that *percent* of 100 do not exceed; None: nothing was answered."""
    times = sorted(
        max(took, LEAST_MS)
        for one in of
        if one.timed and (took := getattr(one, measure)) is not None
    )
    return times[ceil(len(times) * percent / 100) - 1] if times else None


def unlike(of: Sequence[Ended], told: Mapping[int, float | None], **measure: str) -> list[str]:
    """Return which percentiles are not told within what buckets allow."""
    wrong = []
    for percent, shown in told.items():
        exact = percentile(of, percent, **measure)
        if (exact is None) != (shown is None) or (
            exact is not None and shown is not None and abs(shown - exact) > BUCKETS * exact
        ):
            wrong.append(f"p{percent} is told as {shown}, it is {exact}")
    return wrong


def stats(of: Sequence[Ended]) -> dict[str, Any]:
    """Return one part of `GET /stats`."""
    found = sums(of)
    return {
        **{name: getattr(found, name) for name in COUNTS},
        "unpriced": found.unpriced,
        "cost": usd(found.cost),
        "baseline_cost": usd(found.baseline),
        "saved": usd(found.saved),
        "cache_saved": usd(found.cache_saved),
    }


COUNTS = ("requests", "failures", "cache_hits", "tokens_in", "tokens_out")


def step(of: Sequence[Ended]) -> dict[str, Any]:
    """Return what `GET /metrics/history` says of one step, its percentiles left out."""
    found = sums(of)
    return {
        **{name: getattr(found, name) for name in COUNTS},
        "cost": usd(found.cost) if found.requests > found.unpriced else None,
        "saved": usd(found.saved) if found.compared else None,
        "cache_saved": usd(found.cache_saved) if found.cache_compared else None,
    }


def series(of: Sequence[Ended], by: str | None) -> dict[str, list[Ended]]:
    """Split into the series of `GET /metrics/history`, the busiest first."""
    if by is None:
        return {"all": list(of)}
    by = "arm_of" if by == "arm" else by
    counts = Counter(getattr(one, by) for one in of)
    named = sorted(counts, key=lambda name: (-counts[name], name))[:NAMED]
    found: dict[str, list[Ended]] = {name or "none": [] for name in named}
    others = []
    for one in of:
        name = getattr(one, by)
        (found[name or "none"] if name in named else others).append(one)
    return {**found, "other": others} if others else found


def snapshot(of: Sequence[Ended]) -> dict[str, Any]:
    """Return `GET /routing/metrics` of the last seven days, timestamp and percentiles left out."""
    found = sums(of)
    return {
        "total_decisions": found.requests,
        "strategy_performance": _each(of, lambda one: one.strategy, _performance),
        "confidence_distribution": {
            level: sum(one.confidence == level for one in of) for level in ("high", "medium", "low")
        },
        "provider_usage": _each(of, lambda one: one.provider, _usage),
        "cost_savings": {
            "total_saved": usd(found.saved),
            "percent_saved": 100 * found.saved / found.baseline if found.baseline else 0.0,
            "intelligent_cost": usd(found.baseline - found.saved),
            "baseline_cost": usd(found.baseline),
            "cache_saved": usd(found.cache_saved),
            "period_days": 7,
        },
        "error_rate": ratio(found.failures, found.requests),
        "fallback_rate": ratio(sum(one.fallbacks > 0 for one in of), found.requests),
        "top_models": _top_models(of),
        "arm_usage": _arm_usage(of),
        "total_cost": usd(found.cost),
        "unpriced": found.unpriced,
        "cache_hits": found.cache_hits,
        "period_days": 7,
    }


def _arm_usage(of: Sequence[Ended]) -> dict[str, Any]:
    told = _each(of, lambda one: one.arm_of, _usage)
    for name, usage in told.items():
        control = name.partition("/")[0] + "/control"
        (paid, answers), (instead, at) = (
            (sum(one.cost or 0 for one in those), sum(one.outcome != "failed" for one in those))
            for those in (
                [one for one in of if one.arm_of == each and one.cost is not None]
                for each in (name, control)
            )
        )
        more = instead * answers - paid * at
        comparable = name != control and answers and at
        usage["saved"] = more / (at * 10**9) if comparable else None
    return told


def spent(of: Sequence[Ended], timestamp: str) -> dict[str, float | None]:
    today = datetime.fromisoformat(timestamp).replace(hour=0, minute=0, second=0, microsecond=0)
    begins = {"today": today, "this_month": today.replace(day=1)}
    return {name: usd(sums(since(of, begin)).cost) for name, begin in begins.items()}


def _each(
    of: Sequence[Ended],
    name: Callable[[Ended], str],
    describe: Callable[[list[Ended]], dict[str, Any]],
) -> dict[str, Any]:
    names = {name(one) for one in of} - {""}
    return {each: describe([one for one in of if name(one) == each]) for each in names}


def _usage(of: list[Ended]) -> dict[str, Any]:
    """Outages must not look like bargains: what failed enters no average, nor what is unpriced."""
    costs = [one.cost for one in of if one.cost is not None and one.outcome != "failed"]
    return {
        "count": len(of),
        "avg_cost": sum(costs) / (len(costs) * 10**9) if costs else None,
    }


def _performance(of: list[Ended]) -> dict[str, Any]:
    high = sum(one.confidence == "high" for one in of)
    return {**_usage(of), "high_confidence_pct": 100 * high / len(of)}


def _top_models(of: Sequence[Ended]) -> list[dict[str, Any]]:
    counts = Counter(one.model for one in of if one.model)
    busiest = sorted(counts, key=lambda name: (-counts[name], name))[:TOP]
    costs = {name: [one.cost for one in of if one.model == name] for name in busiest}
    return [
        {
            "model": name,
            "count": counts[name],
            "cost": usd(sum(cost or 0 for cost in costs[name]))
            if any(cost is not None for cost in costs[name])
            else None,
            "share": counts[name] / len(of),
        }
        for name in busiest
    ]


def listed(one: Ended) -> dict[str, Any]:
    """Return a request as `GET /requests` lists it: as it was when it ended."""
    return {
        "request_id": str(one.id),
        "at": rfc3339(one.at),
        "user_id": one.user_id,
        "strategy": one.strategy or None,
        "model": one.model or None,
        "provider": one.provider or None,
        "outcome": one.outcome,
        "confidence": one.confidence or None,
        "cost": usd(one.cost_then),
        "baseline_cost": usd(one.baseline),
        "latency_ms": one.latency_ms,
        "time_to_first_token_ms": one.first_token_ms,
        "tokens_in": one.tokens_in_then,
        "tokens_out": one.tokens_out_then,
        "cache_hit": one.cache_hit,
        "fallbacks": one.fallbacks,
        "experiment_id": one.experiment_id,
        "arm": one.arm,
        "estimated": one.estimated,
    }


def minute_of(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def since(of: Iterable[Ended], moment: datetime) -> list[Ended]:
    return [one for one in of if one.at >= moment]


def snapshot_period(of: Iterable[Ended], timestamp: str) -> list[Ended]:
    made = datetime.fromisoformat(timestamp)
    return since(of, minute_of(made) - timedelta(days=7))


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def by_step(
    of: Iterable[Ended], times: Sequence[datetime], step_: timedelta
) -> dict[datetime, list[Ended]]:
    inside: dict[datetime, list[Ended]] = {time: [] for time in times}
    for one in of:
        inside[times[(one.at - times[0]) // step_]].append(one)
    return inside


def wrong_steps(line: Mapping[str, Any], of: Mapping[datetime, Sequence[Ended]]) -> list[str]:
    """Compare one series with the requests of each of its steps; say what is not told right."""
    wrong = []
    for n, (time, requests) in enumerate(of.items()):
        told = {name: values[n] for name, values in line.items() if name != "name"}
        timed = {percent: told.pop(f"p{percent}_ms") for percent in (50, 95, 99)}
        expected = step(requests)
        if expected != told:
            wrong.append(f"{line['name']} at {time}: {told}, not {expected}")
        wrong += unlike(requests, timed)
    return wrong
