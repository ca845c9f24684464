"""Between which bounds a change is, however often one looks."""

from collections.abc import Mapping

from services.experiments.domain import sequential
from services.experiments.domain.analysis import Interval, critical_t, lift
from services.experiments.domain.experiment import Plan
from services.experiments.domain.looks import Looks
from services.experiments.domain.metrics import Compared, cost_of
from services.experiments.domain.totals import ArmTotals


def interval_of(
    plan: Plan, looks: Looks, totals: Mapping[str, ArmTotals], arm: str
) -> tuple[float, float | None, float | None] | None:
    """
    Return an arm's lift in cost with its always-valid interval.

    None: too few successful answers, or the control costs nothing.
    """
    found = cost_of(totals[plan.arms[0].name], totals[arm])
    if found is None or not found.control.value:
        return None
    change = float(found.test.value / found.control.value) - 1
    bounds = always_valid(found, plan, looks)
    return change, bounds.low, bounds.high


def always_valid(found: Compared, plan: Plan, looks: Looks) -> Interval:
    done = plan.done(looks.results)
    if found.certain or not found.control.value or not done:
        return Interval(None, None)
    gap = found.difference
    scale = sequential.EXPECTED_LIFT * abs(float(found.control.value))
    z = sequential.critical_z(gap.variance, done=done, scale=scale, comparisons=len(plan.arms) - 1)
    return lift(found.control, found.test, float(critical_t(gap.freedom, z)))
