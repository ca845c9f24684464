"""What needs no request of an experiment: its time runs out, old traffic goes."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from optimizer.experiments.v1 import experiments_pb2 as pb

from common.errors import Unavailable
from services.experiments import housekeeping
from services.experiments.store import traffic
from services.experiments.store.traffic import TrafficStore
from tests.followed_ledger import eventually
from tests.integration.experiments.scene import analyze, answered, create, first_users, get, rows

COMPLETED = pb.Experiment.STATUS_COMPLETED
RUNNING = pb.Experiment.STATUS_RUNNING


async def test_its_time_runs_out(experiments, ledger, database):
    async with experiments() as it:
        await create(it, options=pb.Options(max_duration_days=2))
        await create(it, options=pb.Options(max_duration_days=4))
        await rows(
            database,
            "UPDATE experiments.experiments SET created_at = $1",
            datetime.now(UTC) - timedelta(days=3),
        )

        async def ended():
            await it.service.housekeeping._experiments.end_overdue()
            return (await get(it)).status == COMPLETED

        await eventually(ended)
        found, other = await get(it), await get(it, 2)

    assert ("duration", RUNNING) == (found.verdict.rule, other.status)


async def test_what_was_answered_in_its_time_is_in_it_though_it_was_read_late(
    experiments, ledger, database
):
    ledger.silent = True
    ledger.add(*(answered(user) for user in first_users("control", 3)))

    async with experiments(catch_up_s=0.1) as it:
        await create(it, options=pb.Options(max_duration_days=2))
        await rows(
            database,
            "UPDATE experiments.experiments SET created_at = $1",
            datetime.now(UTC) - timedelta(days=3),
        )
        overdue = it.service.housekeeping._experiments
        await overdue.end_overdue()
        early = await get(it)
        ledger.silent = False

        async def ended():
            await overdue.end_overdue()
            return (await get(it)).status == COMPLETED

        await eventually(ended)
        told = await analyze(it)

    assert (RUNNING, 3) == (early.status, told.arms[0].count)


async def test_an_experiment_that_cannot_be_ended_holds_no_other_up(experiments, database):
    async with experiments() as it:
        for _ in range(3):
            await create(it, options=pb.Options(max_duration_days=2))
        await rows(
            database,
            "UPDATE experiments.experiments SET created_at = $1",
            datetime.now(UTC) - timedelta(days=3),
        )
        await rows(
            database,
            "UPDATE experiments.looks SET totals = '[]' WHERE experiment_id = 1",  # `Invalid`
        )
        await rows(
            database,
            """UPDATE experiments.looks SET looks = '{"unheard_of": 1}' WHERE experiment_id = 2""",
        )

        async def ended():
            await it.service.housekeeping._experiments.end_overdue()
            found = await rows(database, "SELECT id, status FROM experiments.experiments")
            return sorted(found) if (3, "completed") in found else None

        found = await eventually(ended)

    assert [(1, "running"), (2, "running"), (3, "completed")] == found


async def test_old_traffic_goes_in_short_transactions(experiments, database, monkeypatch):
    async def idle(_):
        await asyncio.Event().wait()

    monkeypatch.setattr(housekeeping.Housekeeping, "run", idle)
    monkeypatch.setattr(traffic, "BATCH", 2)
    kept = "SELECT user_id FROM experiments.traffic ORDER BY user_id"

    async with experiments() as it:
        await rows(
            database,
            """
            INSERT INTO experiments.traffic
            SELECT CURRENT_DATE - (CASE n WHEN 6 THEN 1 ELSE 40 END), 'user' || n, 1, 1, 1, 1
            FROM generate_series(1, 6) AS n
            """,
        )
        conn = await asyncpg.connect(database.url("experiments"))
        holding = conn.transaction()
        await holding.start()
        await conn.execute("SELECT 1 FROM experiments.traffic WHERE user_id = 'user5' FOR UPDATE")
        forgetting = asyncio.create_task(TrafficStore(it.service.pool).forget())

        async def all_but_what_is_held():
            return await rows(database, kept) == [("user5",), ("user6",)]

        await eventually(all_but_what_is_held)
        await holding.rollback()
        await conn.close()
        await forgetting
        left = await rows(database, kept)

    assert [("user6",)] == left


@pytest.mark.parametrize("failure", [Unavailable("away"), KeyError("a bug")], ids=repr)
async def test_a_step_that_fails_neither_skips_the_others_nor_ends_the_service(
    monkeypatch, failure
):
    monkeypatch.setattr(housekeeping, "EVERY_S", 0)
    steps = []

    class Failing:
        def __getattr__(self, name):
            async def step():
                steps.append(name)
                raise failure

            return step

    task = asyncio.create_task(housekeeping.Housekeeping(Failing(), Failing()).run())

    async def twice():
        return task.done() or len(steps) >= 6

    await eventually(twice)
    task.cancel()

    assert ["end_overdue", "forget", "mismatched"] * 2 == steps[:6]
