"""What ends an experiment, and what becomes of its winner, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from optimizer.experiments.v1 import experiments_pb2 as pb
from starlette.responses import Response

from services.gateway.api import experiment_wire as wire
from services.gateway.api.body import BodyReader
from services.gateway.api.experiment_edge import ExperimentId, as_missing_experiment, by
from services.gateway.api.experiment_forms import ExperimentAnswer, PromotionAnswer, ReasonForm
from services.gateway.api.forms import answers, body, json, reads
from services.gateway.clients.experiments import Experiments
from services.gateway.domain.options import MAX_ID


def routes(experiments: Experiments, *, read_body: BodyReader) -> APIRouter:
    router = APIRouter(prefix="/experiments", tags=["experiments"])
    why = Depends(reads(ReasonForm, read_body, optional=True))

    @router.post(
        "/{experiment_id}/complete",
        responses=answers(ExperimentAnswer),
        openapi_extra=body(ReasonForm, optional=True),
    )
    async def complete_experiment(
        request: Request, experiment_id: ExperimentId, told: Annotated[ReasonForm, why]
    ) -> Response:
        sent = pb.CompleteRequest(id=experiment_id, by=by(request), reason=told.reason)
        with as_missing_experiment():
            return json(wire.shown(await experiments.complete(sent)))

    @router.post(
        "/{experiment_id}/cancel",
        responses=answers(ExperimentAnswer),
        openapi_extra=body(ReasonForm, optional=True),
    )
    async def cancel_experiment(
        request: Request, experiment_id: ExperimentId, told: Annotated[ReasonForm, why]
    ) -> Response:
        sent = pb.CancelRequest(id=experiment_id, by=by(request), reason=told.reason)
        with as_missing_experiment():
            return json(wire.shown(await experiments.cancel(sent)))

    @router.post(
        "/{experiment_id}/promote",
        responses=answers(PromotionAnswer),
        openapi_extra=body(ReasonForm, optional=True),
    )
    async def promote_winner(
        request: Request, experiment_id: ExperimentId, told: Annotated[ReasonForm, why]
    ) -> Response:
        sent = pb.PromoteRequest(id=experiment_id, by=by(request), reason=told.reason)
        with as_missing_experiment():
            return json(wire.promotion(await experiments.promote(sent)))

    return router


def promotion_routes(experiments: Experiments, *, read_body: BodyReader) -> APIRouter:
    router = APIRouter(prefix="/promotions", tags=["experiments"])
    why = Depends(reads(ReasonForm, read_body, optional=True))

    @router.get("", responses=answers(PromotionAnswer, many=True))
    async def list_promotions(*, all: bool = False) -> Response:  # noqa: A002 - the query's name
        found = await experiments.promotions(everything=all)
        return json([wire.promotion(one) for one in found])

    @router.post(
        "/{promotion_id}/revert",
        responses=answers(PromotionAnswer),
        openapi_extra=body(ReasonForm, optional=True),
    )
    async def revert_promotion(
        request: Request,
        promotion_id: Annotated[int, Path(ge=1, le=MAX_ID)],
        told: Annotated[ReasonForm, why],
    ) -> Response:
        sent = pb.RevertPromotionRequest(id=promotion_id, by=by(request), reason=told.reason)
        return json(wire.promotion(await experiments.revert(sent)))

    return router
