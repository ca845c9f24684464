"""How large an experiment must be: by what is usual, then by the deployment's own users."""

import random

import asyncpg
import grpc
import pytest
from optimizer.experiments.v1 import experiments_pb2 as pb

from tests.followed_ledger import closed
from tests.integration.experiments.scene import analyze, answered, create, report


async def planned(it, **asked):
    return await it.stub.Plan(pb.PlanRequest(**asked))


async def test_without_traffic_what_is_usual_is_assumed(experiments):
    async with experiments() as it:
        found = await planned(it, minimum_detectable_effect_ratio=0.1)

    assert not found.measured
    assert not found.HasField("days")
    assert (1.4, 5.0) == (found.variation, found.requests_per_user)
    # 2 · 1.4² · (1.96 + 0.8416)² / ln(0.9)² · 1.21
    assert 3354 == pytest.approx(found.users_per_arm, abs=2)
    assert (2 * found.users_per_arm, 5 * found.users) == (found.users, found.requests)


async def test_the_deployments_own_users_tell_once_there_are_enough(experiments, ledger):
    draw = random.Random(1)

    async with experiments() as it:
        await create(it)
        for n in range(400):
            words = draw.randrange(10, 200)
            ledger.add(
                answered(
                    f"u{n % 100}",
                    experiment_id=0,
                    arm="",
                    cost=words * 1000 + draw.randrange(200_000),
                    words=words,
                )
            )
        ledger.add(closed(user_id="", cost=10**9), closed(user_id="u1", cost=None))
        await analyze(it)
        found = await planned(it, minimum_detectable_effect_ratio=0.1)
        back = await planned(it, sample_size=found.requests)

    assert found.measured
    assert 4.0 == found.requests_per_user
    assert 0.1 < found.explained_ratio < 1
    assert found.variation < 1
    assert found.requests / 400 == pytest.approx(found.days)
    assert 0.1 == pytest.approx(back.minimum_detectable_effect_ratio, rel=0.1)


async def test_days_are_utcs_wherever_the_database_server_is(experiments, ledger, database):
    conn = await asyncpg.connect(database.superuser_url)
    await conn.execute(f"ALTER DATABASE {database.name} SET timezone TO 'X-100'")  # in 4 days
    await conn.close()

    async with experiments() as it:
        ledger.add(*(answered(f"u{n}", experiment_id=0, arm="") for n in range(50)))
        await create(it)
        await analyze(it)
        found = await planned(it, sample_size=500)

    assert 10.0 == found.days


async def test_results_say_what_their_size_can_find(experiments, ledger):
    draw = random.Random(1)

    async with experiments() as it:
        await create(it, sample_size=2_000)
        ledger.add(*(answered(f"user{n}", cost=draw.randrange(1, 1000)) for n in range(200)))
        told = report(await analyze(it))

    assert 0 < told["mde"] < 0.2


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"minimum_detectable_effect_ratio": 0.1, "sample_size": 10},
        {"minimum_detectable_effect_ratio": 1.0},
        {"minimum_detectable_effect_ratio": -0.1},
        {"minimum_detectable_effect_ratio": float("nan")},
        {"sample_size": -1},
        {"sample_size": 10, "arms": 9},
        {"sample_size": 10, "arms": 1},
    ],
)
async def test_what_cannot_be_planned_is_refused(experiments, asked):
    async with experiments() as it:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await planned(it, **asked)

    assert grpc.StatusCode.INVALID_ARGUMENT == failed.value.code()
