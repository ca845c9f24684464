"""POST /production/feedback: whether an answer was any good."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from optimizer.router.v1 import router_pb2
from pydantic import BaseModel, Field
from starlette.responses import Response

from common.errors import NotFound
from services.gateway.api.body import BodyReader
from services.gateway.api.context import caller_of
from services.gateway.api.forms import answers, body, json, reads
from services.gateway.clients.router import Router


class FeedbackForm(BaseModel):
    request_id: str = Field(min_length=1, max_length=100)
    quality_score: int = Field(ge=1, le=5)
    is_correct: bool
    is_helpful: bool | None = None
    comment: str | None = Field(default=None, max_length=1000)


class FeedbackAnswer(BaseModel):
    status: str
    feedback_id: str
    message: str


def routes(router: Router, *, read_body: BodyReader) -> APIRouter:
    api = APIRouter(tags=["feedback"])
    form = Depends(reads(FeedbackForm, read_body))

    @api.post(
        "/production/feedback",
        responses=answers(FeedbackAnswer),
        openapi_extra=body(FeedbackForm),
    )
    async def record_feedback(request: Request, given: Annotated[FeedbackForm, form]) -> Response:
        wanted = router_pb2.RecordFeedbackRequest(
            request_id=_canonical(given.request_id),
            tenant=caller_of(request.scope).tenant,
            quality_score=given.quality_score,
            is_correct=given.is_correct,
            is_helpful=given.is_helpful,
            comment=given.comment or "",
        )
        try:
            recorded = await router.record_feedback(wanted)
        except NotFound as failure:
            raise _unknown() from failure
        again = recorded.revision > 1
        return json(
            {
                "status": "recorded",
                "feedback_id": recorded.feedback_id,
                "message": "Your earlier feedback was replaced." if again else "Thank you.",
            }
        )

    return api


def _canonical(request_id: str) -> str:
    """An id that was never given to anyone is an unknown id, whatever it looks like."""
    try:
        return str(UUID(request_id))
    except ValueError:
        raise _unknown() from None


def _unknown() -> NotFound:
    return NotFound("Request not found", code="request_not_found")
