"""The gRPC face of metrics: decode, delegate, encode. Nothing is decided here."""

from optimizer.metrics.v1 import metrics_pb2, metrics_pb2_grpc

from common.deadlines import in_time
from common.grpc_server import Context
from services.metrics.domain.history import Totals
from services.metrics.usecases import Reporting


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
            steps = await self._reporting.history(window_s=request.window_s, step_s=request.step_s)
        return metrics_pb2.GetHistoryResponse(steps=[_totals(step) for step in steps])

    async def GetStats(
        self, request: metrics_pb2.GetStatsRequest, context: Context
    ) -> metrics_pb2.GetStatsResponse:
        async with in_time(context, "the database"):
            totals = await self._reporting.totals(request.since_ms)
        return metrics_pb2.GetStatsResponse(totals=_totals(totals))


def _totals(totals: Totals) -> metrics_pb2.Totals:
    return metrics_pb2.Totals(
        from_ms=int(totals.since.timestamp() * 1000),
        requests=totals.requests,
        failures=totals.failures,
        cache_hits=totals.cache_hits,
        unpriced=totals.unpriced,
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        cost_nano_usd=totals.cost_nano_usd,
        baseline_cost_nano_usd=totals.baseline_cost_nano_usd,
        compared_cost_nano_usd=totals.compared_cost_nano_usd,
    )
