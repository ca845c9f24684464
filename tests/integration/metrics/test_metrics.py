"""Metrics against real servers: what the ledger says is what is told, once."""

import asyncio
import time
from collections import Counter
from datetime import datetime

import grpc
import pytest
from optimizer.metrics.v1 import metrics_pb2 as pb

from services.metrics.domain.durations import bucket_of
from services.metrics.domain.grains import GRAINS_S
from services.metrics.store.rollups import RollupStore
from tests.followed_ledger import closed, corrected, eventually, garbage
from tests.integration.metrics.asking import (
    caught_up,
    counted,
    durations,
    grains,
    rollups,
    snapshot,
)


async def test_without_traffic_there_are_zeros(metrics):
    async with metrics() as it:
        shown = await snapshot(it)

    assert 0 == shown["total_decisions"]
    assert {} == shown["strategy_performance"]
    assert 7 == shown["period_days"]


async def test_a_clock_ahead_of_ours_may_ask_since_its_midnight(metrics, ledger):
    async with metrics() as it:
        for ahead_ms in (60_000, 2**62):
            since_ms = int(time.time() * 1000) + ahead_ms
            told = await it.stub.GetStats(pb.GetStatsRequest(since_ms=since_ms))
            assert 0 == told.totals.requests


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
    lately = shown["last_minute"]
    assert (0.4, 0.2) == (lately["error_rate"], lately["cache_hit_rate"])
    told, since = (datetime.fromisoformat(at) for at in (shown["timestamp"], lately["since"]))
    assert 60 <= (told - since).total_seconds() < 120
    assert lately["requests_per_s"] == pytest.approx(5 / (told - since).total_seconds(), rel=1e-3)


async def test_the_snapshot_names_the_experiments_that_take_requests(metrics, ledger):
    ten_minutes_ago_ms = int((time.time() - 600) * 1000)
    ledger.add(closed(experiment_id=3, arm="test", at_ms=ten_minutes_ago_ms), closed())
    ledger.add(*(closed(experiment_id=id_, arm="test") for id_ in (11, 2, 11)))

    async with metrics() as it:
        shown = await counted(it, 5)

    assert [2, 11] == shown["active_experiments"]
    assert {"11/test", "2/test", "3/test"} == set(shown["arm_usage"])


async def test_while_nothing_changes_the_bytes_are_equal(metrics, ledger):
    ledger.add(closed())

    async with metrics() as it:
        await counted(it, 1)
        one = await it.stub.GetSnapshot(pb.GetSnapshotRequest())
        two = await it.stub.GetSnapshot(pb.GetSnapshotRequest())

    assert one.json == two.json


async def test_many_who_ask_at_once_cause_one_look(metrics, monkeypatch):
    look, looks = RollupStore.period, []

    async def counted_look(store, *arguments, **others):
        looks.append(arguments)
        return await look(store, *arguments, **others)

    monkeypatch.setattr(RollupStore, "period", counted_look)
    async with metrics() as it:
        told = await asyncio.gather(
            *(it.stub.GetSnapshot(pb.GetSnapshotRequest()) for _ in range(20))
        )

    assert (1, 1) == (len(looks), len({one.json for one in told}))


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


async def test_durations_are_counted_once_in_every_grain(metrics, ledger, database):
    an_hour_ago_ms = int((time.time() - 3600) * 1000)
    twice = closed(latency_ms=12.5, streamed=True, time_to_first_token_ms=3)
    ledger.add(twice, twice, closed(latency_ms=12.6, at_ms=an_hour_ago_ms))
    ledger.add(corrected(twice.request_id, 5, latency_ms=99))
    ledger.add(closed(latency_ms=7, outcome="failed"), closed(latency_ms=float("nan")))

    async with metrics() as it:
        await caught_up(it)
        ledger.add(twice)
        await caught_up(it)
        found = await durations(database)

    slow, first, fast = (bucket_of(ms) for ms in (12.5, 3, 7))
    assert slow == bucket_of(12.6)
    assert found == {
        (grain_s, *rest): count
        for grain_s in GRAINS_S
        for rest, count in {
            ("ok", 1, slow): 2,
            ("ok", 2, first): 1,
            ("failed", 1, fast): 1,
        }.items()
    }


async def test_what_turns_out_to_have_no_price_leaves_the_average(metrics, ledger):
    id_ = ledger.add(closed(cost=100))
    ledger.add(corrected(id_, -100, pricing="unpriced"))

    async with metrics() as it:
        await caught_up(it)
        shown = await snapshot(it)

    assert {"count": 1, "avg_cost": None} == shown["provider_usage"]["acme"]
    assert 1 == shown["unpriced"]


async def test_that_something_has_no_price_may_turn_out_much_later(metrics, ledger, database):
    id_ = ledger.add(closed(cost=100))

    async with metrics() as it:
        await caught_up(it)
        ledger.add(corrected(id_, -100, pricing="unpriced"))
        await caught_up(it)
        [row] = await rollups(database)

    requests, priced, compared, cost, compared_cost, baseline, *_ = row[7:]
    assert (1, 0, 0, 0, 0, 0) == (requests, priced, compared, cost, compared_cost, baseline)


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


async def test_history_has_a_step_for_every_minute_and_stats_the_sum(metrics, ledger):
    now_ms = int(time.time() * 1000)
    ledger.add(closed(cost=5, baseline=7, at_ms=now_ms - 120_000), closed(cost=None))
    ledger.add(closed(cost=0, outcome="failed"), closed(outcome="cancelled", cost=1, baseline=None))
    ledger.add(closed(cost=0, baseline=9, cache_hit=True, pricing="cached"))

    async with metrics() as it:
        await counted(it, 5)
        history = await it.stub.GetHistory(pb.GetHistoryRequest(window_s=600, step_s=60))
        stats = await it.stub.GetStats(pb.GetStatsRequest())

    assert 11 == len(history.steps)  # the first and the last are of a part of a minute
    assert 5 == sum(step.requests for step in history.steps) == stats.totals.requests
    assert (1, 1) == (stats.totals.failures, stats.totals.unpriced)
    assert (6, 5, 7, 9) == (
        stats.totals.cost_nano_usd,
        stats.totals.compared_cost_nano_usd,
        stats.totals.baseline_cost_nano_usd,
        stats.totals.cache_saved_nano_usd,
    )


async def test_a_window_that_makes_no_sense_is_refused(metrics):
    async with metrics() as it:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await it.stub.GetHistory(pb.GetHistoryRequest(window_s=60))

    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()


async def test_minutes_are_forgotten_first_and_at_last_the_rest(metrics, ledger, database):
    for days in (500, 100, 0):
        ledger.add(closed(at_ms=int((time.time() - days * 86_400) * 1000)))

    async with metrics() as it:
        await eventually(lambda: caught_up(it))
        await it.service.retention.forget()
        left = Counter(grain_s for grain_s, *_ in await grains(database))
        stats = await it.stub.GetStats(pb.GetStatsRequest())

    assert {60: 1, 900: 1, 3600: 2, 21_600: 2} == left
    assert 2 == stats.totals.requests
