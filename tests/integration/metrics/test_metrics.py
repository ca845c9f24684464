"""Metrics against real servers: what the ledger says is what is told, once, whatever happens."""

import asyncio
import time

import asyncpg
import grpc
import orjson
import pytest
from optimizer.metrics.v1 import metrics_pb2 as pb
from redis.asyncio import Redis

from common.redis_names import METRICS_LATEST, METRICS_LIVE
from services.metrics.__main__ import build
from tests.followed_ledger import closed, corrected, eventually, garbage, killed


async def snapshot(it):
    return orjson.loads((await it.stub.GetSnapshot(pb.GetSnapshotRequest(), timeout=10)).json)


async def counted(it, requests):
    """Wait until that many requests are counted; return the snapshot that says so."""

    async def look():
        shown = await snapshot(it)
        return shown if shown["total_decisions"] >= requests else None

    return await eventually(look)


async def rollups(database):
    conn = await asyncpg.connect(database.url("metrics"))
    try:
        return [
            tuple(row)
            for row in await conn.fetch(
                "SELECT minute, strategy, provider, model, confidence, outcome, cache_hit,"
                " requests, priced, compared, cost_nano_usd, compared_cost_nano_usd,"
                " baseline_cost_nano_usd, input_tokens, output_tokens FROM metrics.rollups"
                " ORDER BY minute, strategy, provider, model, confidence, outcome, cache_hit"
            )
        ]
    finally:
        await conn.close()


async def test_without_traffic_there_are_zeros(metrics):
    async with metrics() as it:
        shown = await snapshot(it)

    assert 0 == shown["total_decisions"]
    assert {} == shown["strategy_performance"]
    assert 7 == shown["period_days"]


async def test_the_snapshot_says_what_the_ledger_says(metrics, ledger):
    ledger.add(
        closed(cost=200_000, baseline=800_000),
        closed(cost=None, provider="local", model="local/free", confidence="low"),
        closed(cost=0, baseline=800_000, cache_hit=True, pricing="cached"),
        closed(cost=0, provider="", model="", outcome="failed", strategy="best"),
        closed(cost=0, baseline=None, outcome="failed", confidence="low"),
    )

    async with metrics() as it:
        shown = await counted(it, 5)

    assert {"count": 4, "avg_cost": 0.0001, "high_confidence_pct": 50.0} == (
        shown["strategy_performance"]["hybrid"]
    )
    assert {"count": 1, "avg_cost": None, "high_confidence_pct": 100.0} == (
        shown["strategy_performance"]["best"]
    )
    assert {
        "acme": {"count": 3, "avg_cost": 0.0001},
        "local": {"count": 1, "avg_cost": None},
    } == shown["provider_usage"]
    assert 75.0 == shown["cost_savings"]["percent_saved"]
    assert {"high": 3, "medium": 0, "low": 2} == shown["confidence_distribution"]


async def test_while_nothing_changes_the_bytes_are_equal(metrics, ledger):
    ledger.add(closed())

    async with metrics() as it:
        await counted(it, 1)
        one = await it.stub.GetSnapshot(pb.GetSnapshotRequest())
        two = await it.stub.GetSnapshot(pb.GetSnapshotRequest())

    assert one.json == two.json


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
        service = await build(metrics.settings())
        async with killed(service):
            await asyncio.sleep(0.03)

    async with metrics() as it:
        await eventually(lambda: caught_up(it))
        figures = await rollups(database)

    assert 3000 == sum(row[7] for row in figures)
    assert sum(range(3000)) + 7000 == sum(row[10] for row in figures)


async def caught_up(it):
    return await it.service.follower.catch_up(5)


async def test_corrections_land_where_their_requests_were_counted(metrics, ledger, database):
    early, unknown = closed(cost=100, baseline=900), closed(cost=None)
    ledger.add(corrected(early.request_id, 1_000), early)  # its total knows that already
    ledger.add(corrected(early.request_id, -40, input_tokens=3), corrected(unknown.request_id, 5))

    async with metrics() as it:
        await counted(it, 1)
        ledger.add(corrected(early.request_id, 20), unknown)
        await counted(it, 2)
        ledger.add(corrected(unknown.request_id, 5))
        await caught_up(it)
        [row] = await rollups(database)

    requests, priced, compared, cost, compared_cost, baseline, tokens_in, _ = row[7:]
    assert (2, 1, 1) == (requests, priced, compared)
    assert (80, 80, 900) == (cost, compared_cost, baseline)
    assert 23 == tokens_in


