"""Learning: each rating counts once, in its last revision, whoever applies it."""

import asyncio
import math
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest

from common.ids import new_id
from common.migrate import migrate
from common.postgres import close_pool, connection, open_pool
from common.settings import ServiceSettings
from services.router.domain import refit
from services.router.domain.beliefs import NOTHING_LEARNED
from services.router.domain.complexity import complexity_of
from services.router.domain.entries import Kind, Row
from services.router.domain.learning import NO_EVIDENCE
from services.router.domain.vector import packed, vector_of
from services.router.store import feedback_rows, ledger_table
from services.router.store.learned import Learned
from tests.router_builders import a_catalog, a_model, evidence_of

MIGRATIONS = Path(__file__).parents[3] / "services/router/migrations"
MODEL = "acme/one"
EASY = vector_of(complexity_of("What is the capital of France?"))
HARD = vector_of(complexity_of("Prove that there are infinitely many primes, step by step. " * 4))


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


def features(phi):
    return b64encode(packed(phi)).decode()


KEPT = features(EASY)


async def closed(pool, *, model=MODEL, kept=KEPT, tokens=0, role="plain", score=0.5, baseline=None):
    """Record a request that was settled and closed; return its id."""
    request_id = new_id()
    shared = {
        "request_id": request_id,
        "recorded_at": datetime.now(UTC),
        "tenant": "a-key",
        "model": model,
        "outcome": "ok",
        "output_tokens": tokens,
        "baseline_cost_nano_usd": baseline,
    }
    details = {"learning": {"features": kept, "role": role, "score": score}} if kept else None
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


def known(learned):
    """Say of each model how many outcomes were learned, and their sum."""
    evidence = learned.current.evidence
    return {
        model: (one.outcomes, pytest.approx(one.vector[0], rel=1e-5))
        for model, one in evidence.items()
    }


async def test_ratings_become_evidence(pool):
    learned = Learned(pool)
    for stars in (5, 5, 3):
        await rate(pool, await closed(pool), stars)
    await rate(pool, await closed(pool, model="acme/two", kept=features(HARD)), 1)

    assert await learned.follower.catch_up(5)

    expected = evidence_of(EASY, 1.0, 2).learn(EASY, 0.5)
    assert {MODEL, "acme/two"} == set(learned.current.evidence)
    assert learned.current.evidence[MODEL].vector == pytest.approx(expected.vector, abs=1e-4)
    assert learned.current.evidence[MODEL].matrix == pytest.approx(expected.matrix, abs=1e-4)
    assert 0 == learned.current.evidence["acme/two"].vector[0]


async def test_what_was_rated_is_believed_of_alike_prompts(pool):
    learned = Learned(pool)
    for _ in range(10):
        await rate(pool, await closed(pool), 1)

    assert await learned.follower.catch_up(5)

    believed = learned.current.of(a_model(MODEL, capability=0.9))
    assert believed.expect(EASY)[0] < 0.5 < believed.expect(HARD)[0] + 0.2


async def test_only_the_last_revision_counts(pool):
    learned = Learned(pool)
    request_id = await closed(pool)
    await rate(pool, request_id, 5)
    assert await learned.follower.catch_up(5)
    await rate(pool, request_id, 4)
    await rate(pool, request_id, 2)

    assert await learned.follower.catch_up(5)

    assert {MODEL: (1, 0.25)} == known(learned)


async def test_two_replicas_and_a_restart_count_each_rating_once(pool):
    replicas = [Learned(pool), Learned(pool)]
    for _ in range(20):
        await rate(pool, await closed(pool), 5)
        assert all(await asyncio.gather(*(one.follower.catch_up(5) for one in replicas)))

    restarted = Learned(pool)
    assert await restarted.follower.catch_up(5)
    await restarted.refresh()

    assert {MODEL: (20, evidence_of(EASY, 1.0, 20).vector[0])} == known(restarted)


async def test_the_same_page_applied_again_changes_nothing(pool):
    learned = Learned(pool)
    await rate(pool, await closed(pool), 5)
    page = await learned.read("", 10)

    async with connection(pool) as conn:
        await learned.apply(conn, page.rows)
        await learned.apply(conn, page.rows)
    await learned.refresh()

    assert {MODEL: (1, 1)} == known(learned)


@pytest.mark.parametrize("kept", [None, "hopeless", "AAAA", 7, ["x"]])
async def test_feedback_without_features_holds_nothing_up(pool, kept):
    learned = Learned(pool)
    await rate(pool, await closed(pool, kept=kept), 5)
    await rate(pool, await closed(pool), 5)

    assert await learned.follower.catch_up(5)

    assert {MODEL: (1, 1)} == known(learned)


@pytest.mark.parametrize("stars", [None, 0, 6, "5", math.pi])
async def test_a_score_that_is_none_holds_nothing_up(pool, stars):
    learned = Learned(pool)
    await rate(pool, await closed(pool), stars)
    await rate(pool, await closed(pool), 5)

    assert await learned.follower.catch_up(5)

    assert {MODEL: (1, 1)} == known(learned)


