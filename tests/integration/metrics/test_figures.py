"""Every figure that is told is the one that the ledger's rows give, added up by hand."""

import random
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from optimizer.metrics.v1 import metrics_pb2 as pb

from tests.followed_ledger import closed
from tests.random_ledger import a_random_ledger, percentile, requests_of

BY = {
    "model": pb.BY_MODEL,
    "provider": pb.BY_PROVIDER,
    "strategy": pb.BY_STRATEGY,
    "tenant": pb.BY_KEY,
    "arm": pb.BY_ARM,
}
WITHIN = 0.05


def sums(told):
    """Return what `Totals` says of *told*."""
    compared = [one for one in told if one.compared and not one.row.cache_hit]
    cached = [one for one in told if one.compared and one.row.cache_hit]
    return {
        "requests": len(told),
        "failures": sum(one.failed for one in told),
        "cache_hits": sum(one.row.cache_hit for one in told),
        "unpriced": sum(one.cost is None for one in told),
        "compared": len(compared),
        "input_tokens": sum(one.tokens_in for one in told),
        "output_tokens": sum(one.tokens_out for one in told),
        "cost_nano_usd": sum(one.cost or 0 for one in told),
        "compared_cost_nano_usd": sum(one.cost for one in compared),
        "baseline_cost_nano_usd": sum(one.baseline for one in compared),
        "cache_compared": len(cached),
        "cache_saved_nano_usd": sum(one.baseline - one.cost for one in cached),
    }


def assert_tells(totals, told):
    assert sums(told) == {name: getattr(totals, name) for name in sums([])}


def assert_timed(totals, told):
    for percent in (50, 95, 99):
        exact = percentile(told, percent)
        found = getattr(totals, f"p{percent}_ms")
        if exact is None:
            assert not totals.HasField(f"p{percent}_ms")
        else:
            assert exact == pytest.approx(found, rel=WITHIN)


@pytest.fixture
async def mixed(metrics, ledger):
    """A service that has followed a random ledger, and the requests that are in it."""
    chance = random.Random(5)
    now_ms = int(time.time() * 1000)
    rows = [
        *a_random_ledger(chance, requests=600, now_ms=now_ms, reach_s=30 * 60),
        *a_random_ledger(chance, requests=900, now_ms=now_ms, reach_s=6 * 86_400),
        *a_random_ledger(chance, requests=500, now_ms=now_ms, reach_s=45 * 86_400),
    ]
    ledger.add(*rows)
    async with metrics() as it:
        assert await it.service.follower.catch_up(30)
        it.told = requests_of(rows)
        yield it


@pytest.mark.parametrize(
    ("window_s", "step_s"), [(3600, 60), (86_400, 900), (7 * 86_400, 3600), (30 * 86_400, 21_600)]
)
async def test_history_adds_up(mixed, window_s, step_s):
    for by in (None, *BY):
        await assert_history_adds_up(mixed, window_s, step_s, by)


def name_of(row, by):
    if by == "arm":
        return f"{row.experiment_id}/{row.arm}" if row.experiment_id else "none"
    return getattr(row, by) or "none"


async def assert_history_adds_up(mixed, window_s, step_s, by):
    request = pb.GetHistoryRequest(window_s=window_s, step_s=step_s, by=BY.get(by, 0))
    found = await mixed.stub.GetHistory(request)

    series = found.series if by else [pb.Series(name="all", steps=found.steps)]
    start = datetime.fromtimestamp(found.start_ms / 1000, UTC)
    inside = [one for one in mixed.told if one.at >= start]
    names = Counter(name_of(one.row, by) if by else "all" for one in inside)
    assert names == {one.name: sum(step.requests for step in one.steps) for one in series}
    assert sorted(names.values(), reverse=True) == [names[one.name] for one in series]
    told = defaultdict(list)
    for one in inside:
        step = (one.at - start) // timedelta(seconds=step_s)
        told[name_of(one.row, by) if by else "all", step].append(one)
    for one in series:
        assert found.count == len(one.steps) == window_s // step_s + 1
        for n, step in enumerate(one.steps):
            begin = start + timedelta(seconds=n * step_s)
            assert step.from_ms == begin.timestamp() * 1000
            assert_tells(step, told[one.name, n])
            assert_timed(step, told[one.name, n])


