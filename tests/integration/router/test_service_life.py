"""What a running router survives: a new catalog, a lost Redis, its own end."""

import asyncio
import os
import signal
import sys

import grpc
import orjson
import pytest
from optimizer.router.v1 import router_pb2

from common.errors import Failure, NotFound, Unavailable
from common.grpc_client import call
from deploy.embedded.redis import Redis
from tests.conftest import paused
from tests.integration.router.router_stack import (
    CATALOG,
    CLOSED,
    a_router,
    an_ask,
    read_all,
    text_of,
    until,
)

OTHER = CATALOG.replace("acme/small", "acme/mini")


def rewrite(router, catalog):
    path = router.service.settings.catalog_path
    path.write_text(catalog.format(url=router.sandbox.url))


async def names(router):
    listed = await call(router.stub.ListModels, router_pb2.ListModelsRequest(), timeout_s=5)
    return {model.name for model in listed.models}


async def test_a_new_catalog_is_used_on_hangup(router):
    rewrite(router, OTHER)

    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: "acme/mini" in router.service.catalog.current.models)

    assert "acme/small" not in await names(router)
    assert "acme/mini" == (await router.complete()).outcome.model
    with pytest.raises(NotFound):
        await router.complete(model="acme/small")


async def test_a_changed_catalog_is_seen_and_a_bad_one_refused(router):
    rewrite(router, OTHER)
    await until(lambda: "acme/mini" in router.service.catalog.current.models)

    rewrite(router, "providers: nonsense")
    assert not await router.service.catalog.reload()

    assert "acme/mini" == (await router.complete()).outcome.model


async def test_a_hangup_before_there_is_a_database_does_no_harm(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.router"),
        stdout=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "ROUTER_DATABASE_URL": f"postgresql://nobody@/none?host={tmp_path}",
            "ROUTER_INTERNAL_TOKEN": "right",
            "ROUTER_GRPC_LISTEN": "127.0.0.1:0",
            "ROUTER_OPERATIONS_LISTEN": "127.0.0.1:0",
            "ROUTER_JOURNAL_PATH": str(tmp_path / "journal"),
        },
    )
    try:
        await heard(process, "waiting")
        process.send_signal(signal.SIGHUP)
        await heard(process, "waiting")
        process.send_signal(signal.SIGTERM)
        assert 0 == await asyncio.wait_for(process.wait(), 20)
    finally:
        if process.returncode is None:
            process.kill()


async def heard(process, event):
    """Read the log until *event* is in it."""
    async with asyncio.timeout(60):
        while orjson.loads(await process.stdout.readline())["event"] != event:
            pass


async def test_redis_may_stop_and_go_silent_while_answers_go_on(
    sandbox, database, tmp_path, short_folder
):
    redis = Redis(short_folder / "passing-redis")
    await redis.start()
    try:
        async with a_router(sandbox, database, tmp_path, redis_url=redis.url) as router:
            first = await router.complete("hi", use_cache=True)
            with paused(redis.process.pid):
                answers = [await router.complete("hi", use_cache=True) for _ in range(5)]
            await redis.stop()
            answers += [await router.complete("hi", use_cache=True) for _ in range(5)]
    finally:
        await redis.stop()

    assert {text_of(first)} == {text_of(answer) for answer in answers}
    assert [False] * 10 == [answer.outcome.cache_hit for answer in answers]


async def test_postgres_may_go_silent_while_answers_go_on(router, database):
    ask = an_ask("hi")
    with database.paused():
        response = await router.complete(ask=ask)

    assert text_of(response)
    closed = await router.closed(ask.request_id)
    [entry] = router.bill
    assert entry.cost_nano_usd == closed.cost_nano_usd == response.outcome.cost_nano_usd


async def test_a_paid_answer_that_cannot_be_recorded_is_withheld_and_called_billed(
    router, monkeypatch
):
    append = router.service.ledger.append

    async def refuse_the_end(rows):
        if any(row.kind == CLOSED for row in rows):
            raise Unavailable("the journal is full")
        await append(rows)

    monkeypatch.setattr(router.service.ledger, "append", refuse_the_end)

    with pytest.raises(Unavailable, match="journal") as refused:
        await router.complete()

    assert 1 == len(router.bill)
    assert refused.value.billed


async def test_what_is_under_way_may_end_when_the_router_stops(router):
    router.gate.shut()
    asks = [an_ask("hi"), an_ask("Tell me a long story")]
    plain = asyncio.create_task(router.complete(ask=asks[0]))
    streamed = asyncio.create_task(read_all(router.stream(ask=asks[1])))
    await router.under_way(2)

    router.stop.set()
    await until_refused(router)
    router.gate.open()

    assert text_of(await plain)
    assert "finished" == (await streamed)[-1].WhichOneof("event")
    await router.ended
    costs = sorted(entry.cost_nano_usd for entry in router.bill)
    assert costs == sorted(
        [(await plain).outcome.cost_nano_usd, (await streamed)[-1].finished.cost_nano_usd]
    )


async def until_refused(router):
    """Wait until the router takes no more calls."""

    async def refused():
        try:
            await names(router)
        except Failure:
            return True
        return False

    await until(refused)


async def test_what_does_not_end_in_time_is_cut_and_accounted(sandbox, database, tmp_path):
    asks = [an_ask("hi [[fault:hang]]"), an_ask("A story [[fault:tokens_per_s=2]]")]
    async with a_router(sandbox, database, tmp_path, drain_s=0.2, stream_drain_s=60) as router:
        plain = asyncio.create_task(router.complete(ask=asks[0]))
        stream = router.stream(ask=asks[1])
        while not (await stream.read()).chunks.json:
            pass
        await router.under_way(2)

        router.stop.set()
        await asyncio.wait_for(router.ended, 10)

        with pytest.raises(Failure):
            await plain
        with pytest.raises(grpc.aio.AioRpcError):
            await to_the_end(stream)
    async with a_router(sandbox, database, tmp_path) as after:
        closed = [await after.closed(ask.request_id) for ask in asks]
        await until(lambda: not sandbox.app.bill.in_flight)
    assert ["cancelled", "cancelled"] == [row.outcome for row in closed]
    assert all(row.cost_nano_usd > 0 and row.estimated for row in closed)
    written = [e.output_tokens for e in sandbox.app.bill._entries if e.streamed]
    assert written[0] >= closed[1].output_tokens > 0


async def to_the_end(stream):
    while await stream.read() is not grpc.aio.EOF:
        pass