@pytest.mark.parametrize("state", [b"", b"garbage", b"\xff" * len(NO_EVIDENCE.pack())])
async def test_a_corrupt_cell_is_refused_the_prior_stands_and_learning_starts_again(pool, state):
    good = evidence_of(EASY, 0.5, 2).pack()
    async with connection(pool) as conn:
        await conn.execute(
            "INSERT INTO router.evidence (model, state) VALUES ($1, $2), ('acme/two', $3)",
            MODEL,
            state,
            good,
        )
        await conn.execute(
            "INSERT INTO router.corrections (model, correction, outcomes) VALUES ($1, $2, 1)",
            MODEL,
            state,
        )
    learned = Learned(pool)

    await learned.refresh()

    assert {"acme/two"} == set(learned.current.evidence)
    assert {} == learned.current.corrections
    await rate(pool, await closed(pool), 5)
    assert await learned.follower.catch_up(5)
    assert (1, 1) == known(learned)[MODEL]


async def test_the_prior_is_fitted_anew_once_there_is_enough(pool, monkeypatch):
    monkeypatch.setattr(refit, "FIRST_AT", 120)
    catalog = a_catalog(a_model(MODEL, capability=0.9))
    replicas = [Learned(pool, lambda: catalog), Learned(pool, lambda: catalog)]
    for n in range(120):
        phi, stars = ((EASY, 5), (HARD, 1))[n % 2]
        await rate(pool, await closed(pool, kept=features(phi)), stars)

    assert all(await asyncio.gather(*(one.follower.catch_up(5) for one in replicas)))
    for one in replicas:
        await one.refresh()

    corrections = [one.current.corrections[MODEL] for one in replicas]
    assert corrections[0] == pytest.approx(corrections[1])
    assert corrections[0] @ EASY > 0 > corrections[0] @ HARD


async def test_hybrid_that_does_worse_falls_back(pool):
    learned = Learned(pool)
    for role, stars in (("treated", 1), ("control", 5)):
        for _ in range(15):
            await rate(pool, await closed(pool, role=role), stars)

    assert await learned.follower.catch_up(5)

    assert learned.current.fallen_back


async def test_tiers_are_cut_by_the_newest_prompts(pool):
    learned = Learned(pool)
    for n in range(250):
        await closed(pool, score=2 + n / 1_000)

    await learned.refresh()

    assert (250, 2.1) == (
        learned.current.thresholds.prompts,
        pytest.approx(learned.current.thresholds.moderate),
    )


async def test_answers_are_expected_as_long_as_they_were(pool):
    learned = Learned(pool)
    for tokens in (10, 30):
        await closed(pool, tokens=tokens)

    await learned.refresh()

    assert {"acme/one": 20} == learned.current.output_tokens


async def test_long_answers_are_expected_where_they_were_rated(pool):
    learned = Learned(pool)
    for _ in range(30):
        await rate(pool, await closed(pool, tokens=10), 5)
        await rate(pool, await closed(pool, kept=features(HARD), tokens=1_000), 5)
    assert await learned.follower.catch_up(5)

    short, long = (learned.current.answer_tokens(a_model(MODEL), phi) for phi in (EASY, HARD))

    assert {MODEL} == set(learned.current.evidence)
    assert long > 10 * short


async def test_what_a_request_usually_costs_is_known(pool):
    learned = Learned(pool)
    for baseline in (100, 300):
        await closed(pool, baseline=baseline)

    await learned.refresh()

    assert 200 == learned.current.usual_cost_nano_usd


async def test_a_silent_postgres_leaves_what_was_known_and_learning_goes_on_after(pool, database):
    learned = Learned(pool, refresh_every_s=0.05)
    await rate(pool, await closed(pool), 5)
    running = asyncio.create_task(learned.run())
    await until(lambda: known(learned) == {MODEL: (1, 1)})

    with database.paused():
        await asyncio.sleep(1.5)  # longer than a connection is waited for
        assert {MODEL: (1, 1)} == known(learned)
        assert not running.done()
    await rate(pool, await closed(pool), 1)

    await until(lambda: known(learned).get(MODEL, [0])[0] == 2)
    running.cancel()


async def test_the_status_names_every_chat_model_and_difficulty(pool):
    learned = Learned(pool)
    embed = a_model("acme/embed", capabilities=frozenset({"embeddings"}))
    catalog = a_catalog(a_model("acme/one", capability=0.7), embed)
    assert NOTHING_LEARNED == learned.current
    await rate(pool, await closed(pool), 1)
    assert await learned.follower.catch_up(5)

    simple, moderate, hard = learned.status(catalog)

    assert [("acme/one", "simple"), ("acme/one", "complex")] == [
        (one.model, one.difficulty) for one in (simple, hard)
    ]
    assert 1 == moderate.evidence
    assert simple.quality > moderate.quality > hard.quality


async def until(condition, timeout_s=10):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  memory tells nobody
            await asyncio.sleep(0.02)
