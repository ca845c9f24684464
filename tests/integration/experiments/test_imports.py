"""Results that were observed elsewhere: once each, in the arm of the rule, all or nothing."""

import asyncio

import grpc
import pytest
from optimizer.experiments.v1 import experiments_pb2 as pb

from tests.integration.experiments.scene import analyze, answered, create, first_users


def row(user, cost=100, **changes):
    fields = {
        "request_id": f"mine-{user}",
        "user_id": user,
        "provider": "acme",
        "model": "acme/small",
        "cost_nano_usd": cost,
        "latency_ms": 12.5,
    }
    return pb.ExternalResult(**(fields | changes))


async def take_in(it, *rows, experiment_id=1):
    request = pb.ImportRequest(experiment_id=experiment_id, results=rows)
    return (await it.stub.Import(request, timeout=60)).imported


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code(), failed.value.details()


async def test_what_is_imported_counts_like_any_other_result_and_gives_a_verdict(experiments):
    control = [row(user, 200_000) for user in first_users("control", 50)]
    test = [row(user, 100_000) for user in first_users("test", 50)]

    async with experiments() as it:
        await create(it)
        imported = await take_in(it, *control, *test)
        told = await analyze(it)

    assert 100 == imported
    assert [(50, 50), (50, 50)] == [(arm.count, arm.users) for arm in told.arms]
    assert "test" == told.winner
    assert 12.5 == told.arms[0].avg_latency_ms


async def test_importing_again_changes_nothing_also_at_once_and_also_after_the_end(experiments):
    rows = [row(user) for user in first_users("control", 20)]

    async with experiments() as one, experiments() as two:
        await create(one)
        counts = await asyncio.gather(*(take_in(it, *rows) for it in (one, two, one, two)))
        await one.stub.Complete(pb.CompleteRequest(id=1), timeout=10)
        again = await take_in(one, *rows)
        told = await analyze(two)

    assert 20 == sum(counts)
    assert (0, 20) == (again, told.arms[0].count)


async def test_one_wrong_row_keeps_all_out_and_each_is_named(experiments):
    user, other = first_users("control", 2)
    wrong = [
        row(user, latency_ms=float("nan")),
        row(user, request_id="inf", latency_ms=float("inf")),
        row(user, request_id="negative", cost_nano_usd=-1),
        row(user, request_id="zero", quality_score=0),
        row(user, request_id="half", quality_score=3.5),
        row(user, request_id="future", occurred_at_ms=2**42),
        row("", request_id="nobody"),
        row("a\x00b", request_id="nul"),
        row(user, request_id=""),
        row(user, request_id="arm", arm="test"),
        row(user, request_id="double"),
        row(user, request_id="double"),
    ]

    async with experiments() as it:
        await create(it)
        code, told = await refusal(take_in(it, row(other), *wrong))
        found = await analyze(it)

    assert grpc.StatusCode.INVALID_ARGUMENT == code
    named = [index for index in range(13) if f"results[{index}]" in told]
    assert [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12] == named
    assert "its user is in the arm control, not in 'test'" in told
    assert [0, 0] == [arm.count for arm in found.arms]


async def test_none_and_too_many_are_refused(experiments):
    async with experiments() as it:
        await create(it)
        codes = [
            (await refusal(take_in(it, *rows)))[0]
            for rows in ([], [row("user0", request_id=str(n)) for n in range(10_001)])
        ]

    assert [grpc.StatusCode.INVALID_ARGUMENT] * 2 == codes


async def test_what_has_ended_takes_no_more(experiments):
    async with experiments() as it:
        await create(it)
        await take_in(it, row("user0"))
        await it.stub.Complete(pb.CompleteRequest(id=1), timeout=10)
        code, _ = await refusal(take_in(it, row("user1")))

    assert grpc.StatusCode.ALREADY_EXISTS == code


async def test_an_importers_ids_are_its_own_and_take_nobodys_place(experiments, ledger):
    real = answered("user0", cost=999)

    async with experiments() as it:
        await create(it)
        await create(it)
        counts = [
            await take_in(it, row("user0", 1, request_id=real.request_id), experiment_id=id_)
            for id_ in (1, 2)
        ]
        ledger.add(real)
        told = await analyze(it)

    assert [1, 1] == counts
    assert 1_000 == sum(arm.count * arm.avg_cost_nano_usd for arm in told.arms if arm.count)


async def test_nothing_is_lost_where_importers_and_the_ledger_meet(experiments, ledger):
    patient = {"database_acquire_timeout_s": 60}  # two hundred wait for one another
    async with experiments(**patient) as one, experiments(**patient) as two:
        await create(one, sample_size=100_000)

        at_once = asyncio.Semaphore(40)  # more may be told that the database is busy

        async def bring(n):
            user = f"user{n % 90}"
            async with at_once:
                await take_in((one, two)[n % 2], row(user, n, request_id=f"r{n}"))
                if n % 4 == 0:
                    ledger.add(answered(user, cost=n))
                    await analyze((one, two)[n % 2])

        await asyncio.gather(*(bring(n) for n in range(200)))
        told = await analyze(one)

    assert 250 == sum(arm.count for arm in told.arms)
    spent = sum(arm.count * arm.avg_cost_nano_usd for arm in told.arms)
    assert sum(range(200)) + sum(range(0, 200, 4)) == pytest.approx(spent)


async def test_sums_that_no_number_holds_are_refused(experiments):
    rows = [row("user0", 10**15, request_id=f"r{n}") for n in range(10_000)]

    async with experiments() as it:
        await create(it, sample_size=100_000)
        code, _ = await refusal(take_in(it, *rows))

    assert grpc.StatusCode.INVALID_ARGUMENT == code


async def test_ten_thousand_rows_are_taken_at_once_beside_the_ledger(experiments, ledger):
    rows = [row(f"user{n % 700}", n, request_id=f"r{n}") for n in range(10_000)]

    async with experiments() as it:
        await create(it, sample_size=50_000)
        ledger.add(*(answered(f"user{n % 300}") for n in range(500)))
        imported, _ = await asyncio.gather(take_in(it, *rows), analyze(it))
        told = await analyze(it)

    assert 10_000 == imported
    assert 10_500 == sum(arm.count for arm in told.arms)
