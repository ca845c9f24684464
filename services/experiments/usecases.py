"""Experiments: made, listed, assigned, ended, read, and their winners promoted."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import asyncpg
import structlog

from common.errors import Conflict, Failure, Invalid, NotFound, Unavailable
from common.postgres import Connection, Pool, transaction
from common.strategies import STRATEGIES
from services.experiments import recording
from services.experiments.domain import importing, report, srm
from services.experiments.domain.assignment import bucket
from services.experiments.domain.experiment import (
    Arm,
    Experiment,
    Plan,
    Promotion,
    Rule,
    Status,
    check_reason,
    checked_plan,
    checked_user,
    ended_already,
)
from services.experiments.domain.importing import ExternalResult
from services.experiments.domain.report import Told
from services.experiments.store import experiments, looks, promotions, results
from services.experiments.store.experiments import ExperimentStore
from services.experiments.store.looks import Held, LookStore, Point
from services.experiments.store.promotions import PromotionStore

MAX_LIMIT = 1000
MAX_OFFSET = 1_000_000
MAX_ID = 2**63 - 1

log = structlog.get_logger()

CatchUp = Callable[[float], Awaitable[bool]]  # seconds → True: everything there was is applied


@dataclass(frozen=True, slots=True)
class Comparison:
    """An experiment as it stands."""

    held: Held
    told: Told
    series: list[Point]
    stale: bool  # the ledger could not be caught up with in time


@dataclass(frozen=True, slots=True)
class Placed:
    """How a user's request is served in an experiment."""

    arm: Arm
    recorded: bool
    experiment: Experiment
    draw: int  # chance, the user's own

    @property
    def other(self) -> Arm | None:
        """Return the arm whose answer this one's is compared with; None: all others did harm."""
        control, *rivals = self.experiment.arms
        if self.arm.name != control.name:
            return control
        served = [arm for arm in rivals if arm.name not in self.experiment.stopped]
        return served[self.draw % len(served)] if served else None


