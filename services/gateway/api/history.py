"""What was spent and saved, step by step: the series that charts are drawn from."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from optimizer.metrics.v1 import metrics_pb2 as pb
from pydantic import BaseModel, Field
from starlette.responses import Response

from common.errors import Invalid
from common.money import usd
from services.gateway.api.forms import answers, json, known, rfc3339
from services.gateway.clients.metrics import Metrics

WindowName = Literal["1h", "24h", "7d", "30d"]
ByName = Literal["model", "provider", "strategy", "key", "arm"]

_HOUR_S = 3600
WINDOWS_S: dict[WindowName, int] = {
    "1h": _HOUR_S,
    "24h": 24 * _HOUR_S,
    "7d": 7 * 24 * _HOUR_S,
    "30d": 30 * 24 * _HOUR_S,
}
USUAL_STEPS_S: dict[WindowName, int] = {"1h": 60, "24h": 900, "7d": _HOUR_S, "30d": 6 * _HOUR_S}
_BY: dict[ByName, pb.By.ValueType] = {
    "model": pb.BY_MODEL,
    "provider": pb.BY_PROVIDER,
    "strategy": pb.BY_STRATEGY,
    "key": pb.BY_KEY,
    "arm": pb.BY_ARM,
}

Window = Annotated[WindowName, Query(description="how far back")]
Step = Annotated[
    int | None,
    Query(
        ge=60,
        le=86_400,
        description="seconds, whole minutes, 750 steps at most; otherwise 60, 900, 3600 or 21600",
    ),
]
By = Annotated[ByName | None, Query(description="one series of each; otherwise one of everything")]


class SeriesAnswer(BaseModel):
    """Each list has one entry a step, as `times` has."""

    name: str = Field(
        description='"all"; or of what was asked by; an arm is told as "3/test": of experiment 3;'
        ' "other": those after the first 11; "none": those without one'
    )
    requests: list[int]
    failures: list[int]
    cache_hits: list[int]
    cost: list[float | None] = Field(description="USD; null: no request with a known cost")
    saved: list[float | None] = Field(
        description="USD: baseline less cost, of the requests where both are known; null: none"
    )
    cache_saved: list[float | None] = Field(
        description="USD, by the cache; not in `saved`; null: no answer of it was comparable"
    )
    tokens_in: list[int]
    tokens_out: list[int]
    p50_ms: list[float | None] = Field(description="of what was answered, within 4 %; null: none")
    p95_ms: list[float | None]
    p99_ms: list[float | None]


class HistoryAnswer(BaseModel):
    window: WindowName
    step_s: int
    by: ByName | None
    times: list[str] = Field(description="when each step begins: RFC 3339, UTC; the last has now")
    series: list[SeriesAnswer] = Field(description="those with the most requests first")


def routes(metrics: Metrics) -> APIRouter:
    api = APIRouter(tags=["metrics"])

    @api.get("/metrics/history", responses=answers(HistoryAnswer))
    async def metrics_history(window: Window = "24h", step: Step = None, by: By = None) -> Response:
        step_s = step or USUAL_STEPS_S[window]
        request = pb.GetHistoryRequest(
            window_s=WINDOWS_S[window],
            step_s=step_s,
            by=_BY[by] if by else pb.BY_UNSPECIFIED,
        )
        try:
            found = await metrics.history(request)
        except Invalid as failure:
            failure.param = failure.param or "step"  # it is a bound, not a broken request: 422
            raise
        series = list(found.series) if by else [pb.Series(name="all", steps=found.steps)]
        return json(
            {
                "window": window,
                "step_s": step_s,
                "by": by,
                "times": [rfc3339(found.start_ms + n * step_s * 1000) for n in range(found.count)],
                "series": [_series(one) for one in series],
            }
        )

    return api


def _series(series: pb.Series) -> dict[str, Any]:
    def each(tell: Callable[[pb.Totals], Any]) -> list[Any]:
        return [tell(step) for step in series.steps]

    return {
        "name": series.name,
        "requests": each(lambda step: step.requests),
        "failures": each(lambda step: step.failures),
        "cache_hits": each(lambda step: step.cache_hits),
        "cost": each(_cost),
        "saved": each(_saved),
        "cache_saved": each(_cache_saved),
        "tokens_in": each(lambda step: step.input_tokens),
        "tokens_out": each(lambda step: step.output_tokens),
        "p50_ms": each(lambda step: known(step, "p50_ms")),
        "p95_ms": each(lambda step: known(step, "p95_ms")),
        "p99_ms": each(lambda step: known(step, "p99_ms")),
    }


def _cost(step: pb.Totals) -> float | None:
    return usd(step.cost_nano_usd) if step.requests > step.unpriced else None


def _saved(step: pb.Totals) -> float | None:
    if not step.compared:
        return None
    return usd(step.baseline_cost_nano_usd - step.compared_cost_nano_usd)


def _cache_saved(step: pb.Totals) -> float | None:
    return usd(step.cache_saved_nano_usd) if step.cache_compared else None
