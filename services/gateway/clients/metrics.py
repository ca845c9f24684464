"""The metrics service, as the gateway sees it."""

import grpc
from optimizer.metrics.v1 import metrics_pb2 as pb
from optimizer.metrics.v1 import metrics_pb2_grpc

from common.grpc_client import call

CALL_S = 2.0


class Metrics:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = metrics_pb2_grpc.MetricsServiceStub(channel)

    async def snapshot(self) -> bytes:
        """Return the body of GET /routing/metrics, ready to send."""
        response: pb.GetSnapshotResponse = await call(
            self._stub.GetSnapshot, pb.GetSnapshotRequest(), timeout_s=CALL_S
        )
        return response.json

    async def totals(self, *, since_ms: int) -> pb.Totals:
        response: pb.GetStatsResponse = await call(
            self._stub.GetStats, pb.GetStatsRequest(since_ms=since_ms), timeout_s=CALL_S
        )
        return response.totals
