"""The metrics service, as the gateway sees it."""

import grpc
from optimizer.metrics.v1 import metrics_pb2 as pb
from optimizer.metrics.v1 import metrics_pb2_grpc

from common.grpc_client import call

CALL_S = 2.0
HISTORY_S = 5.0  # thirty days of ten million requests, on a machine that has other things to do


class Metrics:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = metrics_pb2_grpc.MetricsServiceStub(channel)

    async def snapshot(self) -> bytes:
        """Return the body of GET /routing/metrics, ready to send."""
        response: pb.GetSnapshotResponse = await call(
            self._stub.GetSnapshot, pb.GetSnapshotRequest(), timeout_s=CALL_S
        )
        return response.json

    async def totals(self, *, since_ms: int, with_latency: bool = False) -> pb.Totals:
        request = pb.GetStatsRequest(since_ms=since_ms, with_latency=with_latency)
        response: pb.GetStatsResponse = await call(self._stub.GetStats, request, timeout_s=CALL_S)
        return response.totals

    async def history(self, request: pb.GetHistoryRequest) -> pb.GetHistoryResponse:
        response: pb.GetHistoryResponse = await call(
            self._stub.GetHistory, request, timeout_s=HISTORY_S
        )
        return response
