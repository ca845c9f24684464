"""
What all looks at an experiment so far have found. The smallest p-value of all looks counts, so it
is kept; everything else is computed anew from the totals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from services.experiments.domain import sequential, srm
from services.experiments.domain.experiment import Plan
from services.experiments.domain.metrics import GUARDRAILS, cost_of
from services.experiments.domain.totals import ArmTotals

TAIL = 0.95  # the percentile of latency that is watched
SLOW_KNOWN_FROM = 100  # results of the control


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found of one arm against the control."""

    p: float | None = None  # None: never enough to say
    cheaper: bool = False  # when p was at its smallest
    harm: Mapping[str, float] = field(default_factory=dict)  # p of "not too bad", by guardrail
    safe: Mapping[str, float] = field(default_factory=dict)  # p of "too bad"


@dataclass(frozen=True, slots=True)
class Looks:
    arms: Mapping[str, Seen] = field(default_factory=dict)  # the control has none
    srm: float = 1.0
    slow_over_us: int | None = None  # the control's 95th percentile, once it is known; then fixed
    results: int = 0  # at the last look
    stopped: Sequence[str] = ()  # arms that nobody is served by any more

    def dump(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def load(cls, kept: Mapping[str, Any]) -> "Looks":
        arms = {name: Seen(**seen) for name, seen in kept.get("arms", {}).items()}
        return cls(**{**kept, "arms": arms, "stopped": tuple(kept.get("stopped", ()))})


def look(plan: Plan, totals: Mapping[str, ArmTotals], before: Looks) -> Looks:
    """
    Look once more.

    Past the planned size the p-values stand: the boundary is spent. The sample ratio is watched on.
    """
    results = sum(arm.sum("results") for arm in totals.values())
    # At the first look beyond it, the size is reached; after that there is nothing to decide.
    decided = before.results >= plan.sample_size
    done = plan.done(results)
    control = totals[plan.arms[0].name]
    return Looks(
        arms=before.arms
        if decided
        else {
            arm.name: _seen(plan, control, totals[arm.name], done, before.arms.get(arm.name))
            for arm in plan.arms[1:]
        },
        srm=min(before.srm, _mismatch(plan, totals, before.stopped)),
        slow_over_us=before.slow_over_us,
        results=results,
        stopped=before.stopped,
    )


def _mismatch(plan: Plan, totals: Mapping[str, ArmTotals], stopped: Sequence[str]) -> float:
    """Test the shares of the arms that still get users."""
    served = [
        (totals[arm.name].users(), share)
        for arm, share in zip(plan.arms, plan.shares, strict=True)
        if arm.name not in stopped
    ]
    whole = sum(share for _, share in served)
    return srm.p_value([users for users, _ in served], [share / whole for _, share in served])


def _seen(
    plan: Plan, control: ArmTotals, test: ArmTotals, done: float, before: Seen | None
) -> Seen:
    before = before or Seen()
    p, cheaper = _cost(control, test, done)
    if p is None or (before.p is not None and before.p <= p):
        p, cheaper = before.p, before.cheaper
    harm, safe = dict(before.harm), dict(before.safe)
    for name, (bad, good) in _guardrails(plan, control, test, done).items():
        harm[name] = min(bad, harm.get(name, 1.0))
        safe[name] = min(good, safe.get(name, 1.0))
    return Seen(p, cheaper, harm, safe)


def _cost(control: ArmTotals, test: ArmTotals, done: float) -> tuple[float | None, bool]:
    found = cost_of(control, test)
    if found is None:
        return None, False
    a, b = float(found.control.value), float(found.test.value)
    if found.certain:
        # Two constants differ by luck or by law, and only having waited tells.
        return (None if done < 1 else float(a == b)), b < a
    scale = sequential.EXPECTED_LIFT * a
    return float(sequential.p_value(found.difference, done=done, scale=scale)), b < a


def _guardrails(
    plan: Plan, control: ArmTotals, test: ArmTotals, done: float
) -> dict[str, tuple[float, float]]:
    found = {}
    for guardrail in GUARDRAILS:
        worse = guardrail.worse(control, test, plan.options.margins)
        if worse is None:
            continue
        beyond, scale = worse.beyond, worse.scale
        bad = sequential.p_value_above(beyond, done=done, scale=scale)
        good = sequential.p_value_above(
            replace(beyond, value=-beyond.value), done=done, scale=scale
        )
        found[guardrail.name] = float(bad), float(good)
    return found
