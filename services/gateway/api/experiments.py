"""Experiments over HTTP: decode, one call down, encode."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from optimizer.experiments.v1 import experiments_pb2 as pb
from optimizer.router.v1 import router_pb2
from pydantic import BaseModel, Field
from starlette.responses import Response

from common.errors import Invalid, NotFound
from common.money import NANO_PER_USD
from common.strategies import STRATEGIES
from services.gateway.api.body import BodyReader, check_text
from services.gateway.api.complete import body_of
from services.gateway.api.context import caller_of, context_of
from services.gateway.api.forms import answers, body, json, reads, rfc3339
from services.gateway.clients.experiments import Experiments
from services.gateway.clients.router import Router
from services.gateway.domain.options import MAX_ID

Status = Literal["running", "completed", "cancelled"]
ExperimentId = Annotated[int, Path(ge=1, le=MAX_ID)]

_STATUS: dict[str, "pb.Experiment.Status.ValueType"] = {
    "running": pb.Experiment.STATUS_RUNNING,
    "completed": pb.Experiment.STATUS_COMPLETED,
    "cancelled": pb.Experiment.STATUS_CANCELLED,
}
_NEED_PARAMETERS = frozenset({"fixed"})
_STATUS_NAMES = {number: name for name, number in _STATUS.items()}


class ExperimentForm(BaseModel):
    name: str = Field(min_length=1, max_length=200, pattern=r"\S")
    description: str | None = Field(default=None, max_length=10_000)
    control_strategy: str
    test_strategy: str
    sample_size: int = Field(ge=1, le=10**9, description="results, both arms together")
    control_parameters: dict[str, Any] = Field(default_factory=dict)
    test_parameters: dict[str, Any] = Field(default_factory=dict)


class ExperimentAnswer(BaseModel):
    id: int
    name: str
    description: str | None
    control_strategy: str
    test_strategy: str
    control_parameters: dict[str, Any]
    test_parameters: dict[str, Any]
    sample_size: int
    status: Status
    created_at: str
    completed_at: str | None


class ResultsAnswer(BaseModel):
    experiment_id: int
    control_strategy: str
    test_strategy: str
    control_count: int
    control_users: int
    control_avg_cost: float | None
    control_avg_latency: float | None
    control_avg_quality: float | None
    control_failures: int
    control_unpriced: int
    test_count: int
    test_users: int
    test_avg_cost: float | None
    test_avg_latency: float | None
    test_avg_quality: float | None
    test_failures: int
    test_unpriced: int
    p_value: float | None
    p_value_fixed: float | None
    is_significant: bool
    winner: str | None
    confidence_level: float
    stale: bool


class AssignmentAnswer(BaseModel):
    experiment_id: int
    user_id: str
    assignment: str
    strategy: str
    recorded: bool


class ProgressAnswer(BaseModel):
    experiment_id: int
    status: Status
    sample_size: int
    total_count: int
    control_count: int
    test_count: int
    progress_ratio: float = Field(description="0 to 1")
    stale: bool


def routes(experiments: Experiments, asked: Router, *, read_body: BodyReader) -> APIRouter:
    router = APIRouter(prefix="/experiments", tags=["experiments"])
    form = Depends(reads(ExperimentForm, read_body))

    @router.post("", responses=answers(ExperimentAnswer), openapi_extra=body(ExperimentForm))
    async def create_experiment(
        request: Request, wanted: Annotated[ExperimentForm, form]
    ) -> Response:
        _check_strategies(wanted)
        await _check_parameters(wanted, asked, request)
        try:
            made = await experiments.create(_create_request(wanted))
        except Invalid as failure:
            failure.param = failure.param or "body"  # whatever it is, it is a bound: 422
            raise
        return json(shown(made))

    @router.get("", responses=answers(ExperimentAnswer, many=True))
    async def list_experiments(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
        status: Status | None = None,
    ) -> Response:
        wanted = _STATUS[status] if status else pb.Experiment.STATUS_UNSPECIFIED
        found = await experiments.list(pb.ListRequest(limit=limit, offset=offset, status=wanted))
        return json([shown(one) for one in found])

    @router.get("/{experiment_id}", responses=answers(ExperimentAnswer))
    async def get_experiment(experiment_id: ExperimentId) -> Response:
        with _known():
            return json(shown(await experiments.get(experiment_id)))

    @router.get("/{experiment_id}/results", responses=answers(ResultsAnswer))
    async def get_results(experiment_id: ExperimentId) -> Response:
        return json(_results(await _analyze(experiments, experiment_id)))

    @router.get("/{experiment_id}/progress", responses=answers(ProgressAnswer))
    async def get_progress(experiment_id: ExperimentId) -> Response:
        return json(_progress(await _analyze(experiments, experiment_id)))

    @router.get("/{experiment_id}/assign/{user_id}", responses=answers(AssignmentAnswer))
    async def get_assignment(
        experiment_id: ExperimentId, user_id: Annotated[str, Path(min_length=1, max_length=100)]
    ) -> Response:
        check_text(user_id, "user_id")
        with _known():
            assigned = await experiments.assign(experiment_id, user_id)
        return json(
            {
                "experiment_id": experiment_id,
                "user_id": user_id,
                "assignment": assigned.arm.name,
                "strategy": assigned.arm.strategy,
                "recorded": assigned.recorded,
            }
        )

    @router.post("/{experiment_id}/complete", responses=answers(ExperimentAnswer))
    async def complete_experiment(experiment_id: ExperimentId) -> Response:
        with _known():
            return json(shown(await experiments.complete(experiment_id)))

    @router.post("/{experiment_id}/cancel", responses=answers(ExperimentAnswer))
    async def cancel_experiment(experiment_id: ExperimentId) -> Response:
        with _known():
            return json(shown(await experiments.cancel(experiment_id)))

    return router


@contextmanager
def _known() -> Iterator[None]:
    try:
        yield
    except NotFound as failure:
        raise NotFound("Experiment not found", code="experiment_not_found") from failure


def shown(experiment: pb.Experiment) -> dict[str, Any]:
    control, test = _arms(experiment)
    ended = experiment.HasField("completed_at_ms")
    return {
        "id": experiment.id,
        "name": experiment.name,
        "description": experiment.description if experiment.HasField("description") else None,
        "control_strategy": control.strategy,
        "test_strategy": test.strategy,
        "control_parameters": orjson.loads(control.parameters_json or b"{}"),
        "test_parameters": orjson.loads(test.parameters_json or b"{}"),
        "sample_size": experiment.sample_size,
        "status": _STATUS_NAMES.get(experiment.status, "running"),
        "created_at": rfc3339(experiment.created_at_ms),
        "completed_at": rfc3339(experiment.completed_at_ms) if ended else None,
    }


async def _analyze(experiments: Experiments, experiment_id: int) -> pb.AnalyzeResponse:
    try:
        return await experiments.analyze(experiment_id)
    except NotFound as failure:
        raise NotFound(
            f"Experiment {experiment_id} not found", code="experiment_not_found"
        ) from failure


def _results(found: pb.AnalyzeResponse) -> dict[str, Any]:
    control, test = _arms(found.experiment)
    by_name = {arm.name: arm for arm in found.arms}
    p_value = found.p_value if found.HasField("p_value") else None
    fixed = found.p_value_fixed if found.HasField("p_value_fixed") else None
    return {
        "experiment_id": found.experiment.id,
        "control_strategy": control.strategy,
        "test_strategy": test.strategy,
        **_arm("control", by_name.get("control") or pb.ArmResults()),
        **_arm("test", by_name.get("test") or pb.ArmResults()),
        "p_value": p_value,
        "p_value_fixed": fixed,
        "is_significant": p_value is not None and p_value < 1 - found.confidence_level,
        "winner": found.winner or None,
        "confidence_level": found.confidence_level,
        "stale": found.stale,
    }


def _arm(name: str, found: pb.ArmResults) -> dict[str, Any]:
    cost = found.avg_cost_nano_usd if found.HasField("avg_cost_nano_usd") else None
    return {
        f"{name}_count": found.count,
        f"{name}_users": found.users,
        f"{name}_avg_cost": None if cost is None else cost / NANO_PER_USD,
        f"{name}_avg_latency": found.avg_latency_ms if found.HasField("avg_latency_ms") else None,
        f"{name}_avg_quality": found.avg_quality if found.HasField("avg_quality") else None,
        f"{name}_failures": found.failures,
        f"{name}_unpriced": found.unpriced,
    }


def _progress(found: pb.AnalyzeResponse) -> dict[str, Any]:
    counts = {arm.name: arm.count for arm in found.arms}
    total, wanted = sum(counts.values()), found.experiment.sample_size
    return {
        "experiment_id": found.experiment.id,
        "status": _STATUS_NAMES.get(found.experiment.status, "running"),
        "sample_size": wanted,
        "total_count": total,
        "control_count": counts.get("control", 0),
        "test_count": counts.get("test", 0),
        "progress_ratio": min(1.0, total / wanted) if wanted else 0.0,
        "stale": found.stale,
    }


def _arms(experiment: pb.Experiment) -> tuple[pb.Arm, pb.Arm]:
    by_name = {arm.name: arm for arm in experiment.arms}
    return by_name.get("control") or pb.Arm(), by_name.get("test") or pb.Arm()


def _check_strategies(wanted: ExperimentForm) -> None:
    for param in ("control_strategy", "test_strategy"):
        if getattr(wanted, param) not in STRATEGIES:
            raise Invalid(
                f"{param}: must be one of {', '.join(STRATEGIES)}",
                code="unknown_strategy",
                param=param,
            )


async def _check_parameters(wanted: ExperimentForm, router: Router, request: Request) -> None:
    """
    Have the router decide once as each arm would: what it refuses now it would refuse to callers.

    Raises:
        Invalid: a strategy does not take these parameters, or there is no such model.
        Unavailable, TimedOut: the router is silent, or nothing that an arm needs is on.
    """
    for arm in ("control", "test"):
        name = getattr(wanted, f"{arm}_strategy")
        parameters = getattr(wanted, f"{arm}_parameters")
        if not parameters and name not in _NEED_PARAMETERS:
            continue
        strategy = router_pb2.Strategy(name=name, parameters_json=_parameters(parameters))
        ask = router_pb2.Ask(
            request_id=context_of(request.scope).request_id,
            tenant=caller_of(request.scope).tenant,
            strategy=strategy,
            body=body_of("Hello", 1),
        )
        try:
            await router.decide(ask)
        except (Invalid, NotFound) as failure:
            param = f"{arm}_parameters"
            raise Invalid(f"{param}: {failure.message}", code=failure.code, param=param) from None


def _create_request(wanted: ExperimentForm) -> pb.CreateRequest:
    request = pb.CreateRequest(
        name=wanted.name,
        sample_size=wanted.sample_size,
        arms=[
            pb.Arm(
                name="control",
                strategy=wanted.control_strategy,
                parameters_json=_parameters(wanted.control_parameters),
            ),
            pb.Arm(
                name="test",
                strategy=wanted.test_strategy,
                parameters_json=_parameters(wanted.test_parameters),
            ),
        ],
    )
    if wanted.description is not None:
        request.description = wanted.description
    return request


def _parameters(parameters: dict[str, Any]) -> bytes:
    return orjson.dumps(parameters) if parameters else b""
