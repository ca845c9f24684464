"""The gRPC face of experiments: decode, delegate, encode. Nothing is decided here."""

from datetime import datetime
from typing import NoReturn

import grpc
import orjson
from optimizer.experiments.v1 import experiments_pb2 as pb
from optimizer.experiments.v1 import experiments_pb2_grpc

from common.deadlines import in_time
from common.errors import Invalid
from common.grpc_server import Context
from common.wire import json_field
from services.experiments.domain.experiment import Arm, Experiment, Plan, Status
from services.experiments.domain.result import ArmSummary
from services.experiments.usecases import Experiments

CONFIDENCE_LEVEL = 0.95

_TO_WIRE: dict[Status, pb.Experiment.Status.ValueType] = {
    "running": pb.Experiment.STATUS_RUNNING,
    "completed": pb.Experiment.STATUS_COMPLETED,
    "cancelled": pb.Experiment.STATUS_CANCELLED,
}
_FROM_WIRE: dict[int, Status] = {wire: status for status, wire in _TO_WIRE.items()}


class ExperimentsServicer(experiments_pb2_grpc.ExperimentsServiceServicer):
    """Failures are raised as `common.errors`; the server's interceptor gives them their code."""

    def __init__(self, experiments: Experiments) -> None:
        self._experiments = experiments

    async def Create(self, request: pb.CreateRequest, context: Context) -> pb.CreateResponse:
        plan = Plan(
            name=request.name,
            description=request.description if request.HasField("description") else None,
            arms=tuple(
                Arm(arm.name, arm.strategy, json_field(arm.parameters_json, "parameters"))
                for arm in request.arms
            ),
            sample_size=request.sample_size,
        )
        async with in_time(context, "the database"):
            return pb.CreateResponse(experiment=_experiment(await self._experiments.create(plan)))

    async def Get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:
        async with in_time(context, "the database"):
            return pb.GetResponse(experiment=_experiment(await self._experiments.get(request.id)))

    async def List(self, request: pb.ListRequest, context: Context) -> pb.ListResponse:
        async with in_time(context, "the database"):
            found = await self._experiments.newest(
                limit=request.limit or 100, offset=request.offset, status=_status(request.status)
            )
        return pb.ListResponse(experiments=[_experiment(one) for one in found])

    async def Assign(self, request: pb.AssignRequest, context: Context) -> pb.AssignResponse:
        async with in_time(context, "the database"):
            arm, recorded = await self._experiments.assign(request.experiment_id, request.user_id)
        return pb.AssignResponse(arm=_arm(arm), recorded=recorded)

    async def Analyze(self, request: pb.AnalyzeRequest, context: Context) -> pb.AnalyzeResponse:
        async with in_time(context, "the database"):
            compared = await self._experiments.analyze(request.experiment_id)
        return pb.AnalyzeResponse(
            experiment=_experiment(compared.experiment),
            arms=[_summary(arm) for arm in compared.arms],
            p_value_fixed=compared.p_value_fixed,
            confidence_level=CONFIDENCE_LEVEL,
            stale=compared.stale,
        )

    async def Complete(self, request: pb.CompleteRequest, context: Context) -> pb.CompleteResponse:
        async with in_time(context, "the database"):
            ended = await self._experiments.end(request.id, "completed")
        return pb.CompleteResponse(experiment=_experiment(ended))

    async def Cancel(self, request: pb.CancelRequest, context: Context) -> pb.CancelResponse:
        async with in_time(context, "the database"):
            ended = await self._experiments.end(request.id, "cancelled")
        return pb.CancelResponse(experiment=_experiment(ended))

    async def Import(self, _request: pb.ImportRequest, context: Context) -> pb.ImportResponse:
        await _not_yet(context)

    async def Plan(self, _request: pb.PlanRequest, context: Context) -> pb.PlanResponse:
        await _not_yet(context)

    async def Promote(self, _request: pb.PromoteRequest, context: Context) -> pb.PromoteResponse:
        await _not_yet(context)

    async def ListPromotions(
        self, _request: pb.ListPromotionsRequest, context: Context
    ) -> pb.ListPromotionsResponse:
        await _not_yet(context)


async def _not_yet(context: Context) -> NoReturn:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not served yet")


def _status(wire: int) -> Status | None:
    if wire == pb.Experiment.STATUS_UNSPECIFIED:
        return None
    if wire not in _FROM_WIRE:
        raise Invalid("status must be running, completed or cancelled", param="status")
    return _FROM_WIRE[wire]


def _experiment(experiment: Experiment) -> pb.Experiment:
    ended = experiment.completed_at
    return pb.Experiment(
        id=experiment.id,
        name=experiment.plan.name,
        description=experiment.plan.description,
        arms=[_arm(arm) for arm in experiment.arms],
        sample_size=experiment.plan.sample_size,
        status=_TO_WIRE[experiment.status],
        created_at_ms=_ms(experiment.created_at),
        completed_at_ms=_ms(ended) if ended else None,
    )


def _arm(arm: Arm) -> pb.Arm:
    parameters = orjson.dumps(arm.parameters) if arm.parameters else b""
    return pb.Arm(name=arm.name, strategy=arm.strategy, parameters_json=parameters)


def _summary(arm: ArmSummary) -> pb.ArmResults:
    return pb.ArmResults(
        name=arm.arm,
        count=arm.results,
        users=arm.users,
        avg_cost_nano_usd=arm.avg_cost_nano_usd,
        avg_latency_ms=arm.avg_latency_ms,
        avg_quality=arm.avg_quality,
        failures=arm.failures,
        unpriced=arm.unpriced,
    )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