@pytest.mark.parametrize("reach", [timedelta(minutes=2), timedelta(days=3), timedelta(days=100)])
async def test_stats_add_up(mixed, reach):
    since = datetime.now(UTC).replace(second=0, microsecond=0) - reach

    request = pb.GetStatsRequest(since_ms=int(since.timestamp() * 1000), with_latency=True)
    totals = (await mixed.stub.GetStats(request)).totals

    told = [one for one in mixed.told if one.at >= since]
    assert_tells(totals, told)
    assert_timed(totals, told)


async def test_the_snapshot_adds_up(mixed):
    shown = orjson.loads((await mixed.stub.GetSnapshot(pb.GetSnapshotRequest())).json)

    made = datetime.fromisoformat(shown["timestamp"])
    since = made.replace(second=0, microsecond=0) - timedelta(days=7)
    told = [one for one in mixed.told if one.at >= since]
    total = sums(told)
    assert shown["total_decisions"] == total["requests"]
    assert shown["error_rate"] == total["failures"] / total["requests"]
    assert shown["cache_hits"] == total["cache_hits"]
    assert shown["unpriced"] == total["unpriced"]
    assert shown["total_cost"] == total["cost_nano_usd"] / 1e9
    fell_back = sum(one.row.fallbacks > 0 for one in told)
    assert shown["fallback_rate"] == fell_back / len(told)
    savings = shown["cost_savings"]
    assert savings["intelligent_cost"] == total["compared_cost_nano_usd"] / 1e9
    assert savings["baseline_cost"] == total["baseline_cost_nano_usd"] / 1e9
    assert savings["cache_saved"] == total["cache_saved_nano_usd"] / 1e9
    for key, measure in (
        ("latency_ms", "latency_ms"),
        ("time_to_first_token_ms", "time_to_first_token_ms"),
    ):
        for percent in (50, 95, 99):
            exact = percentile(told, percent, measure=measure)
            assert exact == pytest.approx(shown[key][f"p{percent}"], rel=WITHIN)
    counts = Counter(one.row.model for one in told if one.row.model)
    assert counts == {one["model"]: one["count"] for one in shown["top_models"]}
    arms = Counter(name_of(one.row, "arm") for one in told)
    assert arms == {"none": arms["none"]} | {
        name: one["count"] for name, one in shown["arm_usage"].items()
    }
    today = made.replace(hour=0, minute=0, second=0, microsecond=0)
    for name, begin in (("today", today), ("this_month", today.replace(day=1))):
        paid = sum(one.cost or 0 for one in mixed.told if one.at >= begin)
        assert shown["spent"][name] == paid / 1e9
    for one in shown["top_models"]:
        paid = [told_.cost or 0 for told_ in told if told_.row.model == one["model"]]
        assert one["cost"] == sum(paid) / 1e9


async def test_those_after_the_first_eleven_are_told_together(metrics, ledger):
    for n in range(14):
        ledger.add(*(closed(model=f"acme/m{n:02}") for _ in range(20 - n)))

    async with metrics() as it:
        assert await it.service.follower.catch_up(10)
        request = pb.GetHistoryRequest(window_s=3600, step_s=60, by=pb.BY_MODEL)
        found = await it.stub.GetHistory(request)

    told = {one.name: sum(step.requests for step in one.steps) for one in found.series}
    assert {f"acme/m{n:02}": 20 - n for n in range(11)} | {"other": 9 + 8 + 7} == told
    assert "other" == found.series[-1].name
