"""Experiments to and from the wire. Nothing is decided here."""

from collections.abc import Sequence
from dataclasses import fields

import orjson
from optimizer.experiments.v1 import experiments_pb2 as pb

from common.errors import Invalid
from common.ledger_rows import moment
from common.wire import json_field, unix_ms
from services.experiments.domain.experiment import (
    Arm,
    Experiment,
    Plan,
    Promotion,
    Status,
    Verdict,
)
from services.experiments.domain.importing import ExternalResult
from services.experiments.domain.options import Comparing, Margins, Options, Scope
from services.experiments.domain.totals import ArmTotals

_TO_WIRE: dict[Status, pb.Experiment.Status.ValueType] = {
    "running": pb.Experiment.STATUS_RUNNING,
    "completed": pb.Experiment.STATUS_COMPLETED,
    "cancelled": pb.Experiment.STATUS_CANCELLED,
}
_FROM_WIRE: dict[int, Status] = {wire: status for status, wire in _TO_WIRE.items()}


def read_plan(request: pb.CreateRequest) -> Plan:
    """
    Raises:
        Invalid: the parameters of an arm are no JSON object.
    """
    return Plan(
        name=request.name,
        description=request.description if request.HasField("description") else None,
        arms=tuple(
            Arm(
                arm.name,
                arm.strategy,
                json_field(arm.parameters_json, "parameters"),
                arm.weight or 1.0,
            )
            for arm in request.arms
        ),
        sample_size=request.sample_size,
        options=_read_options(request.options),
    )


def _read_options(sent: pb.Options) -> Options:
    margins = {
        one.name: getattr(sent.margins, one.name)
        for one in fields(Margins)
        if sent.margins.HasField(one.name)  # type: ignore[arg-type]  # the names are the same
    }
    comparing = sent.comparing
    return Options(
        hypothesis=sent.hypothesis,
        auto_complete=sent.auto_complete if sent.HasField("auto_complete") else True,
        auto_promote=sent.auto_promote,
        freeze_learning=sent.freeze_learning if sent.HasField("freeze_learning") else True,
        margins=Margins(**margins),
        scope=Scope(sent.scope.tenant, sent.scope.tag),
        enrol=sent.enrol,
        traffic_share=sent.traffic_share or 1.0,
        layer=sent.layer,
        max_duration_days=sent.max_duration_days,
        comparing=Comparing(comparing.share, comparing.judge_model, comparing.budget_nano_usd)
        if sent.HasField("comparing")
        else None,
    )


def read_status(wire: int) -> Status | None:
    """
    Raises:
        Invalid: there is no such status.
    """
    if wire == pb.Experiment.STATUS_UNSPECIFIED:
        return None
    if wire not in _FROM_WIRE:
        raise Invalid("status must be running, completed or cancelled", param="status")
    return _FROM_WIRE[wire]


def read_results(sent: Sequence[pb.ExternalResult]) -> list[ExternalResult]:
    """
    Raises:
        Invalid: a time is none.
    """
    return [
        ExternalResult(
            request_id=one.request_id,
            user_id=one.user_id,
            provider=one.provider,
            model=one.model,
            cost_nano_usd=one.cost_nano_usd,
            latency_ms=one.latency_ms,
            quality_score=one.quality_score if one.HasField("quality_score") else None,
            success=one.success if one.HasField("success") else True,
            prompt_tokens=one.prompt_tokens if one.HasField("prompt_tokens") else None,
            occurred_at=moment(one.occurred_at_ms, "occurred_at")
            if one.HasField("occurred_at_ms")
            else None,
            arm=one.arm,
        )
        for one in sent
    ]


def experiment(found: Experiment) -> pb.Experiment:
    ended = found.completed_at
    return pb.Experiment(
        id=found.id,
        name=found.plan.name,
        description=found.plan.description,
        arms=[arm(one) for one in found.arms],
        sample_size=found.plan.sample_size,
        status=_TO_WIRE[found.status],
        created_at_ms=unix_ms(found.created_at),
        completed_at_ms=unix_ms(ended) if ended else None,
        options=_options(found.plan.options),
        verdict=_verdict(found.verdict) if found.verdict else None,
        history=[
            pb.Transition(status=one.status, by=one.by, reason=one.reason, at_ms=unix_ms(one.at))
            for one in found.history
        ],
    )


def _options(options: Options) -> pb.Options:
    margins = options.margins
    return pb.Options(
        hypothesis=options.hypothesis,
        auto_complete=options.auto_complete,
        auto_promote=options.auto_promote,
        freeze_learning=options.freeze_learning,
        margins=pb.Margins(
            quality_ratio=margins.quality_ratio,
            latency_ratio=margins.latency_ratio,
            failures=margins.failures,
        ),
        scope=scope(options.scope),
        enrol=options.enrol,
        traffic_share=options.traffic_share,
        layer=options.layer,
        max_duration_days=options.max_duration_days,
        comparing=comparing(options.comparing),
    )


def comparing(found: Comparing | None) -> pb.Comparing | None:
    if found is None:
        return None
    return pb.Comparing(
        share=found.share,
        judge_model=found.judge_model,
        budget_nano_usd=found.budget_nano_usd,
    )


def scope(found: Scope) -> pb.Scope:
    return pb.Scope(tenant=found.tenant, tag=found.tag)


def arm(found: Arm) -> pb.Arm:
    parameters = orjson.dumps(found.parameters) if found.parameters else b""
    return pb.Arm(
        name=found.name,
        strategy=found.strategy,
        parameters_json=parameters,
        weight=found.weight,
    )


def _verdict(found: Verdict) -> pb.Verdict:
    return pb.Verdict(
        winner=found.winner or "", reason=found.reason, rule=found.rule, at_ms=unix_ms(found.at)
    )


def promotion(found: Promotion) -> pb.Promotion:
    reverted = found.reverted_at
    return pb.Promotion(
        id=found.id,
        scope=scope(found.scope),
        arm=arm(found.arm),
        experiment_id=found.experiment_id,
        promoted_at_ms=unix_ms(found.promoted_at),
        by=found.by,
        reason=found.reason,
        reverted_at_ms=unix_ms(reverted) if reverted else None,
        reverted_by=found.reverted_by or "",
    )


def arm_results(name: str, totals: ArmTotals) -> pb.ArmResults:
    """Write the counts and means over one arm's requests."""
    results, priced, rated = (totals.sum(one) for one in ("results", "priced", "rated"))
    return pb.ArmResults(
        name=name,
        count=results,
        users=totals.users(),
        avg_cost_nano_usd=totals.sum("cost_nano_usd") / priced if priced else None,
        avg_latency_ms=totals.sum("latency_us") / results / 1000 if results else None,
        avg_quality=totals.sum("quality") / rated if rated else None,
        failures=totals.sum("failures"),
        unpriced=results - priced,
    )
