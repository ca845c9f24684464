"""Pairs of answers to one request: what may be spent on judging them, and what was said."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from common.errors import Invalid, NotFound
from common.money import NANO_PER_USD
from services.experiments.domain.experiment import Experiment
from services.experiments.domain.options import MAX_BUDGET_NANO_USD, Comparing
from services.experiments.domain.paired import compare, count
from services.experiments.store.comparisons import ComparisonStore, Judged
from services.experiments.usecases import Experiments

MAX_FAILURE = 500
MAX_REQUEST_ID = 200
ORDERS = 2  # each pair is judged once with each answer first


class Comparisons:
    def __init__(self, experiments: Experiments, store: ComparisonStore) -> None:
        self._experiments = experiments
        self._store = store

    async def reserve(self, experiment_id: int, request_id: str, nano_usd: int) -> None:
        """
        Set a part of the budget aside before it is spent.

        Raises:
            NotFound: no such experiment, or it compares no answers.
            Invalid: a bound is broken.
            OverBudget: the budget is spent.
        """
        _, comparing = await self._find(experiment_id)
        _check_id(request_id)
        if not 0 <= nano_usd <= MAX_BUDGET_NANO_USD:
            raise Invalid("the amount to reserve is out of bounds", param="nano_usd")
        await self._store.reserve(
            experiment_id, request_id, nano_usd, budget_nano_usd=comparing.budget_nano_usd
        )

    async def record(
        self,
        experiment_id: int,
        request_id: str,
        *,
        arm: str,
        other: str,
        preferred: list[str],
        cost_nano_usd: int | None,
        failure: str,
    ) -> None:
        """
        Keep what a judge said.

        Raises:
            NotFound: no such experiment, or it compares no answers.
            Invalid: a field is out of bounds.
        """
        experiment, _ = await self._find(experiment_id)
        _check_id(request_id)
        names = {one.name for one in experiment.arms}
        if arm not in names or other not in names or arm == other:
            raise Invalid("arm and other must be two arms of the experiment", param="arm")
        if failure:
            preferred = []
        elif len(preferred) != ORDERS or not set(preferred) <= {arm, other, ""}:
            raise Invalid(
                "preferred must say for each order which arm, or nothing for a tie",
                param="preferred",
            )
        if cost_nano_usd is not None and not 0 <= cost_nano_usd <= MAX_BUDGET_NANO_USD:
            raise Invalid("the cost is out of bounds", param="cost_nano_usd")
        await self._store.record(
            experiment_id,
            request_id,
            arm=arm,
            other=other,
            preferred=preferred,
            cost_nano_usd=cost_nano_usd,
            failure=failure.replace("\x00", "")[:MAX_FAILURE],
        )

    async def told(self, experiment: Experiment) -> dict[str, Any] | None:
        """Return what the pairs of an experiment amount to, as JSON values; None: it has none."""
        comparing = experiment.plan.options.comparing
        if comparing is None:
            return None
        found = await self._store.tally(experiment.id)
        control = experiment.arms[0].name
        return {
            "cost": found.cost_nano_usd / NANO_PER_USD,
            "budget": comparing.budget_nano_usd / NANO_PER_USD,
            "failed": found.failed,
            "arms": {
                arm.name: _compared(found.judged, control, arm.name) for arm in experiment.arms[1:]
            },
        }

    async def _find(self, experiment_id: int) -> tuple[Experiment, Comparing]:
        found = await self._experiments.get(experiment_id)
        if found.plan.options.comparing is None:
            raise NotFound("This experiment compares no answers")
        return found, found.plan.options.comparing


def _compared(judged: Iterable[Judged], control: str, test: str) -> dict[str, Any]:
    """Add up the pairs of these two arms."""
    said: Counter[tuple[str, str]] = Counter()
    for one in judged:
        if {one.arm, one.other} == {control, test}:
            said[one.first, one.second] += one.pairs
    counts = count(said, control=control, test=test)
    found = asdict(compare(counts))
    return {**found.pop("counts"), "pairs": counts.pairs, **found}


def _check_id(request_id: str) -> None:
    if not 1 <= len(request_id) <= MAX_REQUEST_ID or "\x00" in request_id:
        raise Invalid("request_id must have 1 to 200 characters", param="request_id")
