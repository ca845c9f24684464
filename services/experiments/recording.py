"""
What results do to an experiment: to its users, to the sums over them, and then a look.

All of it happens in the transaction that stores the results, on experiments that it holds, so a
look sees exactly the results before it, whoever records them and however often it starts over.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter

from common.postgres import Connection
from services.experiments.domain.experiment import Experiment, Rule, Verdict
from services.experiments.domain.intervals import interval_of
from services.experiments.domain.looks import SLOW_KNOWN_FROM, TAIL, look
from services.experiments.domain.result import Change
from services.experiments.domain.totals import UserTotals
from services.experiments.domain.verdict import (
    ended_by,
    findings,
    reason_of,
    stopped_arms,
    unproven,
    winner_of,
)
from services.experiments.store import experiments, looks, promotions, results, users
from services.experiments.store.looks import Held, Point
from services.experiments.store.users import User

log = structlog.get_logger()
_results = Counter("optimizer_experiment_results_total", "Results that count in an experiment.")
_ended = Counter(
    "optimizer_experiments_completed_total", "Experiments by why they ended.", ["rule"]
)

BY_ITSELF = "experiments"
TURN = 200  # users between two turns of others
POINTS = 200  # of a chart, about


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a transaction recorded: counted when it is committed, for until then it may fail."""

    results: int = 0
    ended: Sequence[Rule] = ()

    def count(self) -> None:
        _results.inc(self.results)
        for rule in self.ended:
            _ended.labels(rule).inc()


async def take_in(
    conn: Connection, held: Mapping[int, Held], changes: Iterable[Change]
) -> Recorded:
    """Add *changes* to what is known of users, and look at each experiment that still runs."""
    fresh, ended = 0, []
    by_user: dict[User, UserTotals] = defaultdict(UserTotals)
    for number, change in enumerate(changes):
        await _now_and_then(number)
        here = held[change.experiment_id]
        limit = _slow_over_us(here, change.arm)
        user = User(change.experiment_id, change.arm, change.user_id)
        by_user[user] += change.after.totals(limit)
        if change.before:
            by_user[user] -= change.before.totals(limit)
        else:
            fresh += 1
    if not by_user:
        return Recorded()
    await _add(conn, held, by_user)
    for id_ in sorted({user.experiment_id for user in by_user}):
        here = held[id_]
        await _learn_what_is_slow(conn, here)
        if here.experiment.running:
            await _look(conn, here)
            if here.experiment.verdict:
                ended.append(here.experiment.verdict.rule)
        await looks.keep(conn, here)
    return Recorded(fresh, ended)


async def finish(
    conn: Connection, held: Held, rule: Rule, *, by: str, reason: str = ""
) -> Recorded:
    """End an experiment that runs, with the verdict that its last look gives."""
    plan, found, totals = held.experiment.plan, held.looks, held.totals
    verdict = Verdict(
        winner=winner_of(plan, found, totals),
        reason=reason_of(plan, found, totals, rule),
        rule=rule,
        at=datetime.now(UTC),
    )
    await experiments.end(conn, held.experiment.id, "completed", verdict)
    why = f"{reason.rstrip('. ')}. {verdict.reason}" if reason else verdict.reason
    await experiments.note(conn, held.experiment.id, "completed", by=by, reason=why)
    if verdict.winner and plan.options.auto_promote:
        await _promote(conn, held.experiment, verdict.winner, unproven(found, verdict.winner))
    held.experiment = replace(held.experiment, status="completed", verdict=verdict)
    return Recorded(ended=[rule])


async def _promote(
    conn: Connection, experiment: Experiment, winner: str, doubts: list[str]
) -> None:
    """Promote a winner by itself, if every guardrail is known to hold; the control needs none."""
    if winner == experiment.arms[0].name:
        return
    if doubts:
        reason = f"not promoted by itself: {', '.join(doubts)} not shown to be good enough"
        await experiments.note(conn, experiment.id, "held_back", by=BY_ITSELF, reason=reason)
        return
    await promotions.promote(
        conn,
        experiment.id,
        experiment.plan.options.scope,
        experiment.arm(winner),
        by=BY_ITSELF,
        reason="auto_promote: cheaper, and no guardrail is in doubt",
    )


