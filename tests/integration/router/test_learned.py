"""Learning: each rating counts once, in its last revision, whoever applies it."""

import asyncio
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from common.ids import new_id
from common.migrate import migrate
from common.postgres import close_pool, connection, open_pool
from common.settings import ServiceSettings
from services.router.domain.entries import Kind, Row
from services.router.domain.learning import NOTHING_LEARNED, Evidence
from services.router.store import feedback_rows, ledger_table
from services.router.store.learned import Learned
from tests.router_builders import a_catalog, a_model

MIGRATIONS = Path(__file__).parents[3] / "services/router/migrations"
CELL = ("acme/one", "moderate")


@pytest.fixture
async def pool(database):
    await migrate(database.url("router"), "router", MIGRATIONS)
    settings = ServiceSettings(
        database_url=database.url("router"), internal_token="t", database_acquire_timeout_s=1
    )
    pool = await open_pool(settings)
    async with connection(pool) as conn:
        await ledger_table.begin_epoch(conn)
    yield pool
    await close_pool(pool)


async def closed(pool, *, model="acme/one", tier="moderate", tokens=0):
    """Record a request that was settled and closed; return its id."""
    request_id = new_id()
    shared = {
        "request_id": request_id,
        "recorded_at": datetime.now(UTC),
        "tenant": "a-key",
        "model": model,
        "outcome": "ok",
        "output_tokens": tokens,
    }
    details = {"complexity": {"tier": tier}} if tier else None
    rows = [
        Row(kind=Kind.SETTLED, attempt_id=new_id(), **shared),
        Row(kind=Kind.CLOSED, attempt_id=request_id, details=details, **shared),
    ]
    async with connection(pool) as conn:
        await ledger_table.add(conn, ledger_table.encode(rows))
    return request_id


async def rate(pool, request_id, stars):
    async with connection(pool) as conn:
        await feedback_rows.add(conn, request_id, "a-key", {"quality_score": stars})


async def test_ratings_become_evidence(pool):
    learned = Learned(pool)
    for stars in (5, 5, 3):
        await rate(pool, await closed(pool), stars)
    await rate(pool, await closed(pool, tier="complex"), 1)

    assert await learned.follower.catch_up(5)

    expected = {CELL: Evidence(3, 2.5), ("acme/one", "complex"): Evidence(1, 0)}
    assert expected == learned.current.evidence


async def test_only_the_last_revision_counts(pool):
    learned = Learned(pool)
    request_id = await closed(pool)
    await rate(pool, request_id, 5)
    assert await learned.follower.catch_up(5)
    await rate(pool, request_id, 4)
    await rate(pool, request_id, 2)

    assert await learned.follower.catch_up(5)

    assert {CELL: Evidence(1, 0.25)} == learned.current.evidence


async def test_two_replicas_and_a_restart_count_each_rating_once(pool):
    replicas = [Learned(pool), Learned(pool)]
    for _ in range(20):
        await rate(pool, await closed(pool), 5)
        assert all(await asyncio.gather(*(one.follower.catch_up(5) for one in replicas)))

    restarted = Learned(pool)
    assert await restarted.follower.catch_up(5)
    await restarted.refresh()

    assert {CELL: Evidence(20, 20)} == restarted.current.evidence


async def test_the_same_page_applied_again_changes_nothing(pool):
    learned = Learned(pool)
    await rate(pool, await closed(pool), 5)
    page = await learned.read("", 10)

    async with connection(pool) as conn:
        await learned.apply(conn, page.rows)
        await learned.apply(conn, page.rows)
    await learned.refresh()

    assert {CELL: Evidence(1, 1)} == learned.current.evidence


@pytest.mark.parametrize("tier", [None, "hopeless"])
async def test_feedback_without_a_known_difficulty_holds_nothing_up(pool, tier):
    learned = Learned(pool)
    await rate(pool, await closed(pool, tier=tier), 5)
    await rate(pool, await closed(pool), 5)

    assert await learned.follower.catch_up(5)

    assert {CELL: Evidence(1, 1)} == learned.current.evidence


@pytest.mark.parametrize("stars", [None, 0, 6, "5", math.pi])
async def test_a_score_that_is_none_holds_nothing_up(pool, stars):
    learned = Learned(pool)
    await rate(pool, await closed(pool), stars)
    await rate(pool, await closed(pool), 5)

    assert await learned.follower.catch_up(5)

    assert {CELL: Evidence(1, 1)} == learned.current.evidence


@pytest.mark.parametrize(("weight", "total"), [("NaN", 1), (-5, -5), (10, 11), ("Infinity", 1)])
async def test_a_corrupt_cell_is_refused_and_the_prior_stands(pool, weight, total):
    async with connection(pool) as conn:
        await conn.execute(
            "INSERT INTO router.learned (model, difficulty, weight, total)"
            " VALUES ('acme/one', 'moderate', $1, $2), ('acme/two', 'moderate', 2, 1)",
            float(weight),
            float(total),
        )
    learned = Learned(pool)

    await learned.refresh()

    assert {("acme/two", "moderate"): Evidence(2, 1)} == learned.current.evidence


async def test_answers_are_expected_as_long_as_they_were(pool):
    learned = Learned(pool)
    for tokens in (10, 30):
        await closed(pool, tokens=tokens)

    await learned.refresh()

    assert {"acme/one": 20} == learned.current.output_tokens


async def test_a_silent_postgres_leaves_what_was_known_and_learning_goes_on_after(pool, database):
    learned = Learned(pool, refresh_every_s=0.05)
    await rate(pool, await closed(pool), 5)
    running = asyncio.create_task(learned.run())
    await until(lambda: learned.current.evidence == {CELL: Evidence(1, 1)})

    with database.paused():
        await asyncio.sleep(1.5)  # longer than a connection is waited for
        assert {CELL: Evidence(1, 1)} == learned.current.evidence
        assert not running.done()
    await rate(pool, await closed(pool), 1)

    await until(lambda: learned.current.evidence == {CELL: Evidence(2, 1)})
    running.cancel()


async def test_the_status_names_every_chat_model_and_difficulty(pool):
    learned = Learned(pool)
    embed = a_model("acme/embed", capabilities=frozenset({"embeddings"}))
    catalog = a_catalog(a_model("acme/one", capability=0.7), embed)
    assert NOTHING_LEARNED == learned.current
    await rate(pool, await closed(pool), 1)
    assert await learned.follower.catch_up(5)

    simple, moderate, hard = learned.status(catalog)

    assert ("acme/one", "simple", 0) == (simple.model, simple.difficulty, simple.evidence)
    assert 1 == moderate.evidence
    assert hard.quality == pytest.approx(1 - 0.9 * 0.3)
    assert moderate.quality < 1 - 0.35 * 0.3


async def until(condition, timeout_s=10):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  memory tells nobody
            await asyncio.sleep(0.02)
