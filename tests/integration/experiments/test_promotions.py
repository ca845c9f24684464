"""Winners become defaults, can be taken back, and everybody who wants to know is told."""

import asyncio
import hashlib
import hmac

import grpc
import pytest
from aiohttp import web
from optimizer.experiments.v1 import experiments_pb2 as pb

from tests.followed_ledger import eventually, rated
from tests.integration.experiments.scene import (
    analyze,
    answered,
    create,
    first_users,
    get,
    rows,
)


async def code_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code()


async def won(it, ledger, *, experiment_id=1, **changes):
    """Have an experiment be won by its test arm."""
    await create(it, **changes)
    for arm, cost in (("control", 200_000), ("test", 100_000)):
        which = first_users(arm, 50, experiment_id=experiment_id)
        ledger.add(*(answered(user, cost=cost, experiment_id=experiment_id) for user in which))
    assert "test" == (await analyze(it, experiment_id)).winner


async def standing(it, *, everything=False):
    request = pb.ListPromotionsRequest(all=everything)
    return list((await it.stub.ListPromotions(request)).promotions)


async def test_the_winner_becomes_the_default_of_its_scope_until_it_is_taken_back(
    experiments, ledger
):
    scope = pb.Scope(tenant="team-a")

    async with experiments() as it:
        await won(it, ledger, options=pb.Options(scope=scope))
        made = (await it.stub.Promote(pb.PromoteRequest(id=1, by="ann", reason="yes"))).promotion
        twice = await code_of(it.stub.Promote(pb.PromoteRequest(id=1)))
        during = await standing(it)
        await it.stub.RevertPromotion(pb.RevertPromotionRequest(id=made.id, by="bob"))
        again = await code_of(it.stub.RevertPromotion(pb.RevertPromotionRequest(id=made.id)))
        after, everything = await standing(it), await standing(it, everything=True)
        history = (await get(it)).history

    assert (scope, "hybrid", "ann", "yes") == (made.scope, made.arm.strategy, made.by, made.reason)
    assert [grpc.StatusCode.ALREADY_EXISTS] * 2 == [twice, again]
    assert ([made], []) == (during, after)
    assert ["bob"] == [one.reverted_by for one in everything]
    assert ["running", "completed", "promoted", "promotion_reverted"] == [
        one.status for one in history
    ]


async def test_taking_the_newest_back_brings_back_the_one_before(experiments, ledger):
    async with experiments() as it:
        for id_ in (1, 2):
            await won(it, ledger, experiment_id=id_)
            await it.stub.Promote(pb.PromoteRequest(id=id_))
        newest = await standing(it)
        await it.stub.RevertPromotion(pb.RevertPromotionRequest(id=newest[0].id))
        older = await standing(it)

    assert [2] == [one.experiment_id for one in newest]
    assert [1] == [one.experiment_id for one in older]


async def test_without_a_winner_nothing_is_promoted(experiments, ledger):
    async with experiments() as it:
        await create(it)
        running = await code_of(it.stub.Promote(pb.PromoteRequest(id=1)))
        await it.stub.Complete(pb.CompleteRequest(id=1), timeout=10)
        ended = await code_of(it.stub.Promote(pb.PromoteRequest(id=1)))

    assert [grpc.StatusCode.ALREADY_EXISTS] * 2 == [running, ended]


async def test_what_nobody_rated_is_not_promoted_by_itself(experiments, ledger):
    async with experiments() as it:
        await won(it, ledger, options=pb.Options(auto_promote=True))
        promoted, history = await standing(it), (await get(it)).history

    assert [] == promoted
    assert "held_back" in [one.status for one in history]
    assert any("quality" in one.reason for one in history if one.status == "held_back")


async def test_what_is_known_to_be_no_worse_is_promoted_by_itself(experiments, ledger):
    margins = pb.Margins(quality_ratio=0.3, latency_ratio=0.5, failures=0.4)
    options = pb.Options(auto_promote=True, margins=margins)
    batch = []
    for arm, cost in (("control", 200_000), ("test", 100_000)):
        for n, user in enumerate(first_users(arm, 200)):
            latency_ms = 100.0 if arm == "test" else 100.0 + n
            row = answered(user, cost=cost + n, latency_ms=latency_ms)
            batch += [row, rated(row.request_id, 4 + n % 2)]

    async with experiments() as it:
        await create(it, sample_size=400, options=options)
        ledger.add(*batch)
        await analyze(it)
        promoted = await standing(it)

    assert [("hybrid", "experiments")] == [(one.arm.strategy, one.by) for one in promoted]


async def test_experiments_of_a_layer_share_its_users_and_never_one_of_them(experiments):
    def enrolling(share, layer="prices", tag="chat"):
        return pb.Options(enrol=True, traffic_share=share, layer=layer, scope=pb.Scope(tag=tag))

    async with experiments() as it:
        made = [await create(it, options=enrolling(share)) for share in (0.5, 0.3)]
        full = await code_of(create(it, options=enrolling(0.3)))
        whole = await create(it, options=enrolling(1.0, layer="whole", tag="whole"))
        no_room = await code_of(create(it, options=enrolling(1e-9, layer="whole", tag="whole")))
        await it.stub.Cancel(pb.CancelRequest(id=whole.id))
        await it.stub.Cancel(pb.CancelRequest(id=made[0].id))
        third = await create(it, options=enrolling(0.4))
        elsewhere = await create(it, options=enrolling(1.0, layer="", tag="mail"))
        collides = [
            await code_of(create(it, options=enrolling(0.1, layer="other"))),
            await code_of(create(it, options=enrolling(1.0, layer="", tag=""))),
        ]
        running = (await it.stub.ListEnrolling(pb.ListEnrollingRequest())).experiments

    assert [grpc.StatusCode.ALREADY_EXISTS] * 4 == [full, no_room, *collides]
    parts = {one.experiment_id: (one.layer, one.low, one.high) for one in running}
    assert {
        made[1].id: ("prices", 0.5, 0.8),
        third.id: ("prices", 0.0, 0.4),
        elsewhere.id: (str(elsewhere.id), 0.0, 1.0),
    } == parts


async def test_two_that_want_the_last_room_of_a_layer_do_not_both_get_it(experiments):
    options = pb.Options(enrol=True, traffic_share=0.6, layer="one")

    async with experiments() as one, experiments() as two:
        tried = await asyncio.gather(
            *(create(it, options=options) for it in (one, two, one, two)), return_exceptions=True
        )

    assert 1 == sum(isinstance(outcome, pb.Experiment) for outcome in tried)


async def test_a_webhook_hears_of_each_move_signed_and_until_it_has_heard(experiments, database):
    heard, wrong = [], []
    calls = iter([500, 200, 200])

    async def hear(request):
        body = await request.read()
        mark = hmac.new(b"hush", body, hashlib.sha256).hexdigest()
        if request.headers["x-optimizer-signature"] != f"sha256={mark}":
            wrong.append(request.headers)
        status = next(calls)
        if status == 200:
            heard.append((await request.json())["status"])
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/hook", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"

    async def told():
        await rows(database, "UPDATE experiments.transitions SET claimed_until = NULL")
        it.service.announcer.moved()
        return len(heard) == 2

    try:
        async with experiments(webhook_url=url, webhook_secret="hush") as it:
            await create(it)
            await it.stub.Cancel(pb.CancelRequest(id=1))
            await eventually(told)
    finally:
        await runner.cleanup()

    assert ["cancelled", "running"] == sorted(heard)
    assert [] == wrong