class Experiments:
    """
    Args:
        pool: Of the experiments schema.
        catch_up: Applies the newest rows of the ledger.
        catch_up_s: How long it may take before what is known is told as stale.
        moved: Called when an experiment or a promotion changed: others want to know.
    """

    def __init__(
        self, pool: Pool, catch_up: CatchUp, *, catch_up_s: float, moved: Callable[[], None]
    ) -> None:
        self._pool = pool
        self._experiments = ExperimentStore(pool)
        self._looks = LookStore(pool)
        self._promotions = PromotionStore(pool)
        self._catch_up = catch_up
        self._catch_up_s = catch_up_s
        self._moved = moved

    async def create(self, plan: Plan, *, by: str) -> Experiment:
        id_ = await self._experiments.create(checked_plan(plan, strategies=STRATEGIES), by=by)
        self._moved()
        return await self.get_with_history(id_)

    async def get(self, experiment_id: int) -> Experiment:
        found = None
        if 0 < experiment_id <= MAX_ID:
            found = await self._experiments.find(experiment_id)
        if found is None:
            raise NotFound("Experiment not found")
        return found

    async def get_with_history(self, experiment_id: int) -> Experiment:
        found = await self.get(experiment_id)
        return replace(found, history=tuple(await self._experiments.history(experiment_id)))

    async def newest(self, *, limit: int, offset: int, status: Status | None) -> list[Experiment]:
        if not 1 <= limit <= MAX_LIMIT:
            raise Invalid(f"limit must be within [1, {MAX_LIMIT}]", param="limit")
        if not 0 <= offset <= MAX_OFFSET:
            raise Invalid(f"offset must be within [0, {MAX_OFFSET}]", param="offset")
        return await self._experiments.newest(limit=limit, offset=offset, status=status)

    async def enrolling(self) -> list[tuple[Experiment, float, float]]:
        return await self._experiments.enrolling()

    async def assign(self, experiment_id: int, user_id: str) -> Placed:
        """Return the user's arm, and whether a result will be recorded. Nothing is written."""
        checked_user(user_id)
        experiment = await self.get(experiment_id)
        arm, recorded = experiment.arm_of(user_id)
        draw = bucket(experiment_id, user_id) // len(experiment.arms)
        return Placed(arm, recorded, experiment, draw)

    async def complete(self, experiment_id: int, *, by: str, reason: str) -> Experiment:
        """
        End a running experiment with the verdict that everything answered so far gives.

        Raises:
            NotFound: there is none of that number.
            Conflict: it has ended already; of two who end it at once, one gets this.
            Unavailable: some of it cannot be read now: a verdict without it would stay.
        """
        check_reason(reason)
        found = await self.get(experiment_id)
        if not found.running:
            raise ended_already(found)
        if not await self._catch_up(self._catch_up_s):
            raise Unavailable("the ledger's newest rows cannot be read; try again")
        await self._finish(experiment_id, "stopped", by=by, reason=reason)
        return await self.get_with_history(experiment_id)

    async def cancel(self, experiment_id: int, *, by: str, reason: str) -> Experiment:
        """End a running experiment without a verdict; otherwise as `complete`."""
        check_reason(reason)
        await self.get(experiment_id)
        async with transaction(self._pool) as conn:
            held = await self._running(conn, experiment_id)
            await experiments.end(conn, held.experiment.id, "cancelled", None)
            await experiments.note(conn, experiment_id, "cancelled", by=by, reason=reason)
        self._moved()
        return await self.get_with_history(experiment_id)

    async def mismatched(self) -> int:
        """Return how many running experiments did not get the users they were meant to get."""
        return await self._experiments.mismatched(srm.ALPHA)

    async def end_overdue(self) -> None:
        """
        End the experiments whose time is up, with what was answered before: what nobody could
        read yet, because this service or the ledger was away, is waited for. One that cannot be
        ended is logged: the others end all the same.
        """
        overdue = await self._experiments.overdue()
        if overdue and not await self._catch_up(self._catch_up_s):
            return
        for id_ in overdue:
            try:
                await self._finish(id_, "duration", by=recording.BY_ITSELF)
            except Conflict:
                continue  # somebody else was faster
            except Failure as failure:
                log.warning("cannot end an experiment", experiment=id_, reason=failure.message)
            except Exception:
                log.exception("cannot end an experiment", experiment=id_)

    async def analyze(self, experiment_id: int) -> Comparison:
        """Compare the arms, with every request in it that was answered before this was asked."""
        await self.get(experiment_id)
        caught_up = await self._catch_up(self._catch_up_s)
        found = await self._looks.find(experiment_id)
        if found is None:
            raise NotFound("Experiment not found")
        held, series = found
        told = report.told(held.experiment, held.looks, held.totals)
        return Comparison(held, told, series, stale=not caught_up)

    async def take_in(self, experiment_id: int, rows: list[ExternalResult]) -> int:
        """
        Record what was observed elsewhere, all or nothing; return how many rows were new.

        Raises:
            NotFound: there is no such experiment.
            Invalid: rows are wrong; each is named.
            Conflict: the experiment has ended.
        """
        experiment = await self.get(experiment_id)
        wanted = importing.checked(rows, experiment)
        async with transaction(self._pool) as conn:
            held = await looks.hold(conn, [experiment_id])
            here = held[experiment_id]
            theirs = await results.experiments_of(conn, [one.request_id for one in wanted])
            if not here.experiment.running and len(theirs) < len(wanted):
                raise ended_already(here.experiment)
            came = await results.record(conn, wanted, here.counting())
            try:
                changes = [change for change in came.values() if change]
                recorded = await recording.take_in(conn, held, changes)
            except asyncpg.DataError:
                raise Invalid("the sums of a user would be too large", param="results") from None
        recorded.count()
        self._moved()
        return len(came)

    async def promote(self, experiment_id: int, *, by: str, reason: str) -> Promotion:
        """
        Make the winner's strategy the default of the experiment's scope.

        Raises:
            NotFound: there is no such experiment.
            Conflict: it has no winner, or its winner is the default already.
        """
        check_reason(reason)
        experiment = await self.get(experiment_id)
        winner = experiment.verdict.winner if experiment.verdict else None
        if winner is None:
            told = experiment.verdict.reason if experiment.verdict else "It has no verdict yet."
            raise Conflict(f"Experiment {experiment_id} has no winner to promote. {told}")
        async with transaction(self._pool) as conn:
            made = await promotions.promote(
                conn,
                experiment_id,
                experiment.plan.options.scope,
                experiment.arm(winner),
                by=by,
                reason=reason,
            )
        if made is None:
            raise Conflict(f"The winner of experiment {experiment_id} was promoted already")
        self._moved()
        return made

    async def revert(self, promotion_id: int, *, by: str, reason: str) -> Promotion:
        """
        Take a promotion back.

        Raises:
            NotFound: there is none of that number.
            Conflict: it was taken back already.
        """
        check_reason(reason)
        if not 0 < promotion_id <= MAX_ID:
            raise NotFound("Promotion not found")
        found = await self._promotions.revert(promotion_id, by=by, reason=reason)
        self._moved()
        return found

    async def promotions(self, *, everything: bool) -> list[Promotion]:
        return await self._promotions.newest(everything=everything)

    async def _finish(self, experiment_id: int, rule: Rule, *, by: str, reason: str = "") -> None:
        async with transaction(self._pool) as conn:
            held = await self._running(conn, experiment_id)
            recorded = await recording.finish(conn, held, rule, by=by, reason=reason)
        recorded.count()
        self._moved()

    async def _running(self, conn: Connection, experiment_id: int) -> Held:
        held = (await looks.hold(conn, [experiment_id]))[experiment_id]
        if not held.experiment.running:
            raise ended_already(held.experiment)
        return held
