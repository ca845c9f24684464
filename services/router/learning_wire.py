"""What learning knows and what can be told from it, as protos say it. Nothing is decided here."""

from collections.abc import Sequence

from optimizer.router.v1 import router_pb2

from common.wire import unix_ms
from services.router.domain.gate import FEWEST, Comparison
from services.router.domain.off_policy import Estimate
from services.router.store.feedback_stats import Summary, Trend, Trends
from services.router.store.learned import Belief, Retrained, Status

MOST_NANO_USD = 2**63 - 1  # that the wire carries


def status(found: Status) -> router_pb2.GetLearningStatusResponse:
    thresholds = found.beliefs.thresholds
    refit = found.last_refit
    return router_pb2.GetLearningStatusResponse(
        models=_beliefs(found.models),
        outcomes=found.outcomes,
        comparison=_comparison(found.comparison, fallen_back=found.beliefs.fallen_back),
        last_refit=router_pb2.Refit(fitted_at_ms=unix_ms(refit.fitted_at), outcomes=refit.outcomes)
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


def summary(found: Summary) -> router_pb2.GetFeedbackSummaryResponse:
    return router_pb2.GetFeedbackSummaryResponse(
        models=[
            router_pb2.ModelFeedback(
                model=one.model,
                source=one.source,
                outcomes=one.outcomes,
                quality=one.quality,
                weight=one.weight,
            )
            for one in found.models
        ],
        votes=router_pb2.Votes(
            answers=found.votes.answers,
            up=found.votes.up,
            down=found.votes.down,
            invalidated=found.votes.invalidated,
        ),
        days=found.days,
    )


def trends(found: Trends) -> router_pb2.GetPerformanceTrendsResponse:
    return router_pb2.GetPerformanceTrendsResponse(
        trends=[_trend(one) for one in found.trends], patterns=found.patterns, days=found.days
    )


def estimate(found: Estimate) -> router_pb2.EstimateStrategyResponse:
    return router_pb2.EstimateStrategyResponse(
        requests=found.requests,
        actual_avg_cost_nano_usd=_nano(found.actual),
        estimated_avg_cost_nano_usd=_nano(found.estimated),
        low_nano_usd=_nano(found.low),
        high_nano_usd=_nano(found.high),
        self_normalised_avg_cost_nano_usd=_nano(found.self_normalised),
        saved_ratio=found.saved_ratio,
        effective_sample_size=found.effective_size,
        overlap_ratio=found.overlap_ratio,
        reason=found.reason,
    )


def _nano(mean: float | None) -> int | None:
    return None if mean is None else min(round(mean), MOST_NANO_USD)


def _trend(found: Trend) -> router_pb2.Trend:
    change = found.change
    return router_pb2.Trend(
        model=found.model,
        pattern=found.pattern,
        days=[
            router_pb2.Day(date=day.date.isoformat(), quality=day.quality, outcomes=day.outcomes)
            for day in found.days
        ],
        quality=found.quality,
        outcomes=found.outcomes,
        change=change.value if change else None,
        change_low=change.low if change else None,
        change_high=change.high if change else None,
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
