"""What another strategy would have cost, told from the ledger of a running router."""

from datetime import UTC, datetime, timedelta
from random import Random, getrandbits
from uuid import UUID

import orjson
import pytest
from optimizer.router.v1 import router_pb2

from common.errors import Invalid, NotFound, Unavailable
from common.grpc_client import call
from common.ids import first_id_at
from common.postgres import connection
from services.router import estimates
from services.router.domain.entries import Kind, Row
from services.router.domain.request import StrategyChoice
from services.router.domain.strategies import Strategies
from services.router.estimates import Estimates
from services.router.store import ledger_table, past_decisions
from tests.integration.router.learning_scene import CATALOG

CHEAPEST = StrategyChoice("cheapest")


def an_explanation(chosen, odds, **changes):
    models = {"acme/small": ("simple", 0.5, 1_000), "acme/large": ("complex", 0.9, 9_000)}
    first = [chosen, *(name for name in models if name != chosen)]
    candidates = [
        {
            "model": name,
            "tier": models[name][0],
            "capability": models[name][1],
            "expected_quality": 0.5,
            "expected_cost_usd": models[name][2] / 1e9,
            "propensity": odds[name],
        }
        for name in first
    ]
    return {
        "strategy": "hybrid",
        "complexity": {"tier": "complex"},
        "candidates": candidates,
        "propensity": odds[chosen],
    } | changes


CERTAIN = an_explanation("acme/small", {"acme/small": 1.0, "acme/large": 0.0})


async def record(pool, details, *, cost=1_000, age=timedelta(), user=None, cache_hit=False):
    moment = datetime.now(UTC) - age
    request_id = UUID(int=first_id_at(moment).int | getrandbits(62))
    row = Row(
        kind=Kind.CLOSED,
        attempt_id=request_id,
        request_id=request_id,
        recorded_at=moment,
        tenant="a-key",
        user_id=user,
        cost_nano_usd=cost,
        cache_hit=cache_hit,
        details=details,
    )
    async with connection(pool) as conn:
        await ledger_table.add(conn, ledger_table.encode([row]))


async def some_traffic(pool, count=200):
    """Record requests that went to large, and a tenth by chance to small: it cost 1,500."""
    dice = Random(11)
    for n in range(count):
        chosen = "acme/small" if dice.random() < 0.1 else "acme/large"
        details = an_explanation(chosen, {"acme/small": 0.1, "acme/large": 0.9})
        cost = 1_500 if chosen == "acme/small" else 10_000
        await record(pool, details, cost=cost, user=f"u{n % 40}")


@pytest.fixture
def estimated(pool):
    return Estimates(pool, Strategies(lambda: CATALOG))


async def test_what_chance_tried_says_what_all_would_have_cost(pool, estimated):
    await some_traffic(pool)

    found = await estimated.of(CHEAPEST, 0)

    assert (200, 1) == (found.requests, found.overlap_ratio)
    assert found.low <= 1_500 <= found.high
    assert 1_500 == pytest.approx(found.estimated, rel=0.01)
    assert 1_500 == pytest.approx(found.self_normalised)
    assert 0.8 < found.saved_ratio < 0.9


async def test_only_what_was_routed_lately_counts(pool, estimated):
    for _ in range(20):
        await record(pool, CERTAIN)
    await record(pool, CERTAIN, cost=9_999_999, cache_hit=True)
    await record(pool, {**CERTAIN, "strategy": "pinned"}, cost=9_999_999)
    await record(pool, {**CERTAIN, "propensity": None}, cost=9_999_999)
    await record(pool, {"error": "invalid"}, cost=9_999_999)
    await record(pool, None, cost=9_999_999)
    await record(pool, CERTAIN, cost=None)
    await record(pool, CERTAIN, cost=21_001_000, age=timedelta(hours=23))

    found = await estimated.of(CHEAPEST, 1)
    assert (21, 1_001_000) == (found.requests, found.actual)


async def test_many_are_read_in_pages_up_to_a_bound(pool, estimated, monkeypatch):
    monkeypatch.setattr(past_decisions, "PAGE_ROWS", 7)
    monkeypatch.setattr(estimates, "MOST_REQUESTS", 25)
    await some_traffic(pool, count=30)

    assert 25 == (await estimated.of(CHEAPEST, 7)).requests


async def test_when_reading_takes_too_long_what_was_read_has_to_do(pool, monkeypatch):
    monkeypatch.setattr(past_decisions, "PAGE_ROWS", 10)
    await some_traffic(pool, count=30)
    clock = iter([0.0, 1.0, 9.0])
    hurried = Estimates(pool, Strategies(lambda: CATALOG), clock=lambda: next(clock))

    assert 20 == (await hurried.of(CHEAPEST, 7)).requests


@pytest.mark.parametrize(
    ("rows", "strategy", "reason"),
    [
        ([], CHEAPEST, "no request was routed"),
        ([(CERTAIN, None)], CHEAPEST, "no request of that time has a price"),
        ([(CERTAIN, 5)], StrategyChoice("fixed", {"model": "acme/gone"}), "no candidate"),
        ([(CERTAIN, 5)], StrategyChoice("best"), "could have gone"),
    ],
)
async def test_where_nothing_can_be_told_it_says_why(pool, estimated, rows, strategy, reason):
    for details, cost in rows:
        await record(pool, details, cost=cost)

    found = await estimated.of(strategy, 7)

    assert (None, None, None) == (found.estimated, found.low, found.high)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("choice", "days", "failure", "says"),
    [
        (StrategyChoice("hybrid"), 7, Invalid, "only cheapest, best, complexity, fixed"),
        (StrategyChoice("fixed"), 7, Invalid, "parameter model"),
        (StrategyChoice("cheapest", {"preset": "economy"}), 7, Invalid, "no parameter"),
        (StrategyChoice("magic"), 7, NotFound, "magic"),
        (CHEAPEST, 31, Invalid, "days"),
    ],
)
async def test_what_cannot_be_estimated_is_refused(estimated, choice, days, failure, says):
    with pytest.raises(failure, match=says):
        await estimated.of(choice, days)


async def test_a_silent_postgres_is_said_so(estimated, database):
    with database.paused(), pytest.raises(Unavailable):
        await estimated.of(CHEAPEST, 7)


async def ask(router, name, **parameters):
    strategy = router_pb2.Strategy(
        name=name, parameters_json=orjson.dumps(parameters) if parameters else b""
    )
    request = router_pb2.EstimateStrategyRequest(strategy=strategy)
    return await call(router.stub.EstimateStrategy, request, timeout_s=5)


async def test_a_running_router_keeps_what_an_estimate_needs(router):
    for n in range(12):
        await router.complete(f"What is {n} + 3?", user_id=f"u{n}", strategy="cheapest")
    await router.complete(model="acme/large")
    actual = [row.cost_nano_usd for row in await router.ledger() if row.kind == 4][:12]

    same = await ask(router, "cheapest")
    other = await ask(router, "fixed", model="acme/large")

    assert (12, 12, 1) == (same.requests, same.effective_sample_size, same.overlap_ratio)
    assert round(sum(actual) / 12) == same.actual_avg_cost_nano_usd
    assert same.actual_avg_cost_nano_usd == same.estimated_avg_cost_nano_usd
    assert same.low_nano_usd <= same.estimated_avg_cost_nano_usd <= same.high_nano_usd
    assert 0 == pytest.approx(same.saved_ratio)
    assert "" == same.reason
    assert not other.HasField("estimated_avg_cost_nano_usd")
    assert "could have gone" in other.reason