async def test_what_turns_out_to_have_no_price_leaves_the_average(metrics, ledger):
    id_ = ledger.add(closed(cost=100))
    ledger.add(corrected(id_, -100, pricing="unpriced"))

    async with metrics() as it:
        await caught_up(it)
        shown = await snapshot(it)

    assert {"count": 1, "avg_cost": None} == shown["provider_usage"]["acme"]
    assert 1 == shown["unpriced"]


async def test_garbage_is_passed_by(metrics, ledger):
    ledger.add(closed(), *garbage(), closed())

    async with metrics() as it:
        await caught_up(it)
        shown = await snapshot(it)

    sane = 2 + 2  # two of the garbage rows are only garbage to experiments
    assert sane == shown["total_decisions"]


async def test_a_request_that_is_closed_twice_counts_once(metrics, ledger):
    twice = closed()
    ledger.add(twice, twice)

    async with metrics() as it:
        await counted(it, 1)
        ledger.add(twice, closed())
        shown = await counted(it, 2)

    assert 2 == shown["total_decisions"]


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
    async with redis.pubsub() as pubsub, metrics(redis_url=redis_url, live_interval_s=5) as it:
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


async def test_history_has_a_step_for_every_minute_and_stats_the_sum(metrics, ledger):
    now_ms = int(time.time() * 1000)
    ledger.add(closed(cost=5, baseline=7, at_ms=now_ms - 120_000), closed(cost=None))
    ledger.add(closed(cost=0, outcome="failed"), closed(outcome="cancelled", cost=1, baseline=None))

    async with metrics() as it:
        await counted(it, 4)
        history = await it.stub.GetHistory(pb.GetHistoryRequest(window_s=600, step_s=60))
        stats = await it.stub.GetStats(pb.GetStatsRequest())

    assert 10 == len(history.steps)
    assert 4 == sum(step.requests for step in history.steps) == stats.totals.requests
    assert (1, 1) == (stats.totals.failures, stats.totals.unpriced)
    assert (6, 5, 7) == (
        stats.totals.cost_nano_usd,
        stats.totals.compared_cost_nano_usd,
        stats.totals.baseline_cost_nano_usd,
    )


async def test_a_window_that_makes_no_sense_is_refused(metrics):
    async with metrics() as it:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await it.stub.GetHistory(pb.GetHistoryRequest(window_s=60))

    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()


async def test_it_starts_before_its_neighbours_and_serves_once_they_are_there(database, metrics):
    with database.paused():
        service = await build(metrics.settings(router_target="127.0.0.1:1", database_pool_min=0))
        stop = asyncio.Event()
        task = asyncio.create_task(service.run(stop))
        await asyncio.sleep(0.3)
        assert not service.started.is_set()

    await asyncio.wait_for(service.started.wait(), 30)
    stop.set()
    await task


async def test_old_rollups_are_forgotten(metrics, ledger, database):
    long_ago_ms = int((time.time() - 500 * 86_400) * 1000)
    ledger.add(closed(at_ms=long_ago_ms), closed())

    async with metrics() as it:
        await eventually(lambda: caught_up(it))
        await it.service.retention.forget()
        left = await rollups(database)

    assert 1 == len(left)


async def test_it_applies_thousands_of_rows_a_second(metrics, ledger):
    ledger.add(*(closed(strategy=f"s{n % 7}", model=f"acme/m{n % 50}") for n in range(20_000)))

    async with metrics() as it:
        started = time.perf_counter()
        await counted(it, 20_000)
        rows_per_s = 20_000 / (time.perf_counter() - started)

    assert rows_per_s > 2_000  # 7,000 to 11,000 on two idle cores; the tests share theirs
