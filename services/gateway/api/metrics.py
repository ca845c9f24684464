"""What was spent and saved, over HTTP."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from optimizer.metrics.v1 import metrics_pb2
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from common.money import usd
from services.gateway.api.forms import answers, json
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
    baseline_cost: float
    saved: float


class StatsAnswer(TotalsAnswer):
    today: TotalsAnswer


class StrategyAnswer(BaseModel):
    count: int
    avg_cost: float | None
    high_confidence_pct: float


class ProviderUsageAnswer(BaseModel):
    count: int
    avg_cost: float | None


class SavingsAnswer(BaseModel):
    total_saved: float
    percent_saved: float
    intelligent_cost: float
    baseline_cost: float
    period_days: int


class SnapshotAnswer(BaseModel):
    total_decisions: int
    strategy_performance: dict[str, StrategyAnswer]
    confidence_distribution: dict[str, int]
    provider_usage: dict[str, ProviderUsageAnswer]
    cost_savings: SavingsAnswer
    period_days: int
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
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        ever = await metrics.totals(since_ms=0)
        today = await metrics.totals(since_ms=int(midnight.timestamp() * 1000))
        return json({**_totals(ever), "today": _totals(today)})

    return api


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
    }
