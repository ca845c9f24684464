"""Requests that have ended, and what became of each. No prompt is kept, so none is shown."""

from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query, Request
from optimizer.router.v1 import router_pb2
from pydantic import BaseModel, Field
from starlette.responses import Response

from common.errors import Invalid, NotFound
from common.money import usd
from services.gateway.api.body import check_text
from services.gateway.api.context import caller_of
from services.gateway.api.forms import answers, json, known, rfc3339
from services.gateway.clients.router import Router

Outcome = Literal["ok", "failed", "cancelled", "truncated", "unknown"]
Limit = Annotated[int, Query(ge=1, le=500)]
Before = Annotated[
    str | None, Query(max_length=100, description="`next` of the page before; the newest otherwise")
]
Name = Annotated[str | None, Query(min_length=1, max_length=500)]


class RequestAnswer(BaseModel):
    """A request as it was when it ended."""

    request_id: str
    at: str = Field(description="when it ended: RFC 3339, UTC")
    user_id: str | None
    strategy: str | None
    model: str | None = Field(description="null: nobody was asked")
    provider: str | None
    outcome: Outcome
    confidence: str | None = Field(description="high, medium or low")
    cost: float | None = Field(description="USD, of all attempts; null: unpriced")
    baseline_cost: float | None = Field(
        description="USD: the same tokens on the baseline model; 0: nobody was answered, or it was"
        " asked to compare answers"
    )
    latency_ms: float
    time_to_first_token_ms: float | None = Field(description="null: not streamed")
    tokens_in: int
    tokens_out: int
    cache_hit: bool
    fallbacks: int = Field(description="candidates that failed before")
    experiment_id: int | None
    arm: str | None
    estimated: bool = Field(description="tokens or cost are not the provider's own figures")


class RequestsAnswer(BaseModel):
    requests: list[RequestAnswer] = Field(description="those that began last first")
    next: str | None = Field(
        description="ask for those `before` this; null: there are no more. Where few fit, a page"
        " may be short or empty and yet have a next one"
    )


class EndedAnswer(RequestAnswer):
    error: str | None = Field(description="a word for what went wrong")


class AttemptAnswer(BaseModel):
    """One call of a provider, as known by now."""

    model: str
    provider: str
    outcome: Outcome
    cost: float | None = Field(description="USD; null: unpriced")
    latency_ms: float
    tokens_in: int
    tokens_out: int
    error: str | None = Field(description="a word for what went wrong")
    corrected: bool = Field(description="the truth came after a guess")


class GivenFeedbackAnswer(BaseModel):
    """The last revision, which counts."""

    revision: int
    at: str = Field(description="RFC 3339, UTC")
    quality_score: int | None = Field(default=None, description="1 to 5; null: only votes")
    is_correct: bool | None = None
    is_helpful: bool | None = None
    comment: str | None = None
    votes: dict[str, int] | None = Field(default=None, description="on the answer in the cache")


class StoryAnswer(BaseModel):
    request: EndedAnswer
    decision: dict[str, Any] = Field(description="its explanation, as it was kept")
    attempts: list[AttemptAnswer] = Field(description="in the order they began")
    feedback: GivenFeedbackAnswer | None


def routes(router: Router) -> APIRouter:
    api = APIRouter(prefix="/requests", tags=["requests"])

    @api.get("", responses=answers(RequestsAnswer))
    async def list_requests(
        request: Request,
        *,
        limit: Limit = 50,
        before: Before = None,
        model: Name = None,
        strategy: Name = None,
        outcome: Outcome | None = None,
    ) -> Response:
        wanted = router_pb2.ListRequestsRequest(
            tenant=whose(request),
            limit=limit,
            before=before or "",
            model=check_text(model or "", "model"),
            strategy=check_text(strategy or "", "strategy"),
            outcome=outcome or "",
        )
        if before and _id(before) is None:
            raise Invalid("before: take it from `next` of the page before.", param="before")
        found = await router.requests(wanted)
        return json(
            {"requests": [_listed(one) for one in found.requests], "next": found.next or None}
        )

    @api.get("/{request_id}", responses=answers(StoryAnswer))
    async def get_request(
        request: Request, request_id: Annotated[str, Path(min_length=1, max_length=100)]
    ) -> Response:
        wanted = _id(request_id)
        if wanted is None:
            raise _unknown()
        try:
            found = await router.request(
                router_pb2.GetRequestRequest(request_id=wanted, tenant=whose(request))
            )
        except NotFound as failure:
            raise _unknown() from failure
        return json(
            {
                "request": {**_listed(found.request), "error": found.request.error or None},
                "decision": orjson.loads(found.decision_json or b"{}"),
                "attempts": [_attempt(one) for one in found.attempts],
                "feedback": _feedback(found.feedback) if found.HasField("feedback") else None,
            }
        )

    return api


def whose(request: Request) -> str:
    """Return the tenant whose requests the caller may see; empty: everyone's."""
    caller = caller_of(request.scope)
    return "" if caller.everyone else caller.tenant


def _id(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _unknown() -> NotFound:
    return NotFound("Request not found", code="request_not_found")


def _listed(one: router_pb2.Request) -> dict[str, Any]:
    return {
        "request_id": one.request_id,
        "at": rfc3339(one.at_ms),
        "user_id": one.user_id or None,
        "strategy": one.strategy or None,
        "model": one.model or None,
        "provider": one.provider or None,
        "outcome": one.outcome,
        "confidence": one.confidence or None,
        "cost": usd(known(one, "cost_nano_usd")),
        "baseline_cost": usd(known(one, "baseline_cost_nano_usd")),
        "latency_ms": one.latency_ms,
        "time_to_first_token_ms": known(one, "time_to_first_token_ms"),
        "tokens_in": one.input_tokens,
        "tokens_out": one.output_tokens,
        "cache_hit": one.cache_hit,
        "fallbacks": one.fallbacks,
        "experiment_id": one.experiment_id or None,
        "arm": one.arm or None,
        "estimated": one.estimated,
    }


def _attempt(one: router_pb2.Attempt) -> dict[str, Any]:
    return {
        "model": one.model,
        "provider": one.provider,
        "outcome": one.outcome,
        "cost": usd(known(one, "cost_nano_usd")),
        "latency_ms": one.latency_ms,
        "tokens_in": one.input_tokens,
        "tokens_out": one.output_tokens,
        "error": one.error or None,
        "corrected": one.corrected,
    }


def _feedback(given: router_pb2.GivenFeedback) -> dict[str, Any]:
    said = orjson.loads(given.details_json or b"{}")
    return {
        "revision": given.revision,
        "at": rfc3339(given.at_ms),
        **{
            name: said.get(name)
            for name in ("quality_score", "is_correct", "is_helpful", "comment", "votes")
        },
    }
