"""Frozen learning: whoever names a state of what was learned gets the same, for good."""

import asyncio
import time

import orjson
import pytest
from optimizer.router.v1 import router_pb2
from prometheus_client import REGISTRY

from common.errors import Invalid
from common.grpc_client import call
from common.postgres import connection
from services.router.store import forgetting, snapshots
from services.router.store.snapshot_format import pack
from services.router.store.snapshots import Snapshots
from tests.integration.router.learning_scene import MODEL, a_learner, closed, rate, taught
from tests.integration.router.router_stack import a_router, an_ask, read_all, until

START = "experiment:7"


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """A busy machine takes longer than a decision waits; who tests that says so."""
    monkeypatch.setattr(snapshots, "PATIENCE_S", 5.0)


def a_replica(pool):
    learned = a_learner(pool)
    return learned, Snapshots(pool, learned.known)


async def teach(pool, learned, stars, count=10):
    for _ in range(count):
        await rate(pool, await closed(pool), stars)
    await taught(learned)


async def kept(pool):
    async with connection(pool) as conn:
        return await conn.fetch("SELECT name, state FROM router.learned_snapshots ORDER BY name")


def missed():
    return REGISTRY.get_sample_value("optimizer_snapshots_missed_total")


async def test_what_is_learned_later_does_not_change_a_snapshot(pool):
    learned, frozen = a_replica(pool)
    await teach(pool, learned, 5)
    before = await frozen.at(START)

    await teach(pool, learned, 1)

    assert 10 == before.evidence[MODEL].outcomes
    assert 20 == learned.current.evidence[MODEL].outcomes
    assert before is await frozen.at(START)
    assert 20 == (await frozen.at("another")).evidence[MODEL].outcomes


async def test_a_replica_that_knows_more_and_one_that_has_just_started_agree(pool):
    learned, first = a_replica(pool)
    await teach(pool, learned, 5)
    before = await first.at(START)
    await teach(pool, learned, 1)
    (knows, second), (_, third) = a_replica(pool), a_replica(pool)
    await knows.refresh()

    assert {pack(before)} == {pack(await one.at(START)) for one in (second, third)}


async def test_a_router_that_has_just_started_takes_what_was_learned_before(pool):
    learned, _ = a_replica(pool)
    await teach(pool, learned, 5)
    _, restarted = a_replica(pool)

    assert 10 == (await restarted.at(START)).evidence[MODEL].outcomes


async def test_all_who_ask_first_at_once_get_one(pool):
    replicas = [a_replica(pool) for _ in range(3)]
    for n, (learned, _) in enumerate(replicas):  # they do not know the same
        await teach(pool, learned, 5, count=n + 1)

    found = await asyncio.gather(*(one.at(START) for _ in range(20) for _, one in replicas))

    assert 1 == len({pack(one) for one in found})
    assert 3 == len(set(map(id, found)))  # each replica read it once
    assert [START] == [row["name"] for row in await kept(pool)]


async def test_few_stay_in_memory_and_the_others_are_read_again(pool, monkeypatch):
    monkeypatch.setattr(snapshots, "MOST_KEPT", 2)
    _, frozen = a_replica(pool)
    first, second = await frozen.at("first"), await frozen.at("second")
    await frozen.at("first")
    await frozen.at("third")

    assert first is await frozen.at("first")
    again = await frozen.at("second")
    assert second is not again
    assert pack(second) == pack(again)


async def test_a_corrupt_snapshot_is_the_prior(pool):
    learned, frozen = a_replica(pool)
    await teach(pool, learned, 5)
    async with connection(pool) as conn:
        await conn.execute(
            "INSERT INTO router.learned_snapshots (name, state) VALUES ($1, $2)", START, b"garbage"
        )

    assert {} == (await frozen.at(START)).evidence


