"""The gRPC face of metrics: decode, delegate, encode. Nothing is decided here."""

from optimizer.metrics.v1 import metrics_pb2, metrics_pb2_grpc

from common.deadlines import in_time
from common.errors import Invalid
from common.grpc_server import Context
from common.wire import unix_ms
from services.metrics.domain.history import By, Totals
from services.metrics.usecases import Reporting

_BY: dict[int, By | None] = {
    metrics_pb2.BY_UNSPECIFIED: None,
    metrics_pb2.BY_MODEL: "model",
    metrics_pb2.BY_PROVIDER: "provider",
    metrics_pb2.BY_STRATEGY: "strategy",
    metrics_pb2.BY_KEY: "key",
    metrics_pb2.BY_ARM: "arm",
}


class MetricsServicer(metrics_pb2_grpc.MetricsServiceServicer):
    """Failures are raised as `common.errors`; the server's interceptor gives them their code."""

    def __init__(self, reporting: Reporting) -> None:
        self._reporting = reporting

    async def GetSnapshot(
        self, _request: metrics_pb2.GetSnapshotRequest, context: Context
    ) -> metrics_pb2.GetSnapshotResponse:
        async with in_time(context, "the database"):
            latest = await self._reporting.snapshot()
        return metrics_pb2.GetSnapshotResponse(json=latest.json)

    async def GetHistory(
        self, request: metrics_pb2.GetHistoryRequest, context: Context
    ) -> metrics_pb2.GetHistoryResponse:
        async with in_time(context, "the database"):
            steps, found = await self._reporting.history(
                window_s=request.window_s, step_s=request.step_s, by=_by(request.by)
            )
        told = metrics_pb2.GetHistoryResponse(start_ms=unix_ms(steps.start), count=steps.count)
        if request.by == metrics_pb2.BY_UNSPECIFIED:
            [everything] = found
            told.steps.extend(map(_totals, everything.steps))
        for one in found if request.by else ():
            told.series.add(name=one.name, steps=map(_totals, one.steps))
        return told

    async def GetStats(
        self, request: metrics_pb2.GetStatsRequest, context: Context
    ) -> metrics_pb2.GetStatsResponse:
        async with in_time(context, "the database"):
            totals = await self._reporting.totals(
                request.since_ms, with_latency=request.with_latency
            )
        return metrics_pb2.GetStatsResponse(totals=_totals(totals))


def _by(by: metrics_pb2.By.ValueType) -> By | None:
    if by not in _BY:
        raise Invalid(f"by {by} is nothing that history is told by", param="by")
    return _BY[by]


def _totals(totals: Totals) -> metrics_pb2.Totals:
    return metrics_pb2.Totals(
        from_ms=unix_ms(totals.since),
        requests=totals.requests,
        failures=totals.failures,
        cache_hits=totals.cache_hits,
        unpriced=totals.unpriced,
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        cost_nano_usd=totals.cost_nano_usd,
        baseline_cost_nano_usd=totals.baseline_cost_nano_usd,
        compared_cost_nano_usd=totals.compared_cost_nano_usd,
        compared=totals.compared,
        cache_compared=totals.cache_compared,
        cache_saved_nano_usd=totals.cache_saved_nano_usd,
        p50_ms=totals.latency.p50,
        p95_ms=totals.latency.p95,
        p99_ms=totals.latency.p99,
    )