async def _look(conn: Connection, held: Held) -> None:
    plan, before = held.experiment.plan, held.looks
    try:
        found = look(plan, held.totals, before)
    except (
        ArithmeticError,
        ValueError,
    ):  # the totals are kept all the same: the next look sees all of it
        log.exception("cannot look", experiment=held.experiment.id)
        return
    # Once stopped, an arm stays so, whatever is found of the others.
    stopped = dict.fromkeys((*before.stopped, *stopped_arms(plan, found)))
    held.looks = replace(found, stopped=tuple(stopped))
    for arm in set(held.looks.stopped) - set(before.stopped):
        broken = ", ".join(findings(plan, held.looks).breached[arm])
        reason = f"{arm} was stopped: it broke the guardrail {broken}"
        await experiments.note(conn, held.experiment.id, "arm_stopped", by=BY_ITSELF, reason=reason)
    rule = ended_by(plan, held.looks, held.totals)
    every = max(1, plan.sample_size // POINTS)
    due = rule or before.results // every != held.looks.results // every
    if due and before.results < plan.sample_size:
        await looks.add_points(conn, held.experiment.id, _points(held))
    if rule and plan.options.auto_complete:
        await finish(conn, held, rule, by=BY_ITSELF)


def _points(held: Held) -> list[Point]:
    now, points = datetime.now(UTC), []
    p_values = findings(held.experiment.plan, held.looks).p_values
    for arm in held.experiment.arms[1:]:
        found = interval_of(held.experiment.plan, held.looks, held.totals, arm.name)
        if found:
            p_value = p_values.get(arm.name)
            points.append(Point(arm.name, held.looks.results, now, *found, p_value))
    return points


async def _add(
    conn: Connection, held: Mapping[int, Held], by_user: Mapping[User, UserTotals]
) -> None:
    known = await users.find(conn, by_user)
    newer = {user: known[user] + by_user[user] for user in by_user}
    for number, (user, totals) in enumerate(newer.items()):
        await _now_and_then(number)
        held[user.experiment_id].totals[user.arm].replace(known[user], totals)
    await users.keep(conn, newer)


async def _now_and_then(number: int) -> None:
    """Let others have a turn: users wait for their arm while ten thousand results are imported."""
    if number % TURN == TURN - 1:
        await asyncio.sleep(0)


def _slow_over_us(held: Held, arm: str) -> float | None:
    """Return what counts as slow in *arm*: the control's percentile, and the margin beyond it."""
    limit = held.looks.slow_over_us
    if limit is None or arm == held.experiment.arms[0].name:
        return limit
    return limit * (1 + held.experiment.plan.options.margins.latency_ratio)


async def _learn_what_is_slow(conn: Connection, held: Held) -> None:
    """
    Fix the control's 95th percentile once it has enough results, and count what is beyond it.

    Being slow is then a share of requests like any other: if an arm's percentile is the margin
    above the control's, its share beyond the one equals the control's beyond the other.
    """
    control, id_ = held.experiment.arms[0].name, held.experiment.id
    if held.looks.slow_over_us is not None:
        return
    if held.totals[control].sum("results") < SLOW_KNOWN_FROM:
        return
    limit = await results.slow_over_us(conn, id_, control, TAIL)
    held.looks = replace(held.looks, slow_over_us=limit)
    slow: dict[User, UserTotals] = {}
    for arm in held.experiment.arms:
        over = _slow_over_us(held, arm.name)
        for user_id, count in (await results.slow_of(conn, id_, arm.name, over or 0)).items():
            slow[User(id_, arm.name, user_id)] = UserTotals(slow=count)
    if slow:
        await _add(conn, {id_: held}, slow)
