"""Making, listing, assigning and ending experiments, over gRPC against a real Postgres."""

import asyncio

import grpc
import pytest
from optimizer.experiments.v1 import experiments_pb2 as pb

from tests.followed_ledger import assert_it_waits_for_its_neighbours

RUNNING = pb.Experiment.STATUS_RUNNING
COMPLETED = pb.Experiment.STATUS_COMPLETED
CANCELLED = pb.Experiment.STATUS_CANCELLED


def plan(control="complexity", test="hybrid", **changes):
    arms = [pb.Arm(name="control", strategy=control), pb.Arm(name="test", strategy=test)]
    return pb.CreateRequest(**({"name": "cheaper?", "arms": arms, "sample_size": 100} | changes))


async def create(it, request=None):
    return (await it.stub.Create(request or plan())).experiment


async def code_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code()


async def test_what_is_made_can_be_found(experiments):
    arms = [
        pb.Arm(
            name="control", strategy="fixed", parameters_json=b'{"model":"acme/small"}', weight=1
        ),
        pb.Arm(name="test", strategy="fixed", parameters_json=b'{"model":"acme/large"}', weight=3),
    ]

    async with experiments() as it:
        made = await create(it, plan(arms=arms, name="ünïcödé", description="why"))
        found = (await it.stub.Get(pb.GetRequest(id=made.id))).experiment

    assert made == found
    assert (1, RUNNING, arms) == (found.id, found.status, list(found.arms))
    assert not found.HasField("completed_at_ms")


def parameters(json):
    return plan(
        arms=[
            pb.Arm(name="control", strategy="best", parameters_json=json),
            pb.Arm(name="test", strategy="best"),
        ]
    )


async def test_what_cannot_be_run_is_refused_and_not_kept(experiments):
    refused = [
        plan(name=""),
        plan(sample_size=0),
        plan(test="telepathy"),
        plan(test="complexity"),
        plan(arms=[]),
        parameters(b"[]"),
        parameters(b"{"),
        parameters(b'{"a":"\\u0000"}'),
        parameters(b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"),
        parameters(b'{"a":[' + b"1," * 10_000 + b"1]}"),
    ]

    async with experiments() as it:
        codes = [await code_of(it.stub.Create(request)) for request in refused]
        kept = (await it.stub.List(pb.ListRequest())).experiments

    assert [grpc.StatusCode.INVALID_ARGUMENT] * len(refused) == codes
    assert [] == list(kept)


async def test_the_newest_come_first_and_pages_do_not_overlap(experiments):
    async with experiments() as it:
        for _ in range(5):
            await create(it)
        await it.stub.Cancel(pb.CancelRequest(id=4))
        first = (await it.stub.List(pb.ListRequest(limit=2))).experiments
        second = (await it.stub.List(pb.ListRequest(limit=2, offset=2))).experiments
        running = (await it.stub.List(pb.ListRequest(status=RUNNING))).experiments

    assert [5, 4] == [one.id for one in first]
    assert [3, 2] == [one.id for one in second]
    assert [5, 3, 2, 1] == [one.id for one in running]


async def test_a_page_out_of_bounds_is_refused(experiments):
    pages = [
        pb.ListRequest(limit=-1),
        pb.ListRequest(limit=1001),
        pb.ListRequest(offset=-1),
        pb.ListRequest(status=77),
    ]

    async with experiments() as it:
        codes = {await code_of(it.stub.List(page)) for page in pages}

    assert {grpc.StatusCode.INVALID_ARGUMENT} == codes


async def test_what_is_not_there_is_not_found(experiments):
    async with experiments() as it:
        calls = [
            call
            for id_ in (0, -1, 7, 2**63 - 1)
            for call in (
                it.stub.Get(pb.GetRequest(id=id_)),
                it.stub.Assign(pb.AssignRequest(experiment_id=id_, user_id="a")),
                it.stub.Analyze(pb.AnalyzeRequest(experiment_id=id_)),
                it.stub.Complete(pb.CompleteRequest(id=id_)),
                it.stub.Cancel(pb.CancelRequest(id=id_)),
                it.stub.Promote(pb.PromoteRequest(id=id_)),
                it.stub.Import(pb.ImportRequest(experiment_id=id_)),
                it.stub.RevertPromotion(pb.RevertPromotionRequest(id=id_)),
            )
        ]
        codes = {await code_of(call) for call in calls}

    assert {grpc.StatusCode.NOT_FOUND} == codes


async def test_a_user_gets_the_arm_of_the_rule_and_after_the_end_the_control(experiments):
    ask = pb.AssignRequest(experiment_id=1, user_id="user123")

    async with experiments() as it:
        await create(it)
        during = await it.stub.Assign(ask)
        await it.stub.Complete(pb.CompleteRequest(id=1))
        after = await it.stub.Assign(ask)

    assert ("test", "hybrid", True) == (during.arm.name, during.arm.strategy, during.recorded)
    assert ("control", "complexity", False) == (after.arm.name, after.arm.strategy, after.recorded)


async def test_a_user_that_cannot_be_kept_is_refused(experiments):
    async with experiments() as it:
        await create(it)
        codes = {
            await code_of(it.stub.Assign(pb.AssignRequest(experiment_id=1, user_id=user_id)))
            for user_id in ("", "a\x00b", "x" * 300)
        }

    assert {grpc.StatusCode.INVALID_ARGUMENT} == codes


async def test_of_many_who_end_it_at_once_one_succeeds(experiments):
    async with experiments() as one, experiments() as two:
        await create(one)
        calls = [
            call
            for it in (one, two)
            for _ in range(5)
            for call in (
                it.stub.Complete(pb.CompleteRequest(id=1)),
                it.stub.Cancel(pb.CancelRequest(id=1)),
            )
        ]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        found = (await one.stub.Get(pb.GetRequest(id=1))).experiment

    ended = [a.experiment for a in answers if not isinstance(a, Exception)]
    assert [found] == ended
    assert found.status in (COMPLETED, CANCELLED)
    assert found.completed_at_ms >= found.created_at_ms
    assert {grpc.StatusCode.ALREADY_EXISTS} == {
        a.code() for a in answers if isinstance(a, grpc.aio.AioRpcError)
    }


async def test_two_replicas_may_start_at_once(experiments):
    async with experiments() as one, experiments() as two:
        made = await create(one)
        found = (await two.stub.Get(pb.GetRequest(id=made.id))).experiment

    assert made == found


async def test_it_starts_before_its_neighbours_and_serves_once_they_are_there(
    experiments, database
):
    await assert_it_waits_for_its_neighbours(experiments, database)


async def test_a_silent_database_is_said_before_the_caller_gives_up(database, experiments):
    ask = pb.AssignRequest(experiment_id=1, user_id="user123")

    async with experiments() as it:
        await create(it)
        with database.paused(), pytest.raises(grpc.aio.AioRpcError) as failed:
            await it.stub.Assign(ask, timeout=0.25)
        arm = (await it.stub.Assign(ask)).arm

    assert grpc.StatusCode.UNAVAILABLE == failed.value.code()
    assert "test" == arm.name
