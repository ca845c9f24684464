"""What the router has learned of its models, and fitting it anew."""

from typing import Any

from fastapi import APIRouter
from optimizer.router.v1 import router_pb2
from pydantic import BaseModel, Field
from starlette.responses import Response

from services.gateway.api.forms import PROBLEM, answers, json, known, rfc3339
from services.gateway.clients.router import Router


class LearnedModelAnswer(BaseModel):
    """The belief about one model on prompts of one difficulty."""

    model: str
    difficulty: str = Field(description="simple, moderate or complex")
    quality: float | None = Field(description="expected, 0 to 1")
    spread: float | None = Field(description="standard deviation of the expected quality")
    evidence: float | None = Field(
        description="weight of the outcomes behind it, the prior's left out"
    )
    outcomes: int = Field(description="of this model, ever")


class ComparisonAnswer(BaseModel):
    """Hybrid against complexity, on the newest requests where the two disagreed."""

    treated: int = Field(description="outcomes where learning's choice was taken")
    control: int = Field(description="outcomes where complexity's choice was kept, by chance")
    treated_quality: float | None = Field(description="mean, 0 to 1; null: too few outcomes")
    control_quality: float | None = Field(description="mean, 0 to 1; null: too few outcomes")
    most_advantage: float | None = Field(
        description="upper end of hybrid's advantage in quality, one-sided 95 %, -1 to 1"
    )
    fallen_back: bool = Field(description="hybrid did worse, and leaves the choice to complexity")


class RefitAnswer(BaseModel):
    fitted_at: str = Field(description="RFC 3339, UTC")
    outcomes: int = Field(description="it was fitted on")


class ThresholdsAnswer(BaseModel):
    """The complexity scores at which prompts count as moderate and as complex."""

    moderate_from: float | None
    complex_from: float | None
    from_prompts: int = Field(description="whose quantiles they are; 0: fixed")


class LearningStatusAnswer(BaseModel):
    models: list[LearnedModelAnswer]
    outcomes: int = Field(description="learned so far, of all models")
    comparison: ComparisonAnswer
    last_refit: RefitAnswer | None = Field(description="null: there was none")
    refused: int = Field(description="kept states that were absurd: the prior stands in for them")
    thresholds: ThresholdsAnswer


class RefittedAnswer(BaseModel):
    model: str
    difficulty: str = Field(description="simple, moderate or complex")
    quality_before: float | None = Field(description="expected, 0 to 1; null: not known before")
    quality_after: float | None = Field(description="expected, 0 to 1; null: not known any more")


class RetrainAnswer(BaseModel):
    dry_run: bool = Field(description="nothing was changed")
    outcomes: int = Field(description="it was fitted on")
    models: list[RefittedAnswer]


_BUSY: dict[int | str, dict[str, Any]] = {
    409: {"content": PROBLEM, "description": "another replica is at it"}
}


def routes(router: Router) -> APIRouter:
    api = APIRouter(prefix="/admin/learning", tags=["learning"])

    @api.get("/status", responses=answers(LearningStatusAnswer))
    async def learning_status() -> Response:
        return json(_status(await router.learning_status()))

    @api.post("/retrain", responses={**answers(RetrainAnswer), **_BUSY})
    async def retrain_learning(dry_run: bool = False) -> Response:
        fitted = await router.retrain(router_pb2.RetrainLearningRequest(dry_run=dry_run))
        return json({"dry_run": dry_run, "outcomes": fitted.outcomes, "models": _changes(fitted)})

    return api


def _status(status: router_pb2.GetLearningStatusResponse) -> dict[str, Any]:
    refit = status.last_refit
    return {
        "models": [_learned(one) for one in status.models],
        "outcomes": status.outcomes,
        "comparison": _comparison(status.comparison),
        "last_refit": {"fitted_at": rfc3339(refit.fitted_at_ms), "outcomes": refit.outcomes}
        if status.HasField("last_refit")
        else None,
        "refused": status.refused,
        "thresholds": {
            "moderate_from": status.moderate_from,
            "complex_from": status.complex_from,
            "from_prompts": status.thresholds_from_prompts,
        },
    }


def _learned(learned: router_pb2.LearnedModel) -> dict[str, Any]:
    return {
        "model": learned.model,
        "difficulty": learned.difficulty,
        "quality": learned.quality,
        "spread": learned.spread,
        "evidence": learned.evidence,
        "outcomes": learned.outcomes,
    }


def _comparison(compared: router_pb2.Comparison) -> dict[str, Any]:
    return {
        "treated": compared.treated,
        "control": compared.control,
        "treated_quality": known(compared, "treated_quality"),
        "control_quality": known(compared, "control_quality"),
        "most_advantage": known(compared, "most_advantage"),
        "fallen_back": compared.fallen_back,
    }


def _changes(fitted: router_pb2.RetrainLearningResponse) -> list[dict[str, Any]]:
    """Pair what was believed with what is now; a model may be new, or gone from the catalog."""
    before = {(one.model, one.difficulty): one.quality for one in fitted.before}
    after = {(one.model, one.difficulty): one.quality for one in fitted.after}
    return [
        {
            "model": model,
            "difficulty": difficulty,
            "quality_before": before.get((model, difficulty)),
            "quality_after": after.get((model, difficulty)),
        }
        for model, difficulty in {**after, **before}
    ]
