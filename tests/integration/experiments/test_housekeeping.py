"""What needs no request of an experiment: its time runs out, old traffic goes."""

from datetime import UTC, datetime, timedelta

from optimizer.experiments.v1 import experiments_pb2 as pb

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
