"""Metrics beside replicas, and while what it needs is away: nothing is told wrong or lost."""

import asyncio

import grpc
import orjson
import pytest
from optimizer.metrics.v1 import metrics_pb2 as pb
from redis.asyncio import Redis

from common.redis_names import METRICS_LATEST, METRICS_LIVE
from tests.followed_ledger import (
    assert_it_waits_for_its_neighbours,
    closed,
    corrected,
    eventually,
    killed,
)
from tests.integration.metrics.asking import (
    caught_up,
    counted,
    rollups,
    snapshot,
)


async def test_two_replicas_count_each_row_once(metrics, ledger, database):
    async with metrics() as one, metrics() as two:
        for _ in range(40):
            ledger.add(*(closed() for _ in range(50)))
            await asyncio.sleep(0)
            one.service.wake.set()
            two.service.wake.set()
        await counted(one, 2000)
        await counted(two, 2000)

    assert 2000 == sum(row[7] for row in await rollups(database))


async def test_a_kill_in_the_middle_changes_no_figure(metrics, ledger, database):
    ids = [ledger.add(closed(cost=n)) for n in range(3000)]
    ledger.add(*(corrected(id_, 7) for id_ in ids[::3]))
    for _ in range(6):  # each life ends a little later
        service = await metrics.build()
        async with killed(service):
            await asyncio.sleep(0.03)

    async with metrics() as it:
        await eventually(lambda: caught_up(it))
        figures = await rollups(database)

    assert 3000 == sum(row[7] for row in figures)
    assert sum(range(3000)) + 7000 == sum(row[10] for row in figures)


async def test_while_the_router_is_away_what_is_known_is_told(metrics, ledger):
    ledger.add(closed())

    async with metrics() as it:
        await counted(it, 1)
        ledger.silent = True
        ledger.add(closed())
        assert 1 == (await snapshot(it))["total_decisions"]

        ledger.silent = False
        await counted(it, 2)


async def test_a_snapshot_is_left_in_redis_and_published(metrics, ledger, redis_url):
    redis = Redis.from_url(redis_url)
    await redis.delete(METRICS_LATEST)
    async with redis.pubsub() as pubsub, metrics(redis_url=redis_url) as it:
        await pubsub.subscribe(METRICS_LIVE)
        await pubsub.get_message(timeout=5)
        ledger.add(closed())
        it.service.wake.set()
        message = await eventually(
            lambda: pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
        )
        kept = await redis.get(METRICS_LATEST)
        told = await it.stub.GetSnapshot(pb.GetSnapshotRequest())
        lifetime_s = await redis.ttl(METRICS_LATEST)
    await redis.aclose()

    assert 1 == orjson.loads(message["data"])["total_decisions"]
    assert message["data"] == kept == told.json
    assert 0 < lifetime_s <= 30


async def test_a_burst_is_pushed_once_an_interval(metrics, ledger, redis_url):
    redis = Redis.from_url(redis_url)
    async with redis.pubsub() as pubsub, metrics(redis_url=redis_url, live_interval_s=60) as it:
        await pubsub.subscribe(METRICS_LIVE)
        await pubsub.get_message(timeout=5)
        for n in range(1, 6):
            ledger.add(closed())
            it.service.wake.set()
            await counted(it, n)
        pushed = 0
        while await pubsub.get_message(ignore_subscribe_messages=True, timeout=0.2):
            pushed += 1
    await redis.aclose()

    assert 1 == pushed


async def test_without_redis_the_answer_comes_from_postgres(metrics, ledger):
    ledger.add(closed())

    async with metrics(redis_url="redis://127.0.0.1:1/0") as it:
        shown = await counted(it, 1)

    assert 1 == shown["total_decisions"]


async def test_a_silent_database_is_said_and_waited_out(metrics, ledger, database):
    async with metrics(database_acquire_timeout_s=0.5, database_statement_timeout_s=0.5) as it:
        ledger.add(closed())
        await counted(it, 1)
        with database.paused():
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await it.stub.GetSnapshot(pb.GetSnapshotRequest(), timeout=5)
            ledger.add(closed())
        await counted(it, 2)

    assert failed.value.code() in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )


async def test_it_starts_before_its_neighbours_and_serves_once_they_are_there(metrics, database):
    await assert_it_waits_for_its_neighbours(metrics, database)
