"""Experiments between HTTP and gRPC: forms to messages, messages to JSON. Nothing is decided."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from optimizer.experiments.v1 import experiments_pb2 as pb

from common.errors import Invalid
from common.ledger_rows import LATEST
from common.money import NANO_PER_USD, nano_usd
from common.wire import unix_ms
from services.gateway.api.body import MAX_PROBLEMS
from services.gateway.api.experiment_forms import ArmForm, ExperimentForm, ResultForm
from services.gateway.api.forms import known, rfc3339
from services.gateway.launches import Launched

ALPHA = 0.05
NO_TIME = -1  # Unix time in ms: what is no time, or before 1970
STATUS: dict[str, "pb.Experiment.Status.ValueType"] = {
    "running": pb.Experiment.STATUS_RUNNING,
    "completed": pb.Experiment.STATUS_COMPLETED,
    "cancelled": pb.Experiment.STATUS_CANCELLED,
}
_STATUS_NAMES = {number: name for name, number in STATUS.items()}


def _arms_of(wanted: ExperimentForm) -> list[ArmForm]:
    """
    Return the arms of a form, named.

    Raises:
        Invalid: there are none, or they are given twice.
    """
    two = (wanted.control_strategy, wanted.test_strategy)
    if wanted.arms is not None:
        if any(two) or wanted.control_parameters or wanted.test_parameters:
            raise Invalid("give `arms`, or `control_...` and `test_...`, not both", param="arms")
        default = ["control", "test", *(f"test_{n}" for n in range(2, len(wanted.arms)))]
        return [
            arm.model_copy(update={"name": arm.name or name})
            for arm, name in zip(wanted.arms, default, strict=True)
        ]
    for strategy, param in zip(two, ("control_strategy", "test_strategy"), strict=True):
        if strategy is None:
            raise Invalid(f"{param}: Field required", param=param)
    return [
        ArmForm(name="control", strategy=two[0] or "", parameters=wanted.control_parameters),
        ArmForm(name="test", strategy=two[1] or "", parameters=wanted.test_parameters),
    ]


def create_request(wanted: ExperimentForm, *, by: str) -> pb.CreateRequest:
    """
    Write an experiment that is wanted, its arms named.

    Raises:
        Invalid: there are no arms, or they are given twice.
    """
    rails, comparing = wanted.guardrails, wanted.comparing
    return pb.CreateRequest(
        name=wanted.name,
        description=wanted.description,
        arms=[
            pb.Arm(
                name=arm.name or "",
                strategy=arm.strategy,
                parameters_json=orjson.dumps(arm.parameters) if arm.parameters else b"",
                weight=arm.weight,
            )
            for arm in _arms_of(wanted)
        ],
        sample_size=wanted.sample_size,
        options=pb.Options(
            hypothesis=wanted.hypothesis,
            auto_complete=wanted.auto_complete,
            auto_promote=wanted.auto_promote,
            freeze_learning=wanted.freeze_learning,
            margins=pb.Margins(
                quality_ratio=rails.quality, latency_ratio=rails.latency, failures=rails.failures
            ),
            scope=pb.Scope(tenant=wanted.scope.tenant, tag=wanted.scope.tag),
            enrol=wanted.enroll,
            traffic_share=wanted.traffic_share,
            layer=wanted.layer,
            max_duration_days=wanted.max_duration_days,
            comparing=pb.Comparing(
                share=comparing.share,
                judge_model=comparing.judge_model,
                budget_nano_usd=nano_usd(comparing.budget_usd),
            )
            if comparing
            else None,
        ),
        by=by,
    )


def import_request(experiment_id: int, rows: Sequence[ResultForm]) -> pb.ImportRequest:
    """
    Write rows that are imported.

    Raises:
        Invalid: the times of rows are none; each is named.
    """
    times = [_read_ms(row.occurred_at) if row.occurred_at else None for row in rows]
    wrong = [f"results[{index}]" for index, time in enumerate(times) if time == NO_TIME]
    if wrong:
        more = f" and {len(wrong) - MAX_PROBLEMS} more" if len(wrong) > MAX_PROBLEMS else ""
        raise Invalid(
            f"{', '.join(wrong[:MAX_PROBLEMS])}{more}: occurred_at must be a time from 1970 on with"
            " its zone, such as 2026-01-31T12:00:00Z. Nothing was imported.",
            param="occurred_at",
        )
    return pb.ImportRequest(
        experiment_id=experiment_id,
        results=[_external(row, time) for row, time in zip(rows, times, strict=True)],
    )


def _external(row: ResultForm, occurred_at_ms: int | None) -> pb.ExternalResult:
    return pb.ExternalResult(
        request_id=row.request_id,
        user_id=row.user_id,
        provider=row.provider,
        model=row.model,
        cost_nano_usd=nano_usd(row.cost),
        latency_ms=row.latency_ms,
        quality_score=row.quality_score,
        success=row.success,
        prompt_tokens=row.prompt_tokens,
        occurred_at_ms=occurred_at_ms,
        arm=row.arm or "",
    )


def shown(experiment: pb.Experiment) -> dict[str, Any]:
    control, test = experiment.arms[0], experiment.arms[1]
    options = experiment.options
    ended = known(experiment, "completed_at_ms")
    return {
        "id": experiment.id,
        "name": experiment.name,
        "description": known(experiment, "description"),
        "control_strategy": control.strategy,
        "test_strategy": test.strategy,
        "control_parameters": _read(control),
        "test_parameters": _read(test),
        "arms": [
            {
                "name": arm.name,
                "strategy": arm.strategy,
                "parameters": _read(arm),
                "weight": arm.weight,
            }
            for arm in experiment.arms
        ],
        "sample_size": experiment.sample_size,
        "status": status_of(experiment),
        "created_at": rfc3339(experiment.created_at_ms),
        "completed_at": None if ended is None else rfc3339(ended),
        "verdict": verdict_of(experiment),
        "hypothesis": options.hypothesis,
        "auto_complete": options.auto_complete,
        "auto_promote": options.auto_promote,
        "freeze_learning": options.freeze_learning,
        "guardrails": {
            "quality": options.margins.quality_ratio,
            "latency": options.margins.latency_ratio,
            "failures": options.margins.failures,
        },
        "enroll": options.enrol,
        "scope": scope_of(options.scope),
        "traffic_share": options.traffic_share,
        "layer": options.layer,
        "max_duration_days": options.max_duration_days,
        "comparing": _comparing(options),
        "history": [
            {"status": one.status, "by": one.by, "reason": one.reason, "at": rfc3339(one.at_ms)}
            for one in experiment.history
        ],
    }


def launched(made: Launched) -> dict[str, Any]:
    effect = made.minimum_detectable_effect_ratio
    return {**shown(made.experiment), "minimum_detectable_effect": effect}


def results(found: pb.AnalyzeResponse) -> dict[str, Any]:
    experiment = found.experiment
    p_value = known(found, "p_value")
    return {
        "experiment_id": experiment.id,
        "control_strategy": experiment.arms[0].strategy,
        "test_strategy": experiment.arms[1].strategy,
        **{f"control_{name}": value for name, value in _arm(found.arms[0]).items()},
        **{f"test_{name}": value for name, value in _arm(found.arms[1]).items()},
        "arms": [
            {"name": arm.name, "strategy": arm.strategy, **_arm(counted)}
            for arm, counted in zip(experiment.arms, found.arms, strict=True)
        ],
        "p_value": p_value,
        "p_value_fixed": known(found, "p_value_fixed"),
        "is_significant": p_value is not None and p_value < ALPHA,
        "winner": found.winner or None,
        "confidence_level": found.confidence_level,
        "stale": found.stale,
        "status": status_of(experiment),
        "sample_size": experiment.sample_size,
        "verdict": verdict_of(experiment),
        **(orjson.loads(found.report_json) if found.report_json else {}),
    }


def progress(found: pb.AnalyzeResponse) -> dict[str, Any]:
    counts = {arm.name: arm.count for arm in found.arms}
    total, wanted = sum(counts.values()), found.experiment.sample_size
    return {
        "experiment_id": found.experiment.id,
        "status": status_of(found.experiment),
        "sample_size": wanted,
        "total_count": total,
        "control_count": found.arms[0].count,
        "test_count": found.arms[1].count,
        "counts": counts,
        "progress_ratio": min(1.0, total / wanted) if wanted else 0.0,
        "stale": found.stale,
    }


def plan(found: pb.PlanResponse) -> dict[str, Any]:
    return {
        "minimum_detectable_effect": found.minimum_detectable_effect_ratio,
        "users_per_arm": found.users_per_arm,
        "users": found.users,
        "requests": found.requests,
        "sample_size": found.requests,
        "days": known(found, "days"),
        "variation": found.variation,
        "requests_per_user": found.requests_per_user,
        "explained_ratio": found.explained_ratio,
        "measured": found.measured,
    }


def promotion(found: pb.Promotion) -> dict[str, Any]:
    reverted = known(found, "reverted_at_ms")
    return {
        "id": found.id,
        "experiment_id": found.experiment_id,
        "scope": scope_of(found.scope),
        "arm": found.arm.name,
        "strategy": found.arm.strategy,
        "parameters": _read(found.arm),
        "promoted_at": rfc3339(found.promoted_at_ms),
        "promoted_by": found.by,
        "reason": found.reason,
        "reverted_at": None if reverted is None else rfc3339(reverted),
        "reverted_by": found.reverted_by or None,
    }


def status_of(experiment: pb.Experiment) -> str:
    return _STATUS_NAMES.get(experiment.status, "running")


def verdict_of(experiment: pb.Experiment) -> dict[str, Any] | None:
    if not experiment.HasField("verdict"):
        return None
    verdict = experiment.verdict
    return {
        "winner": verdict.winner or None,
        "reason": verdict.reason,
        "rule": verdict.rule,
        "at": rfc3339(verdict.at_ms),
    }


def scope_of(scope: pb.Scope) -> dict[str, str]:
    return {"tenant": scope.tenant, "tag": scope.tag}


def _comparing(options: pb.Options) -> dict[str, Any] | None:
    if not options.HasField("comparing"):
        return None
    return {
        "share": options.comparing.share,
        "judge_model": options.comparing.judge_model,
        "budget_usd": options.comparing.budget_nano_usd / NANO_PER_USD,
    }


def _arm(found: pb.ArmResults) -> dict[str, Any]:
    cost = known(found, "avg_cost_nano_usd")
    return {
        "count": found.count,
        "users": found.users,
        "avg_cost": None if cost is None else cost / NANO_PER_USD,
        "avg_latency": known(found, "avg_latency_ms"),
        "avg_quality": known(found, "avg_quality"),
        "failures": found.failures,
        "unpriced": found.unpriced,
    }


def _read(arm: pb.Arm) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(arm.parameters_json or b"{}")
    return read


def _read_ms(text: str) -> int:
    """Read a time as Unix time in ms; `NO_TIME` if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return NO_TIME
    if moment.tzinfo is None:
        return NO_TIME
    # The end of time is in the future as well, and is refused as that, by its row.
    return min(max(unix_ms(moment), NO_TIME), unix_ms(LATEST) - 1)
