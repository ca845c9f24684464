"""The experiments service, as the gateway sees it."""

import grpc
from optimizer.experiments.v1 import experiments_pb2 as pb
from optimizer.experiments.v1 import experiments_pb2_grpc

from common.grpc_client import call

ASSIGN_S = 0.25  # a silent service must not hold up a completion
CALL_S = 2.0
ANALYZE_S = 5.0


class Experiments:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = experiments_pb2_grpc.ExperimentsServiceStub(channel)

    async def create(self, request: pb.CreateRequest) -> pb.Experiment:
        response: pb.CreateResponse = await call(self._stub.Create, request, timeout_s=CALL_S)
        return response.experiment

    async def get(self, experiment_id: int) -> pb.Experiment:
        response: pb.GetResponse = await call(
            self._stub.Get, pb.GetRequest(id=experiment_id), timeout_s=CALL_S
        )
        return response.experiment

    async def list(self, request: pb.ListRequest) -> list[pb.Experiment]:
        response: pb.ListResponse = await call(self._stub.List, request, timeout_s=CALL_S)
        return list(response.experiments)

    async def assign(self, experiment_id: int, user_id: str) -> pb.AssignResponse:
        request = pb.AssignRequest(experiment_id=experiment_id, user_id=user_id)
        response: pb.AssignResponse = await call(self._stub.Assign, request, timeout_s=ASSIGN_S)
        return response

    async def analyze(self, experiment_id: int) -> pb.AnalyzeResponse:
        request = pb.AnalyzeRequest(experiment_id=experiment_id)
        response: pb.AnalyzeResponse = await call(self._stub.Analyze, request, timeout_s=ANALYZE_S)
        return response

    async def complete(self, experiment_id: int) -> pb.Experiment:
        response: pb.CompleteResponse = await call(
            self._stub.Complete, pb.CompleteRequest(id=experiment_id), timeout_s=CALL_S
        )
        return response.experiment

    async def cancel(self, experiment_id: int) -> pb.Experiment:
        response: pb.CancelResponse = await call(
            self._stub.Cancel, pb.CancelRequest(id=experiment_id), timeout_s=CALL_S
        )
        return response.experiment
