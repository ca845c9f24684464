"""The experiments service, as the gateway sees it."""

from collections.abc import Sequence

import grpc
from optimizer.experiments.v1 import experiments_pb2 as pb
from optimizer.experiments.v1 import experiments_pb2_grpc

from common.grpc_client import call

ASSIGN_S = 0.25  # a silent service must not hold up a completion
RESERVE_S = 0.25
CALL_S = 2.0
ANALYZE_S = 5.0
IMPORT_S = 10.0


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

    async def complete(self, request: pb.CompleteRequest) -> pb.Experiment:
        response: pb.CompleteResponse = await call(
            self._stub.Complete, request, timeout_s=ANALYZE_S
        )
        return response.experiment

    async def cancel(self, request: pb.CancelRequest) -> pb.Experiment:
        response: pb.CancelResponse = await call(self._stub.Cancel, request, timeout_s=CALL_S)
        return response.experiment

    async def take_in(self, request: pb.ImportRequest) -> int:
        response: pb.ImportResponse = await call(self._stub.Import, request, timeout_s=IMPORT_S)
        return response.imported

    async def plan(self, request: pb.PlanRequest) -> pb.PlanResponse:
        response: pb.PlanResponse = await call(self._stub.Plan, request, timeout_s=CALL_S)
        return response

    async def promote(self, request: pb.PromoteRequest) -> pb.Promotion:
        response: pb.PromoteResponse = await call(self._stub.Promote, request, timeout_s=CALL_S)
        return response.promotion

    async def revert(self, request: pb.RevertPromotionRequest) -> pb.Promotion:
        response: pb.RevertPromotionResponse = await call(
            self._stub.RevertPromotion, request, timeout_s=CALL_S
        )
        return response.promotion

    async def promotions(self, *, everything: bool = False) -> Sequence[pb.Promotion]:
        response: pb.ListPromotionsResponse = await call(
            self._stub.ListPromotions, pb.ListPromotionsRequest(all=everything), timeout_s=CALL_S
        )
        return response.promotions

    async def enrolling(self) -> Sequence[pb.Enrolling]:
        response: pb.ListEnrollingResponse = await call(
            self._stub.ListEnrolling, pb.ListEnrollingRequest(), timeout_s=CALL_S
        )
        return response.experiments

    async def reserve_comparison(self, request: pb.ReserveComparisonRequest) -> None:
        """
        Set money aside before it is spent on comparing answers.

        Raises:
            OverBudget: the experiment's budget for that is spent.
        """
        await call(self._stub.ReserveComparison, request, timeout_s=RESERVE_S)

    async def record_comparison(self, request: pb.RecordComparisonRequest) -> None:
        await call(self._stub.RecordComparison, request, timeout_s=CALL_S)
