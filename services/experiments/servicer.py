"""The gRPC face of experiments: decode, delegate, encode. Nothing is decided here."""

import math
from typing import Any

import orjson
from optimizer.experiments.v1 import experiments_pb2 as pb
from optimizer.experiments.v1 import experiments_pb2_grpc

from common.deadlines import in_time
from common.grpc_server import Context
from services.experiments import wire
from services.experiments.comparisons import Comparisons
from services.experiments.planning import Planning
from services.experiments.usecases import Comparison, Experiments

CONFIDENCE_LEVEL = 0.95
DATABASE = "the database"


class ExperimentsServicer(experiments_pb2_grpc.ExperimentsServiceServicer):
    """Failures are raised as `common.errors`; the server's interceptor gives them their code."""

    def __init__(
        self, experiments: Experiments, planning: Planning, comparisons: Comparisons
    ) -> None:
        self._experiments = experiments
        self._planning = planning
        self._comparisons = comparisons

    async def Create(self, request: pb.CreateRequest, context: Context) -> pb.CreateResponse:
        async with in_time(context, DATABASE):
            made = await self._experiments.create(wire.read_plan(request), by=request.by)
        return pb.CreateResponse(experiment=wire.experiment(made))

    async def Get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:
        async with in_time(context, DATABASE):
            found = await self._experiments.get_with_history(request.id)
        return pb.GetResponse(experiment=wire.experiment(found))

    async def List(self, request: pb.ListRequest, context: Context) -> pb.ListResponse:
        async with in_time(context, DATABASE):
            found = await self._experiments.newest(
                limit=request.limit or 100,
                offset=request.offset,
                status=wire.read_status(request.status),
            )
        return pb.ListResponse(experiments=[wire.experiment(one) for one in found])

    async def ListEnrolling(
        self, _request: pb.ListEnrollingRequest, context: Context
    ) -> pb.ListEnrollingResponse:
        async with in_time(context, DATABASE):
            found = await self._experiments.enrolling()
        return pb.ListEnrollingResponse(
            experiments=[
                pb.Enrolling(
                    experiment_id=one.id,
                    scope=wire.scope(one.plan.options.scope),
                    layer=one.plan.options.layer or str(one.id),
                    low=low,
                    high=high,
                )
                for one, low, high in found
            ]
        )

    async def Assign(self, request: pb.AssignRequest, context: Context) -> pb.AssignResponse:
        async with in_time(context, DATABASE):
            placed = await self._experiments.assign(request.experiment_id, request.user_id)
        options, other = placed.experiment.plan.options, placed.other
        return pb.AssignResponse(
            arm=wire.arm(placed.arm),
            recorded=placed.recorded,
            freeze_learning=options.freeze_learning and placed.recorded,
            comparing=wire.comparing(options.comparing) if placed.recorded and other else None,
            other=wire.arm(other) if other else None,
            stopped=placed.experiment.running and not placed.recorded,
        )

    async def Analyze(self, request: pb.AnalyzeRequest, context: Context) -> pb.AnalyzeResponse:
        async with in_time(context, DATABASE):
            compared = await self._experiments.analyze(request.experiment_id)
            pairs = await self._comparisons.told(compared.held.experiment)
        return _analyzed(compared, pairs)

    async def Complete(self, request: pb.CompleteRequest, context: Context) -> pb.CompleteResponse:
        async with in_time(context, DATABASE):
            ended = await self._experiments.complete(
                request.id, by=request.by, reason=request.reason
            )
        return pb.CompleteResponse(experiment=wire.experiment(ended))

    async def Cancel(self, request: pb.CancelRequest, context: Context) -> pb.CancelResponse:
        async with in_time(context, DATABASE):
            ended = await self._experiments.cancel(request.id, by=request.by, reason=request.reason)
        return pb.CancelResponse(experiment=wire.experiment(ended))

    async def Import(self, request: pb.ImportRequest, context: Context) -> pb.ImportResponse:
        rows = wire.read_results(request.results)
        async with in_time(context, DATABASE):
            imported = await self._experiments.take_in(request.experiment_id, rows)
        return pb.ImportResponse(imported=imported)

    async def Plan(self, request: pb.PlanRequest, context: Context) -> pb.PlanResponse:
        async with in_time(context, DATABASE):
            found = await self._planning.plan(
                effect_ratio=request.minimum_detectable_effect_ratio,
                sample_size=request.sample_size,
                arms=request.arms or 2,
            )
        return pb.PlanResponse(
            users_per_arm=found.users_per_arm,
            users=found.users_per_arm * found.arms,
            requests=found.requests,
            days=found.days if found.days is not None and math.isfinite(found.days) else None,
            minimum_detectable_effect_ratio=found.effect_ratio,
            variation=found.traffic.variation,
            requests_per_user=found.traffic.requests_per_user,
            explained_ratio=found.traffic.explained_ratio,
            measured=found.traffic.measured,
        )

    async def Promote(self, request: pb.PromoteRequest, context: Context) -> pb.PromoteResponse:
        async with in_time(context, DATABASE):
            made = await self._experiments.promote(request.id, by=request.by, reason=request.reason)
        return pb.PromoteResponse(promotion=wire.promotion(made))

    async def RevertPromotion(
        self, request: pb.RevertPromotionRequest, context: Context
    ) -> pb.RevertPromotionResponse:
        async with in_time(context, DATABASE):
            found = await self._experiments.revert(request.id, by=request.by, reason=request.reason)
        return pb.RevertPromotionResponse(promotion=wire.promotion(found))

    async def ListPromotions(
        self, request: pb.ListPromotionsRequest, context: Context
    ) -> pb.ListPromotionsResponse:
        async with in_time(context, DATABASE):
            found = await self._experiments.promotions(everything=request.all)
        return pb.ListPromotionsResponse(promotions=[wire.promotion(one) for one in found])

    async def ReserveComparison(
        self, request: pb.ReserveComparisonRequest, context: Context
    ) -> pb.ReserveComparisonResponse:
        async with in_time(context, DATABASE):
            await self._comparisons.reserve(
                request.experiment_id, request.request_id, request.nano_usd
            )
        return pb.ReserveComparisonResponse()

    async def RecordComparison(
        self, request: pb.RecordComparisonRequest, context: Context
    ) -> pb.RecordComparisonResponse:
        async with in_time(context, DATABASE):
            await self._comparisons.record(
                request.experiment_id,
                request.request_id,
                arm=request.arm,
                other=request.other,
                preferred=list(request.preferred),
                cost_nano_usd=request.cost_nano_usd if request.HasField("cost_nano_usd") else None,
                failure=request.failure,
            )
        return pb.RecordComparisonResponse()


def _analyzed(compared: Comparison, pairs: dict[str, Any] | None) -> pb.AnalyzeResponse:
    held, told = compared.held, compared.told
    return pb.AnalyzeResponse(
        experiment=wire.experiment(held.experiment),
        arms=[wire.arm_results(arm.name, held.totals[arm.name]) for arm in held.experiment.arms],
        p_value=told.p_value,
        p_value_fixed=told.p_value_fixed,
        winner=told.winner or "",
        confidence_level=CONFIDENCE_LEVEL,
        stale=compared.stale,
        report_json=orjson.dumps({**told.more, "series": compared.series, "pairs": pairs}),
    )
