"""What learning knows, as its protos say it. Nothing is decided here."""

from collections.abc import Sequence

from optimizer.router.v1 import router_pb2

from services.router.domain.gate import FEWEST, Comparison
from services.router.store.learned import Belief, Retrained, Status


def status(found: Status) -> router_pb2.GetLearningStatusResponse:
    thresholds = found.beliefs.thresholds
    refit = found.last_refit
    return router_pb2.GetLearningStatusResponse(
        models=_beliefs(found.models),
        outcomes=found.outcomes,
        comparison=_comparison(found.comparison, fallen_back=found.beliefs.fallen_back),
        last_refit=router_pb2.Refit(
            fitted_at_ms=int(refit.fitted_at.timestamp() * 1000), outcomes=refit.outcomes
        )
        if refit
        else None,
        refused=found.refused,
        moderate_from=thresholds.moderate,
        complex_from=thresholds.complex,
        thresholds_from_prompts=thresholds.prompts,
    )


def retrained(found: Retrained) -> router_pb2.RetrainLearningResponse:
    return router_pb2.RetrainLearningResponse(
        before=_beliefs(found.before), after=_beliefs(found.after), outcomes=found.outcomes
    )


def _beliefs(found: Sequence[Belief]) -> list[router_pb2.LearnedModel]:
    return [
        router_pb2.LearnedModel(
            model=one.model,
            difficulty=one.difficulty,
            quality=one.quality,
            spread=one.spread,
            evidence=one.evidence,
            outcomes=one.outcomes,
        )
        for one in found
    ]


def _comparison(found: Comparison, *, fallen_back: bool) -> router_pb2.Comparison:
    return router_pb2.Comparison(
        treated=len(found.treated),
        control=len(found.control),
        treated_quality=_mean(found.treated),
        control_quality=_mean(found.control),
        most_advantage=found.most,
        fallen_back=fallen_back,
    )


def _mean(outcomes: Sequence[float]) -> float | None:
    return sum(outcomes) / len(outcomes) if len(outcomes) >= FEWEST else None
