"""Pairs of answers: no more is spent on them than was set aside, and they are added up once."""

import asyncio

import grpc
import pytest
from optimizer.experiments.v1 import experiments_pb2 as pb

from services.experiments.store.comparisons import ComparisonStore
from tests.integration.experiments.scene import analyze, create, report

COMPARING = pb.Comparing(share=0.5, judge_model="acme/judge", budget_nano_usd=1_000)
ON = pb.Options(comparing=COMPARING)


async def reserve(it, request_id, nano_usd=300, experiment_id=1):
    await it.stub.ReserveComparison(
        pb.ReserveComparisonRequest(
            experiment_id=experiment_id, request_id=request_id, nano_usd=nano_usd
        )
    )


async def record(it, request_id, *preferred, **changes):
    fields = {
        "experiment_id": 1,
        "request_id": request_id,
        "arm": "control",
        "other": "test",
        "preferred": preferred,
        "cost_nano_usd": 100,
    }
    await it.stub.RecordComparison(pb.RecordComparisonRequest(**(fields | changes)))


async def code_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code()


async def test_the_budget_is_never_overspent_however_many_ask_at_once(experiments):
    async with experiments() as one, experiments() as two:
        await create(one, options=ON)
        tried = await asyncio.gather(
            *(reserve((one, two)[n % 2], f"r{n}") for n in range(10)), return_exceptions=True
        )
        codes = [each.code() for each in tried if each is not None]

    assert [grpc.StatusCode.RESOURCE_EXHAUSTED] * 7 == codes


async def test_what_it_cost_takes_the_place_of_what_was_set_aside(experiments):
    async with experiments() as it:
        await create(it, options=ON)
        await reserve(it, "a", 900)
        await reserve(it, "a", 900)  # again: the same
        await record(it, "a", "test", "test")
        await reserve(it, "b", 900)
        over = await code_of(reserve(it, "c", 1))
        pairs = report(await analyze(it))["pairs"]

    assert grpc.StatusCode.RESOURCE_EXHAUSTED == over
    assert (1e-6, 1e-6) == (pairs["cost"], pairs["budget"])


async def test_pairs_are_added_up_once(experiments):
    async with experiments() as it:
        await create(it, options=ON)
        for n in range(9):
            await record(it, f"t{n}", "test", "test")
        await record(it, "t0", "control", "control")  # said already
        await record(it, "c", "control", "control", arm="test", other="control")
        await record(it, "tie", "", "")
        await record(it, "unsteady", "test", "control")
        await record(it, "failed", failure="the judge gave no verdict")
        tally = await ComparisonStore(it.service.pool).tally(1)
        told = report(await analyze(it))["pairs"]

    assert [1, 1, 1, 9] == sorted(one.pairs for one in tally.judged)  # counts, not every pair
    found = told["arms"]["test"]
    assert (9, 1, 1, 1, 12) == tuple(
        found[name] for name in ("test", "control", "ties", "unsteady", "pairs")
    )
    assert (1, 0.9) == (told["failed"], found["win_share"])
    assert 0.0215 == pytest.approx(found["p_value_fixed"], abs=1e-4)


async def test_without_the_option_nothing_is_compared(experiments):
    async with experiments() as it:
        await create(it)
        codes = [await code_of(reserve(it, "a")), await code_of(record(it, "a", "", ""))]
        assigned = await it.stub.Assign(pb.AssignRequest(experiment_id=1, user_id="user0"))
        told = report(await analyze(it))

    assert [grpc.StatusCode.NOT_FOUND] * 2 == codes
    assert not assigned.HasField("comparing")
    assert told["pairs"] is None


async def test_who_is_assigned_is_told_whose_answer_to_compare_with(experiments):
    async with experiments() as it:
        await create(it, options=ON)
        assigned = [
            await it.stub.Assign(pb.AssignRequest(experiment_id=1, user_id=f"user{n}"))
            for n in range(8)
        ]

    assert {("control", "test"), ("test", "control")} == {
        (one.arm.name, one.other.name) for one in assigned
    }
    assert all(one.comparing == COMPARING for one in assigned)


@pytest.mark.parametrize(
    "changes",
    [
        {"preferred": ["test"]},
        {"preferred": ["test", "best"]},
        {"arm": "nobody"},
        {"other": "control"},
        {"request_id": ""},
        {"cost_nano_usd": -1},
    ],
    ids=str,
)
async def test_what_no_judge_can_say_is_refused(experiments, changes):
    async with experiments() as it:
        await create(it, options=ON)
        fields = {"request_id": "a", "preferred": ["test", "test"]} | changes
        code = await code_of(record(it, **fields))

    assert grpc.StatusCode.INVALID_ARGUMENT == code
