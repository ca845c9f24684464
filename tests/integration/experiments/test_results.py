"""Results derived from the ledger: each request once, in its arm, and in time to be read."""

import asyncio

import asyncpg
import orjson
import pytest
from optimizer.experiments.v1 import experiments_pb2 as pb

from services.experiments.domain.assignment import assign
from tests.followed_ledger import closed, corrected, garbage, killed, rated, voted
from tests.integration.experiments.scene import analyze, answered, create, look

USERS = [f"user{n}" for n in range(400)]
CONTROLS = [user for user in USERS if assign(1, user, ("control", "test")) == "control"]
TESTS = [user for user in USERS if assign(1, user, ("control", "test")) == "test"]


async def recorded(database):
    conn = await asyncpg.connect(database.url("experiments"))
    try:
        return [
            tuple(row)
            for row in await conn.fetch(
                "SELECT request_id, arm, user_id, cost_nano_usd, quality_score"
                " FROM experiments.experiment_results ORDER BY request_id"
            )
        ]
    finally:
        await conn.close()


async def test_without_results_there_are_zeros_and_no_means(experiments):
    async with experiments() as it:
        await create(it)
        told = await look(it)

    assert [("control", 0, 0), ("test", 0, 0)] == [(a.name, a.count, a.users) for a in told.arms]
    assert not any(a.HasField("avg_cost_nano_usd") or a.HasField("avg_quality") for a in told.arms)
    assert not told.HasField("p_value_fixed")
    assert not told.HasField("p_value")
    assert "" == told.winner
    assert 0.95 == told.confidence_level
    assert not told.stale


async def test_what_was_answered_is_in_it_at_once(experiments, ledger):
    async with experiments(catch_up_s=4) as it:
        await create(it)
        for count in range(1, 6):
            ledger.add(answered("user0"))
            told = await look(it)
            assert (count, 1) == (told.arms[1].count, told.arms[1].users)


async def test_means_leave_out_what_is_not_known_and_keep_failures(experiments, ledger):
    user = CONTROLS[0]

    async with experiments() as it:
        await create(it)
        ledger.add(
            answered(user, cost=100, latency_ms=10),
            answered(user, cost=300, latency_ms=20, outcome="failed"),
            answered(user, cost=None, latency_ms=30),
            answered(CONTROLS[1], cost=0, latency_ms=40, outcome="cancelled"),
            answered(TESTS[0], cost=None, latency_ms=1),
        )
        control, test = (await analyze(it)).arms

    assert (4, 2, 1, 1) == (control.count, control.users, control.failures, control.unpriced)
    assert pytest.approx(400 / 3) == control.avg_cost_nano_usd
    assert 25.0 == control.avg_latency_ms
    assert (1, 1) == (test.count, test.unpriced)
    assert not test.HasField("avg_cost_nano_usd")


async def test_what_the_cache_answered_and_what_is_in_no_experiment_is_left_out(
    experiments, ledger
):
    async with experiments() as it:
        await create(it)
        ledger.add(answered("user0", cache_hit=True), closed(), answered("user0"))
        told = await analyze(it)

    assert 1 == sum(arm.count for arm in told.arms)


async def test_a_row_that_claims_another_arm_or_experiment_is_passed_by(experiments, ledger):
    async with experiments() as it:
        await create(it)
        ledger.add(
            answered(TESTS[0], arm="control"),
            answered(TESTS[0], arm=""),
            answered(TESTS[0], experiment_id=99),
            answered("", arm="control"),
            answered(TESTS[0]),
        )
        told = await analyze(it)

    assert [0, 1] == [arm.count for arm in told.arms]


async def test_garbage_is_passed_by(experiments, ledger):
    async with experiments() as it:
        await create(it)
        ledger.add(answered("user0"), *garbage(), answered("user0"))
        told = await analyze(it)

    assert 2 == sum(arm.count for arm in told.arms)


async def test_what_comes_after_the_verdict_is_kept_and_changes_nothing(
    experiments, ledger, database
):
    async with experiments() as it:
        await create(it)
        ledger.add(answered("user0"))  # answered before the end, so the verdict has it
        early = await analyze(it)
        await it.stub.Complete(pb.CompleteRequest(id=1), timeout=10)
        ledger.add(answered("user0"), answered("user1"))
        told = await analyze(it)
        rows = await recorded(database)

    assert 1 == sum(arm.count for arm in told.arms)
    assert 3 == len(rows)
    assert [False, True] == [
        orjson.loads(one.report_json)["decision_ready"] for one in (early, told)
    ]


