"""Experiments: made, listed, assigned, ended, and read."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from common.errors import Invalid, NotFound
from common.strategies import STRATEGIES
from services.experiments.domain.analysis import p_value_fixed
from services.experiments.domain.experiment import (
    STATUSES,
    Arm,
    Experiment,
    Plan,
    Status,
    checked_plan,
    checked_user,
    ended_already,
)
from services.experiments.domain.result import ArmSummary
from services.experiments.store.experiments import ExperimentStore
from services.experiments.store.results import ResultStore

MAX_LIMIT = 1000
MAX_OFFSET = 1_000_000
MAX_ID = 2**63 - 1

CatchUp = Callable[[float], Awaitable[bool]]  # seconds → True: everything there was is applied


@dataclass(frozen=True, slots=True)
class Comparison:
    experiment: Experiment
    arms: list[ArmSummary]  # in the order of the experiment's arms
    p_value_fixed: float | None
    stale: bool  # the ledger could not be caught up with in time


class Experiments:
    def __init__(
        self,
        experiments: ExperimentStore,
        results: ResultStore,
        catch_up: CatchUp,
        *,
        catch_up_s: float,
    ) -> None:
        self._experiments = experiments
        self._results = results
        self._catch_up = catch_up
        self._catch_up_s = catch_up_s

    async def create(self, plan: Plan) -> Experiment:
        return await self._experiments.create(checked_plan(plan, strategies=STRATEGIES))

    async def get(self, experiment_id: int) -> Experiment:
        found = None
        if 0 < experiment_id <= MAX_ID:
            found = await self._experiments.find(experiment_id)
        if found is None:
            raise NotFound("Experiment not found")
        return found

    async def newest(self, *, limit: int, offset: int, status: Status | None) -> list[Experiment]:
        if not 1 <= limit <= MAX_LIMIT:
            raise Invalid(f"limit must be within [1, {MAX_LIMIT}]", param="limit")
        if not 0 <= offset <= MAX_OFFSET:
            raise Invalid(f"offset must be within [0, {MAX_OFFSET}]", param="offset")
        if status is not None and status not in STATUSES:
            raise Invalid(f"status must be one of {', '.join(STATUSES)}", param="status")
        return await self._experiments.newest(limit=limit, offset=offset, status=status)

    async def assign(self, experiment_id: int, user_id: str) -> tuple[Arm, bool]:
        """Return the user's arm, and whether a result will be recorded. Nothing is written."""
        checked_user(user_id)
        experiment = await self.get(experiment_id)
        return experiment.arm_of(user_id), experiment.running

    async def end(self, experiment_id: int, status: Status) -> Experiment:
        """
        End a running experiment.

        Raises:
            NotFound: there is none of that number.
            Conflict: it has ended already; of two who end it at once, one gets this.
        """
        if 0 < experiment_id <= MAX_ID:
            ended = await self._experiments.end(experiment_id, status)
            if ended:
                return ended
        raise ended_already(await self.get(experiment_id))

    async def analyze(self, experiment_id: int) -> Comparison:
        """Compare the arms, with every request in it that was answered before this was asked."""
        experiment = await self.get(experiment_id)
        caught_up = await self._catch_up(self._catch_up_s)
        summaries = await self._results.summaries(experiment_id)
        arms = [summaries.arms.get(arm.name, ArmSummary(arm.name)) for arm in experiment.arms]
        control, test = (summaries.users.get(arm.name, []) for arm in experiment.arms[:2])
        return Comparison(
            experiment=experiment,
            arms=arms,
            p_value_fixed=p_value_fixed(
                control,
                test,
                results=sum(arm.results for arm in arms),
                sample_size=experiment.plan.sample_size,
            ),
            stale=not caught_up,
        )
