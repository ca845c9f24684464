"""What was spent and saved, over HTTP."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter
from optimizer.metrics.v1 import metrics_pb2
from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from common.money import usd
from common.wire import unix_ms
from services.gateway.api.forms import answers, json, known, rfc3339
from services.gateway.api.respond import send_json
from services.gateway.clients.metrics import Metrics
from services.gateway.snapshots import Snapshots


class CacheStatsAnswer(BaseModel):
    hits: int
    misses: int
    hit_ratio: float | None


class TotalsAnswer(BaseModel):
    requests: int
    failures: int
    cache_hits: int
    unpriced: int
    tokens_in: int
    tokens_out: int
    cost: float
    baseline_cost: float = Field(
        description="USD: the same tokens on the baseline model, where both costs are known; the"
        " cache's answers are not in it"
    )
    saved: float = Field(description="USD: `baseline_cost` less what those same requests cost")
    cache_saved: float = Field(description="USD, by the cache; not in `saved`")


class LastMinuteAnswer(BaseModel):
    """The last whole minute and what has passed of this one, as of the answer's time."""

    since: str = Field(description="RFC 3339, UTC")
    requests_per_s: float
    p95_ms: float | None = Field(description="of what was answered, within 4 %; null: nothing was")
    error_rate: float | None = Field(description="0 to 1; null: no requests")
    cache_hit_rate: float | None = Field(description="0 to 1; null: no requests")


class StatsAnswer(TotalsAnswer):
    """Since the beginning, and of late."""

    today: TotalsAnswer = Field(description="since 00:00 UTC")
    this_month: TotalsAnswer = Field(description="since the first, 00:00 UTC")
    last_minute: LastMinuteAnswer


class StrategyAnswer(BaseModel):
    count: int
    avg_cost: float | None
    high_confidence_pct: float


class UsageAnswer(BaseModel):
    count: int
    avg_cost: float | None


class ArmAnswer(UsageAnswer):
    saved: float | None = Field(
        description="USD: what as many answers of the control arm cost on average, failures"
        " included, less what these did; null: of the control, or nothing to compare"
    )


class SavingsAnswer(BaseModel):
    total_saved: float
    percent_saved: float
    intelligent_cost: float
    baseline_cost: float
    cache_saved: float = Field(description="by the cache; not in `total_saved`")
    period_days: int


class PercentilesAnswer(BaseModel):
    """In ms, of what was answered, within 4 %; null: nothing was."""

    p50: float | None
    p95: float | None
    p99: float | None


class TopModelAnswer(BaseModel):
    model: str
    count: int
    cost: float | None = Field(description="USD, of the priced; null: none was")
    share: float = Field(description="of all requests, 0 to 1")


class SpentAnswer(BaseModel):
    """In USD, of the priced."""

    today: float = Field(description="since 00:00 UTC")
    this_month: float = Field(description="since the first, 00:00 UTC")


class SnapshotAnswer(BaseModel):
    total_decisions: int
    strategy_performance: dict[str, StrategyAnswer]
    confidence_distribution: dict[str, int]
    provider_usage: dict[str, UsageAnswer]
    cost_savings: SavingsAnswer
    latency_ms: PercentilesAnswer
    time_to_first_token_ms: PercentilesAnswer
    error_rate: float | None = Field(description="0 to 1; null: no requests")
    fallback_rate: float | None = Field(
        description="requests answered after others had failed, 0 to 1; null: no requests"
    )
    top_models: list[TopModelAnswer] = Field(description="by requests, ten at most")
    arm_usage: dict[str, ArmAnswer] = Field(
        description='of experiments, by arm: "3/test" is of experiment 3'
    )
    spent: SpentAnswer
    total_cost: float = Field(description="USD, of the priced")
    unpriced: int
    cache_hits: int
    period_days: int
    active_experiments: list[int] = Field(
        description="whose arms took requests in the last minute; GET /experiments has all"
    )
    last_minute: LastMinuteAnswer
    timestamp: str


class RoutingMetrics:
    """GET /routing/metrics: bytes in, the same bytes out."""

    route_path = "/routing/metrics"

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        await send_json(send, 200, await self._snapshots.latest())


def routes(metrics: Metrics, snapshots: Snapshots) -> APIRouter:
    api = APIRouter(tags=["metrics"])

    @api.get("/metrics-cache/stats", responses=answers(CacheStatsAnswer))
    async def metrics_cache_stats() -> Response:
        looks = snapshots.hits + snapshots.misses
        return json(
            {
                "hits": snapshots.hits,
                "misses": snapshots.misses,
                "hit_ratio": snapshots.hits / looks if looks else None,
            }
        )

    @api.get("/stats", responses=answers(StatsAnswer))
    async def stats() -> Response:
        now = datetime.now(UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        minute = now.replace(second=0, microsecond=0) - timedelta(minutes=1)
        ever, today, month, lately = await asyncio.gather(
            metrics.totals(since_ms=0),
            metrics.totals(since_ms=unix_ms(midnight)),
            metrics.totals(since_ms=unix_ms(midnight.replace(day=1))),
            metrics.totals(since_ms=unix_ms(minute), with_latency=True),
        )
        return json(
            {
                **_totals(ever),
                "today": _totals(today),
                "this_month": _totals(month),
                "last_minute": _rates(lately, minute, now),
            }
        )

    return api


def _rates(totals: metrics_pb2.Totals, since: datetime, now: datetime) -> dict[str, Any]:
    requests = totals.requests
    return {
        "since": rfc3339(unix_ms(since)),
        "requests_per_s": requests / (now - since).total_seconds(),
        "p95_ms": known(totals, "p95_ms"),
        "error_rate": totals.failures / requests if requests else None,
        "cache_hit_rate": totals.cache_hits / requests if requests else None,
    }


def _totals(totals: metrics_pb2.Totals) -> dict[str, Any]:
    return {
        "requests": totals.requests,
        "failures": totals.failures,
        "cache_hits": totals.cache_hits,
        "unpriced": totals.unpriced,
        "tokens_in": totals.input_tokens,
        "tokens_out": totals.output_tokens,
        "cost": usd(totals.cost_nano_usd),
        "baseline_cost": usd(totals.baseline_cost_nano_usd),
        "saved": usd(totals.baseline_cost_nano_usd - totals.compared_cost_nano_usd),
        "cache_saved": usd(totals.cache_saved_nano_usd),
    }
