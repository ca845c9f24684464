"""Experiments over HTTP: decode, one call down, encode."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from optimizer.experiments.v1 import experiments_pb2 as pb
from starlette.responses import Response

from services.gateway.api import experiment_wire as wire
from services.gateway.api.body import BodyReader, check_text
from services.gateway.api.context import context_of
from services.gateway.api.experiment_edge import ExperimentId, as_bounds, as_missing_experiment, by
from services.gateway.api.experiment_forms import (
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
from services.gateway.launches import Launches

MAX_ROWS = 10_000


def routes(experiments: Experiments, launches: Launches, *, read_body: BodyReader) -> APIRouter:
    router = APIRouter(prefix="/experiments", tags=["experiments"])
    form = Depends(reads(ExperimentForm, read_body))
    rows_ = Depends(reads_rows(ResultForm, read_body, most=MAX_ROWS))

    @router.post("", responses=answers(MadeAnswer), openapi_extra=body(ExperimentForm))
    async def create_experiment(
        request: Request, wanted: Annotated[ExperimentForm, form]
    ) -> Response:
        with as_bounds():
            launched = await launches.launch(
                wire.create_request(wanted, by=by(request)),
                request_id=context_of(request.scope).request_id,
            )
        return json(wire.launched(launched))

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


async def _analyze(experiments: Experiments, experiment_id: int) -> pb.AnalyzeResponse:
    with as_missing_experiment(experiment_id):
        return await experiments.analyze(experiment_id)