async def test_a_correction_changes_the_cost_once(experiments, ledger, database):
    first, unpriced, gone = answered("user0"), answered("user0", cost=None), answered("user0")

    async with experiments() as it:
        await create(it)
        ledger.add(corrected(first.request_id, 1_000), first, unpriced, gone)
        ledger.add(corrected(first.request_id, -30), corrected(unpriced.request_id, 5))
        await analyze(it)
        ledger.add(
            corrected(first.request_id, 7), corrected(gone.request_id, -100, pricing="unpriced")
        )
        await analyze(it)
        costs = {row[0]: row[3] for row in await recorded(database)}

    assert {first.request_id: 77, unpriced.request_id: None, gone.request_id: None} == costs


async def test_the_last_revision_of_a_rating_counts(experiments, ledger, database):
    row = answered("user0")

    async with experiments() as it:
        await create(it)
        ledger.add(row, rated(row.request_id, 5, revision=2), rated(row.request_id, 1, revision=1))
        await analyze(it)
        assert 5 == (await recorded(database))[0][4]

        ledger.add(rated(row.request_id, 3, revision=3), rated(row.request_id, 9, revision=4))
        told = await analyze(it)

    assert 3.0 == told.arms[1].avg_quality


async def test_a_vote_is_no_rating(experiments, ledger):
    async with experiments() as it:
        await create(it)
        row = answered("user0")
        ledger.add(row, rated(row.request_id, 4), voted(row.request_id, revision=2))
        told = await analyze(it)

    assert 4.0 == told.arms[1].avg_quality


async def test_two_constants_are_compared_once_the_sample_is_full(experiments, ledger):
    async with experiments() as it:
        await create(it)
        ledger.add(*(answered(user, cost=200_000) for user in CONTROLS[:50]))
        ledger.add(*(answered(user, cost=100_000) for user in TESTS[:49]))
        early = await analyze(it)
        ledger.add(answered(TESTS[49], cost=100_000))
        full = await analyze(it)

    assert not early.HasField("p_value_fixed")
    assert full.p_value_fixed < 0.05
    assert 200_000.0 == full.arms[0].avg_cost_nano_usd


async def test_one_user_with_many_requests_is_still_one_user(experiments, ledger):
    async with experiments() as it:
        await create(it)
        ledger.add(*(answered(CONTROLS[0], cost=n) for n in range(200)))
        ledger.add(*(answered(user, cost=n) for n, user in enumerate(TESTS[:100])))
        told = await analyze(it)

    assert not told.HasField("p_value_fixed")


async def test_when_the_router_is_silent_what_is_known_is_told_as_stale(experiments, ledger):
    async with experiments(catch_up_s=0.3) as it:
        await create(it)
        ledger.add(answered("user0"))
        await analyze(it)
        ledger.silent = True
        ledger.add(answered("user0"))
        stale = await look(it)
        ledger.silent = False
        fresh = await analyze(it)

    assert (True, 1) == (stale.stale, stale.arms[1].count)
    assert (False, 2) == (fresh.stale, fresh.arms[1].count)


async def test_two_replicas_record_each_row_once(experiments, ledger, database):
    async with experiments() as one, experiments() as two:
        await create(one, sample_size=10_000)
        for _ in range(10):
            ledger.add(*(answered(user) for user in USERS[:100]))
            counts = await asyncio.gather(analyze(one), analyze(two))
        rows = await recorded(database)

    assert 1000 == len(rows)
    assert [1000, 1000] == [sum(arm.count for arm in told.arms) for told in counts]


async def test_a_kill_in_the_middle_changes_no_figure(experiments, ledger, database):
    async with experiments() as it:
        await create(it, sample_size=10_000)
    rows = [answered(user, cost=n) for n, user in enumerate(USERS * 5)]
    ledger.add(*rows, *(corrected(row.request_id, 3) for row in rows[::2]))
    for _ in range(6):
        service = await experiments.build()
        async with killed(service):
            await asyncio.sleep(0.03)

    async with experiments() as it:
        assert await it.service.follower.catch_up(30)
        told = await analyze(it)
        costs = [row[3] for row in await recorded(database)]

    assert 2000 == sum(arm.count for arm in told.arms) == len(costs)
    assert sum(range(2000)) + 3000 == sum(costs)
