"""Arms with users in them, and looks at them."""

import random

from services.experiments.domain.experiment import Arm, Plan
from services.experiments.domain.looks import Looks, look
from services.experiments.domain.options import Options
from services.experiments.domain.totals import NOTHING, ArmTotals, UserTotals

PLAN = Plan("cheaper?", None, (Arm("control", "best"), Arm("test", "hybrid")), 1_000)


def plan(*, arms=("control", "test"), weights=None, sample_size=1_000, **options):
    made = tuple(
        Arm(name, "fixed", {"model": name}, weight)
        for name, weight in zip(arms, weights or [1.0] * len(arms), strict=True)
    )
    return Plan("cheaper?", None, made, sample_size, Options(**options))


def user(cost=100, *, requests=1, **changes):
    """One user who made *requests* of that cost, all fine."""
    fields = {
        "results": requests,
        "priced": requests,
        "cost_nano_usd": cost * requests,
        "good": requests,
        "latency_us": 1000 * requests,
    }
    return UserTotals(**(fields | changes))


def noisy(number, mean, *, seed=1, **changes):
    draw = random.Random(seed)
    return [user(round(mean * draw.uniform(0.8, 1.2)), **changes) for _ in range(number)]


def arm_totals(users):
    """Sum up *users*."""
    totals = ArmTotals()
    for one in users:
        totals.replace(NOTHING, one)
    return totals


def looked(plan_, before=None, **users):
    """Look once at arms with those users; return the looks and the totals."""
    totals = {name: arm_totals(some) for name, some in users.items()}
    return look(plan_, totals, before or Looks()), totals