async def test_a_snapshot_is_forgotten_after_400_days(pool):
    _, frozen = a_replica(pool)
    for name in ("old", "new"):
        await frozen.at(name)
    async with connection(pool) as conn:
        await conn.execute(
            "UPDATE router.learned_snapshots SET taken_at = now() - interval '401 days'"
            " WHERE name = 'old'"
        )

    await forgetting.drop_old(pool)

    assert ["new"] == [row["name"] for row in await kept(pool)]


async def test_while_postgres_is_silent_what_is_learned_now_decides(pool, database, monkeypatch):
    learned, frozen = a_replica(pool)
    await teach(pool, learned, 5)
    await frozen.at("in memory")
    before = missed()
    monkeypatch.setattr(snapshots, "PATIENCE_S", 1.0)

    with database.paused():
        began = time.monotonic()
        assert await asyncio.gather(*(frozen.at(START) for _ in range(5))) == [None] * 5
        assert time.monotonic() - began < 3  # together, not one after the other
        began = time.monotonic()
        assert await frozen.at(START) is None
        assert time.monotonic() - began < 0.5  # nobody waits for it twice
        assert await frozen.at("in memory") is not None

    assert 6 == missed() - before
    monkeypatch.setattr(snapshots, "PATIENCE_S", 5.0)

    async def there():
        return await frozen.at(START)

    assert 10 == (await until(there)).evidence[MODEL].outcomes


async def frozen_decision(router, snapshot, prompt="What is the capital of France?"):
    ask = an_ask(prompt, strategy="learning", parameters={"preset": "quality"})
    ask.strategy.snapshot = snapshot
    answer = await router.complete(ask=ask)
    return answer.outcome.model, orjson.loads(answer.outcome.decision_json)


async def disappoint(router, model="acme/large"):
    """Have bad outcomes of *model* learned and believed."""
    learned = router.service.learned
    for _ in range(15):
        await rate(router.service.pool, await closed(router.service.pool, model=model), 1)
    assert await learned.follower.catch_up(5)
    await learned.refresh()


async def test_frozen_decisions_stay_as_they_were_over_a_restart(
    router, sandbox, database, tmp_path
):
    assert "acme/large" == (await frozen_decision(router, START))[0]

    await disappoint(router)

    assert "acme/small" == (await frozen_decision(router, ""))[0]
    model, explanation = await frozen_decision(router, START)
    assert ("acme/large", START) == (model, explanation["snapshot"])
    folder = tmp_path / "another"
    folder.mkdir()
    async with a_router(sandbox, database, folder) as restarted:
        assert "acme/large" == (await frozen_decision(restarted, START))[0]
        assert "acme/small" == (await frozen_decision(restarted, "taken-later"))[0]


async def test_streams_and_dry_runs_are_frozen_as_well(router):
    asks = [an_ask(strategy="learning", parameters={"preset": "quality"}) for _ in range(2)]
    for ask in asks:
        ask.strategy.snapshot = START
    await frozen_decision(router, START)
    await disappoint(router)

    started = (await read_all(router.stream(ask=asks[0])))[0].started

    assert "acme/large" == started.model
    decided = await call(router.stub.Decide, router_pb2.DecideRequest(ask=asks[1]), timeout_s=5)
    assert "acme/large" == decided.model


async def test_completions_go_on_without_a_snapshot_while_postgres_is_silent(router, database):
    await router.complete()

    with database.paused():
        model, explanation = await frozen_decision(router, START)

    assert model == "acme/large"
    assert "snapshot" not in explanation

    async def frozen():
        return (await frozen_decision(router, START))[1].get("snapshot")

    assert START == await until(frozen)


@pytest.mark.parametrize("name", ["Start", "a b", "ä", "x" * 101, "a\n"])
async def test_a_snapshot_needs_a_name(router, name):
    ask = an_ask()
    ask.strategy.snapshot = name

    with pytest.raises(Invalid, match="snapshot"):
        await router.complete(ask=ask)


async def test_what_was_decided_with_a_snapshot_is_not_cached(caching):
    ask = an_ask(strategy="cheapest", use_cache=True)
    ask.strategy.snapshot = START

    assert "" == (await caching.complete(ask=ask)).outcome.cache_key
