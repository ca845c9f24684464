"""What is told of an experiment: figures with their intervals, and what they amount to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.experiments.domain.analysis import Interval, critical_t, lift
from services.experiments.domain.experiment import Experiment, Plan
from services.experiments.domain.intervals import always_valid
from services.experiments.domain.looks import Looks, Seen
from services.experiments.domain.metrics import (
    COST,
    GUARDRAILS,
    WATCHED,
    Compared,
    Metric,
    compare,
    compare_adjusted,
)
from services.experiments.domain.power import traffic_of
from services.experiments.domain.totals import ArmTotals
from services.experiments.domain.verdict import ended_by, findings, unproven, winner_of

FIXED_Z = 1.959963984540054  # 95 %, two-sided


@dataclass(frozen=True, slots=True)
class Told:
    """What an experiment amounts to as it stands."""

    winner: str | None
    p_value: float | None  # the smallest of all arms; valid however often one looks
    p_value_fixed: float | None
    more: dict[str, Any]  # as JSON values


def told(experiment: Experiment, looks: Looks, totals: Mapping[str, ArmTotals]) -> Told:
    """Say what was found so far; once there is a verdict, its winner, whatever is found of late."""
    plan, verdict = experiment.plan, experiment.verdict
    more = report(plan, looks, totals)
    if verdict:  # also one that was asked for before anything was sure
        more["decision_ready"] = True
    return Told(
        winner=verdict.winner if verdict else winner_of(plan, looks, totals),
        p_value=findings(plan, looks).p_value,
        p_value_fixed=p_value_fixed(plan, looks, totals),
        more=more,
    )


def p_value_fixed(plan: Plan, looks: Looks, totals: Mapping[str, ArmTotals]) -> float | None:
    """
    Return Welch's two-sided p of the first comparison, for one look at the planned size.

    None while it says nothing: below 10 users or results in an arm; while neither arm varies at
    all, until all planned results are in.
    """
    found = compare(COST, totals[plan.arms[0].name], totals[plan.arms[1].name])
    if found is None:
        return None
    if found.certain:
        equal = bool(found.control.value == found.test.value)
        return None if plan.done(looks.results) < 1 else float(equal)
    return float(found.difference.p_value)


def report(plan: Plan, looks: Looks, totals: Mapping[str, ArmTotals]) -> dict[str, Any]:
    """Return everything beyond counts, means and the verdict, as JSON values."""
    found = findings(plan, looks)
    control = totals[plan.arms[0].name]
    rivals = [arm.name for arm in plan.arms[1:]]
    results = sum(arm.sum("results") for arm in totals.values())
    return {
        "information_fraction": plan.done(looks.results),
        "samples_remaining": max(0, plan.sample_size - results),
        "decision_ready": ended_by(plan, looks, totals) is not None,
        "mde": _detectable(plan, totals),
        "srm": {
            "p_value": looks.srm,
            "alarm": found.mismatch,
            "users": {arm.name: totals[arm.name].users() for arm in plan.arms},
            "expected_shares": {
                arm.name: share for arm, share in zip(plan.arms, plan.shares, strict=True)
            },
        },
        "comparisons": {
            name: {
                "p_value": found.p_values.get(name),
                "cheaper": looks.arms[name].cheaper if name in found.p_values else None,
                "stopped": name in looks.stopped,
                "metrics": {
                    metric.name: _metric(metric, control, totals[name], plan, looks)
                    for metric in WATCHED
                },
            }
            for name in rivals
        },
        "guardrails": {name: _guardrails(plan, looks, name) for name in rivals},
    }


def _metric(
    metric: Metric, control: ArmTotals, test: ArmTotals, plan: Plan, looks: Looks
) -> dict[str, Any]:
    a, b = metric.of(control), metric.of(test)
    raw = compare(metric, control, test)
    cuped = compare_adjusted(metric, control, test)
    return {
        "control": float(a.value) * metric.unit if a else None,
        "test": float(b.value) * metric.unit if b else None,
        "raw": _effect(raw, metric, plan, looks),
        "cuped": _effect(cuped, metric, plan, looks),
    }


def _effect(
    found: Compared | None, metric: Metric, plan: Plan, looks: Looks
) -> dict[str, Any] | None:
    if found is None:
        return None
    a, b = float(found.control.value), float(found.test.value)
    fixed = (
        Interval(None, None)
        if found.certain or not a
        else lift(found.control, found.test, float(critical_t(found.difference.freedom, FIXED_Z)))
    )
    always = always_valid(found, plan, looks)
    return {
        "difference": (b - a) * metric.unit,
        "lift": b / a - 1 if a else None,
        "interval_fixed": [fixed.low, fixed.high],
        "interval_always_valid": [always.low, always.high],
        "p_value_fixed": None if found.certain else float(found.difference.p_value),
    }


def _guardrails(plan: Plan, looks: Looks, arm: str) -> dict[str, Any]:
    seen = looks.arms.get(arm, Seen())
    broken, open_ = findings(plan, looks).breached[arm], unproven(looks, arm)
    margins = plan.options.margins
    margin = {
        "quality": margins.quality_ratio,
        "latency": margins.latency_ratio,
        "failures": margins.failures,
    }
    return {
        rail.name: {
            "status": "unmeasured"
            if rail.name not in seen.harm
            else "breached"
            if rail.name in broken
            else "undecided"
            if rail.name in open_
            else "passed",
            "margin": margin[rail.name],
            "p_value_worse": seen.harm.get(rail.name),
            "p_value_not_worse": seen.safe.get(rail.name),
        }
        for rail in GUARDRAILS
    }


def _detectable(plan: Plan, totals: Mapping[str, ArmTotals]) -> float | None:
    """Return which relative change of cost the planned size finds 4 times of 5, by these users."""
    traffic = traffic_of(totals[plan.arms[0].name], requests_per_day=0)
    if traffic is None:
        return None
    users = plan.sample_size * min(plan.shares) / traffic.requests_per_user
    return traffic.effect_of(users, arms=len(plan.arms))
