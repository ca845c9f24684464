"""How good answers were: as readers said, and as could be seen in them. Quality is 0 to 1."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from optimizer.router.v1 import router_pb2
from pydantic import BaseModel, Field
from starlette.responses import Response

from common.errors import Invalid
from services.gateway.api.body import check_text
from services.gateway.api.forms import answers, json, known
from services.gateway.clients.router import Router
from services.gateway.domain.quality import mean_quality

Days = Annotated[int, Query(ge=1, le=90, description="looked back on")]
Pattern = Annotated[str, Query(max_length=100, description="what prompts are about; empty: all")]
_USUAL_DAYS = 30


class VotesAnswer(BaseModel):
    """Votes on answers in the response cache."""

    answers: int = Field(description="that were voted on")
    up: int
    down: int
    invalidated: int = Field(description="answers that are not given any more")


class SourceAnswer(BaseModel):
    outcomes: int
    quality: float | None = Field(description="mean outcome, 0 to 1")
    weight: float | None = Field(description="with which they were learned, summed")


class ModelFeedbackAnswer(SourceAnswer):
    """What one source says of one model."""

    model: str
    source: str = Field(
        description="stars, votes, failed, empty, refused, invalid_json or regenerated"
    )


class FeedbackSummaryAnswer(BaseModel):
    days: int = Field(description="looked back on")
    models: list[ModelFeedbackAnswer]
    by_source: dict[str, SourceAnswer]
    votes: VotesAnswer


class DayAnswer(BaseModel):
    date: str = Field(description="UTC, YYYY-MM-DD")
    quality: float | None = Field(description="mean, 0 to 1")
    outcomes: int


class TrendAnswer(BaseModel):
    """One model on one pattern of prompts."""

    model: str
    pattern: str
    quality: float | None = Field(description="weighted mean over all days, 0 to 1")
    outcomes: int
    change: float | None = Field(
        description="later half less earlier half, in quality, -1 to 1; null: too few outcomes"
    )
    change_low: float | None = Field(description="95 % interval of `change`, lower end")
    change_high: float | None = Field(description="95 % interval of `change`, upper end")
    days: list[DayAnswer] = Field(description="those with outcomes, oldest first")


class TrendsAnswer(BaseModel):
    days: int = Field(description="looked back on")
    patterns: list[str] = Field(description="that there are")
    trends: list[TrendAnswer]


class ModelQualityAnswer(BaseModel):
    model: str
    outcomes: int = Field(description="of all sources")
    quality: float | None = Field(
        description="mean over the sources by their weight, 0 to 1; null: nothing has weight"
    )


class QualityAnswer(BaseModel):
    days: int = Field(description="looked back on")
    models: list[ModelQualityAnswer]
    votes: VotesAnswer


def routes(router: Router) -> APIRouter:
    api = APIRouter(tags=["learning"])

    @api.get("/admin/feedback/summary", responses=answers(FeedbackSummaryAnswer))
    async def feedback_summary(days: Days = _USUAL_DAYS) -> Response:
        return json(_summary(await _said(router, days)))

    @api.get("/admin/performance/trends", responses=answers(TrendsAnswer))
    async def performance_trends(pattern: Pattern = "", days: Days = _USUAL_DAYS) -> Response:
        wanted = router_pb2.GetPerformanceTrendsRequest(
            pattern=check_text(pattern, "pattern"), days=days
        )
        try:
            found = await router.performance_trends(wanted)
        except Invalid as failure:
            failure.param = failure.param or "pattern"  # it is a bound, not a broken request: 422
            raise
        return json(
            {
                "days": found.days,
                "patterns": list(found.patterns),
                "trends": [_trend(one) for one in found.trends],
            }
        )

    @api.get("/quality/stats", responses=answers(QualityAnswer))
    async def quality_stats(days: Days = _USUAL_DAYS) -> Response:
        said = await _said(router, days)
        return json({"days": said.days, "models": _models(said), "votes": _votes(said.votes)})

    return api


async def _said(router: Router, days: int) -> router_pb2.GetFeedbackSummaryResponse:
    return await router.feedback_summary(router_pb2.GetFeedbackSummaryRequest(days=days))


def _summary(said: router_pb2.GetFeedbackSummaryResponse) -> dict[str, Any]:
    by_source: dict[str, list[router_pb2.ModelFeedback]] = defaultdict(list)
    for one in said.models:
        by_source[one.source].append(one)
    return {
        "days": said.days,
        "models": [_model_feedback(one) for one in said.models],
        "by_source": {source: _source(found) for source, found in by_source.items()},
        "votes": _votes(said.votes),
    }


def _model_feedback(one: router_pb2.ModelFeedback) -> dict[str, Any]:
    return {
        "model": one.model,
        "source": one.source,
        "outcomes": one.outcomes,
        "quality": one.quality if one.outcomes else None,
        "weight": one.weight,
    }


def _source(found: Sequence[router_pb2.ModelFeedback]) -> dict[str, Any]:
    return {
        "outcomes": sum(one.outcomes for one in found),
        # One source's outcomes are of one kind: each counts the same.
        "quality": mean_quality((one.quality, one.outcomes) for one in found),
        "weight": sum(one.weight for one in found),
    }


def _models(said: router_pb2.GetFeedbackSummaryResponse) -> list[dict[str, Any]]:
    by_model: dict[str, list[router_pb2.ModelFeedback]] = defaultdict(list)
    for one in said.models:
        by_model[one.model].append(one)
    return [
        {
            "model": model,
            "outcomes": sum(one.outcomes for one in found),
            "quality": mean_quality((one.quality, one.weight) for one in found),
        }
        for model, found in by_model.items()
    ]


def _votes(votes: router_pb2.Votes) -> dict[str, int]:
    return {
        "answers": votes.answers,
        "up": votes.up,
        "down": votes.down,
        "invalidated": votes.invalidated,
    }


def _trend(trend: router_pb2.Trend) -> dict[str, Any]:
    return {
        "model": trend.model,
        "pattern": trend.pattern,
        "quality": trend.quality if trend.outcomes else None,
        "outcomes": trend.outcomes,
        "change": known(trend, "change"),
        "change_low": known(trend, "change_low"),
        "change_high": known(trend, "change_high"),
        "days": [
            {"date": day.date, "quality": day.quality, "outcomes": day.outcomes}
            for day in trend.days
        ],
    }
