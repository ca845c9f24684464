"""Whether an answer was any good: stars for a request, votes on a cached answer."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from optimizer.router.v1 import router_pb2
from pydantic import BaseModel, Field
from starlette.responses import Response

from common.errors import Invalid, NotFound
from services.gateway.api.body import BodyReader
from services.gateway.api.context import caller_of
from services.gateway.api.forms import answers, body, json, reads
from services.gateway.clients.router import Router

FORGOTTEN = "Thank you. This answer was voted down and is not given any more."


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


class VoteForm(BaseModel):
    cache_key: str = Field(min_length=1, max_length=200, description="as `/complete` gave it")
    rating: int = Field(
        ge=-1, le=1, description="1: good, -1: bad", json_schema_extra={"enum": [-1, 1]}
    )
    comment: str | None = Field(default=None, max_length=500)


class VoteAnswer(BaseModel):
    success: bool
    cache_key: str
    quality_score: float | None = Field(
        description="net rating of all votes, (up - down) / (up + down), -1 to 1"
    )
    invalidated: bool = Field(description="the cached answer is not given any more")
    message: str


def routes(router: Router, *, read_body: BodyReader) -> APIRouter:
    api = APIRouter(tags=["feedback"])
    form = Depends(reads(FeedbackForm, read_body))
    vote = Depends(reads(VoteForm, read_body))

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

    @api.post("/feedback", responses=answers(VoteAnswer), openapi_extra=body(VoteForm))
    async def record_vote(request: Request, given: Annotated[VoteForm, vote]) -> Response:
        if not given.rating:
            raise Invalid("rating: 0 is no vote; send 1 or -1.", code="invalid_value")
        wanted = router_pb2.RecordVoteRequest(
            cache_key=given.cache_key,
            tenant=caller_of(request.scope).tenant,
            rating=given.rating,
            comment=given.comment or "",
        )
        try:
            counted = await router.record_vote(wanted)
        except NotFound as failure:
            raise NotFound("No answer is kept under this key", code="answer_not_found") from failure
        return json(
            {
                "success": True,
                "cache_key": given.cache_key,
                "quality_score": counted.quality_score,
                "invalidated": counted.invalidated,
                "message": FORGOTTEN if counted.invalidated else "Thank you.",
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
