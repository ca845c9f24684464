"""Experiments over HTTP: decode, one call down, encode."""

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from optimizer.experiments.v1 import experiments_pb2 as pb
from optimizer.router.v1 import router_pb2
from starlette.responses import Response

from common.errors import Failure, Invalid, NotFound
from common.strategies import STRATEGIES
from services.gateway.api import experiment_wire as wire
from services.gateway.api.body import BodyReader, check_text
from services.gateway.api.complete import body_of
from services.gateway.api.context import caller_of, context_of
from services.gateway.api.experiment_edge import ExperimentId, as_bounds, as_missing_experiment, by
from services.gateway.api.experiment_forms import (
    ArmForm,
    AssignmentAnswer,
    ExperimentAnswer,
    ExperimentForm,
    ImportAnswer,
    MadeAnswer,
    PlanAnswer,
    PlanForm,
    ProgressAnswer,
    ResultForm,
    ResultsAnswer,
    Status,
)
from services.gateway.api.forms import answers, body, json, reads, reads_rows
from services.gateway.clients.experiments import Experiments
from services.gateway.clients.router import Router
from services.gateway.usecases import frozen_for

MAX_ROWS = 10_000
_NEED_PARAMETERS = frozenset({"fixed"})


def routes(experiments: Experiments, asked: Router, *, read_body: BodyReader) -> APIRouter:
    router = APIRouter(prefix="/experiments", tags=["experiments"])
    form = Depends(reads(ExperimentForm, read_body))
    rows_ = Depends(reads_rows(ResultForm, read_body, most=MAX_ROWS))

    @router.post("", responses=answers(MadeAnswer), openapi_extra=body(ExperimentForm))
    async def create_experiment(
        request: Request, wanted: Annotated[ExperimentForm, form]
    ) -> Response:
        with as_bounds():
            arms = wire.arms_of(wanted)
            for arm in arms:
                await _check_arm(arm, asked, request)
            await _check_judge(wanted, asked, request)
            made = await experiments.create(wire.create_request(wanted, arms, by=by(request)))
        await _freeze(made, asked, request)
        return json(
            {**wire.shown(made), "minimum_detectable_effect": await _effect(experiments, made)}
        )

    @router.post("/plan", responses=answers(PlanAnswer), openapi_extra=body(PlanForm))
    async def plan_experiment(
        wanted: Annotated[PlanForm, Depends(reads(PlanForm, read_body))],
    ) -> Response:
        request = pb.PlanRequest(
            minimum_detectable_effect_ratio=wanted.minimum_detectable_effect or 0,
            sample_size=wanted.sample_size or 0,
            arms=wanted.arms,
        )
        with as_bounds():
            return json(wire.plan(await experiments.plan(request)))

    @router.get("", responses=answers(ExperimentAnswer, many=True))
    async def list_experiments(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
        status: Status | None = None,
    ) -> Response:
        wanted = wire.STATUS[status] if status else pb.Experiment.STATUS_UNSPECIFIED
        found = await experiments.list(pb.ListRequest(limit=limit, offset=offset, status=wanted))
        return json([wire.shown(one) for one in found])

    @router.get("/{experiment_id}", responses=answers(ExperimentAnswer))
    async def get_experiment(experiment_id: ExperimentId) -> Response:
        with as_missing_experiment():
            return json(wire.shown(await experiments.get(experiment_id)))

    @router.get("/{experiment_id}/results", responses=answers(ResultsAnswer))
    async def get_results(experiment_id: ExperimentId) -> Response:
        return json(wire.results(await _analyze(experiments, experiment_id)))

    @router.post(
        "/{experiment_id}/results",
        responses=answers(ImportAnswer),
        openapi_extra=body(ResultForm, many=True),
    )
    async def import_results(
        experiment_id: ExperimentId, rows: Annotated[list[ResultForm], rows_]
    ) -> Response:
        request = wire.import_request(experiment_id, rows)
        with as_missing_experiment(experiment_id), as_bounds():
            imported = await experiments.take_in(request)
        return json({"imported": imported, "already_there": len(rows) - imported})

    @router.get("/{experiment_id}/progress", responses=answers(ProgressAnswer))
    async def get_progress(experiment_id: ExperimentId) -> Response:
        return json(wire.progress(await _analyze(experiments, experiment_id)))

    @router.get("/{experiment_id}/assign/{user_id:path}", responses=answers(AssignmentAnswer))
    async def get_assignment(
        experiment_id: ExperimentId, user_id: Annotated[str, Path(min_length=1, max_length=256)]
    ) -> Response:
        check_text(user_id, "user_id")
        with as_missing_experiment():
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

    return router


async def _effect(experiments: Experiments, made: pb.Experiment) -> float | None:
    """
    Say what the size can find; that nobody knows just now undoes no experiment.

    The arm with the fewest users decides: it finds what it would if all had as many.
    """
    arms, weights = len(made.arms), [arm.weight for arm in made.arms]
    least = round(made.sample_size * arms * min(weights) / sum(weights))
    try:
        found = await experiments.plan(pb.PlanRequest(sample_size=max(least, 1), arms=arms))
    except Failure:
        return None
    return found.minimum_detectable_effect_ratio


async def _analyze(experiments: Experiments, experiment_id: int) -> pb.AnalyzeResponse:
    with as_missing_experiment(experiment_id):
        return await experiments.analyze(experiment_id)


async def _check_arm(arm: ArmForm, router: Router, request: Request) -> None:
    """
    Have the router decide once as the arm would: what it refuses now it would refuse to callers.

    Raises:
        Invalid: there is no such strategy or model, or it does not take these parameters.
        Unavailable, TimedOut: the router is silent, or nothing that the arm needs is on.
    """
    if arm.strategy not in STRATEGIES:
        param = f"{arm.name}_strategy"
        raise Invalid(
            f"{param}: must be one of {', '.join(STRATEGIES)}", code="unknown_strategy", param=param
        )
    if not arm.parameters and arm.strategy not in _NEED_PARAMETERS:
        return
    strategy = router_pb2.Strategy(
        name=arm.strategy, parameters_json=wire.parameters(arm.parameters)
    )
    try:
        await router.decide(_ask(request, strategy))
    except (Invalid, NotFound) as failure:
        param = f"{arm.name}_parameters"
        raise Invalid(f"{param}: {failure.message}", code=failure.code, param=param) from None


async def _check_judge(wanted: ExperimentForm, router: Router, request: Request) -> None:
    """
    Have the router decide once for the judge.

    Raises:
        Invalid: there is no such model.
    """
    if wanted.comparing is None:
        return
    try:
        await router.decide(_ask(request, model=wanted.comparing.judge_model))
    except (Invalid, NotFound) as failure:
        raise Invalid(f"judge_model: {failure.message}", param="comparing") from None


async def _freeze(made: pb.Experiment, router: Router, request: Request) -> None:
    """Have the router freeze what it has learned; if it cannot now, the first request does."""
    if made.options.freeze_learning:
        with suppress(Failure):
            await router.decide(_ask(request, router_pb2.Strategy(snapshot=frozen_for(made.id))))


def _ask(
    request: Request, strategy: router_pb2.Strategy | None = None, *, model: str = ""
) -> router_pb2.Ask:
    """Ask for nothing but a decision."""
    return router_pb2.Ask(
        request_id=context_of(request.scope).request_id,
        tenant=caller_of(request.scope).tenant,
        strategy=strategy,
        model=model,
        body=body_of("Hello", 1),
    )
