"""Learning: each rating counts once, in its last revision, whoever applies it."""

import asyncio
import math

import pytest

from common.postgres import connection
from services.router.domain.beliefs import NOTHING_LEARNED
from services.router.domain.learning import NO_EVIDENCE
from tests.integration.router.learning_scene import (
    EASY,
    HARD,
    MODEL,
    a_learner,
    closed,
    features,
    known,
    quality,
    rate,
    taught,
    until,
)
from tests.router_builders import a_catalog, a_model, evidence_of


async def test_ratings_become_evidence(pool):
    learned = a_learner(pool)
    for stars in (5, 5, 3):
        await rate(pool, await closed(pool), stars)
    await rate(pool, await closed(pool, model="acme/two", kept=features(HARD)), 1)

    await taught(learned)

    expected = evidence_of(EASY, 1.0, 2).learn(EASY, 0.5)
    assert {MODEL, "acme/two"} == set(learned.current.evidence)
    assert learned.current.evidence[MODEL].vector == pytest.approx(expected.vector, abs=1e-4)
    assert learned.current.evidence[MODEL].matrix == pytest.approx(expected.matrix, abs=1e-4)
    assert 0 == learned.current.evidence["acme/two"].vector[0]


async def test_what_was_rated_is_believed_of_alike_prompts(pool):
    learned = a_learner(pool)
    for _ in range(10):
        await rate(pool, await closed(pool), 1)

    await taught(learned)

    believed = learned.current.of(a_model(MODEL, capability=0.9))
    assert believed.expect(EASY)[0] < 0.5 < believed.expect(HARD)[0] + 0.2


async def test_only_the_last_revision_counts(pool):
    learned = a_learner(pool)
    request_id = await closed(pool)
    await rate(pool, request_id, 5)
    await taught(learned)
    await rate(pool, request_id, 4)
    await rate(pool, request_id, 2)

    await taught(learned)

    assert {MODEL: (1, 0.25)} == known(learned)


async def test_two_replicas_and_a_restart_count_each_rating_once(pool):
    replicas = [a_learner(pool), a_learner(pool)]
    for _ in range(20):
        await rate(pool, await closed(pool), 5)
        await taught(*replicas)

    restarted = a_learner(pool)
    await taught(restarted)

    assert {MODEL: (20, evidence_of(EASY, 1.0, 20).vector[0])} == known(restarted)
    assert known(restarted) == known(replicas[0]) == known(replicas[1])
    assert quality(restarted) == quality(replicas[0])


async def test_the_same_page_applied_again_changes_nothing(pool):
    learned = a_learner(pool)
    await rate(pool, await closed(pool), 5)
    page = await learned.read("", 10)

    async with connection(pool) as conn:
        await learned.apply(conn, page.rows)
        await learned.apply(conn, page.rows)
    await learned.refresh()

    assert {MODEL: (1, 1)} == known(learned)


@pytest.mark.parametrize("kept", [None, "hopeless", "AAAA", 7, ["x"]])
async def test_feedback_without_features_holds_nothing_up(pool, kept):
    learned = a_learner(pool)
    await rate(pool, await closed(pool, kept=kept), 5)
    await rate(pool, await closed(pool), 5)

    await taught(learned)

    assert {MODEL: (1, 1)} == known(learned)


@pytest.mark.parametrize("stars", [None, 0, 6, "5", math.pi])
async def test_a_score_that_is_none_holds_nothing_up(pool, stars):
    learned = a_learner(pool)
    await rate(pool, await closed(pool), stars)
    await rate(pool, await closed(pool), 5)

    await taught(learned)

    assert {MODEL: (1, 1)} == known(learned)


@pytest.mark.parametrize("state", [b"", b"garbage", b"\xff" * len(NO_EVIDENCE.pack())])
async def test_a_corrupt_cell_is_refused_the_prior_stands_and_learning_starts_again(pool, state):
    good = evidence_of(EASY, 0.5, 2).pack()
    async with connection(pool) as conn:
        await conn.execute(
            "INSERT INTO router.evidence (name, state) VALUES ($1, $2), ('acme/two', $3)",
            MODEL,
            state,
            good,
        )
        await conn.execute(
            "INSERT INTO router.corrections (model, correction, outcomes) VALUES ($1, $2, 1)",
            MODEL,
            state,
        )
    learned = a_learner(pool)

    await learned.refresh()

    assert {"acme/two"} == set(learned.current.evidence)
    assert {} == learned.current.corrections
    await rate(pool, await closed(pool), 5)
    await taught(learned)
    assert (1, 1) == known(learned)[MODEL]


async def test_hybrid_that_does_worse_falls_back(pool):
    learned = a_learner(pool)
    for role, stars in (("treated", 1), ("control", 5)):
        for _ in range(15):
            await rate(pool, await closed(pool, role=role), stars)

    await taught(learned)

    assert learned.current.fallen_back


async def test_tiers_are_cut_by_the_newest_prompts(pool):
    learned = a_learner(pool)
    for n in range(250):
        await closed(pool, score=2 + n / 1_000)

    await learned.refresh()

    assert (250, 2.1) == (
        learned.current.thresholds.prompts,
        pytest.approx(learned.current.thresholds.moderate),
    )


async def test_answers_are_expected_as_long_as_they_were(pool):
    learned = a_learner(pool)
    for tokens in (10, 30):
        await closed(pool, tokens=tokens)

    await learned.refresh()

    assert {"acme/one": 20} == learned.current.output_tokens


async def test_long_answers_are_expected_where_they_were(pool):
    learned = a_learner(pool)
    for _ in range(30):
        await closed(pool, tokens=10)
        await closed(pool, kept=features(HARD), tokens=1_000)
    await taught(learned)

    short, long = map(learned.current.length_ratio, (EASY, HARD))

    assert long > 10 * short


async def test_what_a_request_usually_costs_is_known(pool):
    learned = a_learner(pool)
    for baseline in (100, 300):
        await closed(pool, baseline=baseline)

    await learned.refresh()

    assert 200 == learned.current.usual_cost_nano_usd


async def test_a_silent_postgres_leaves_what_was_known_and_learning_goes_on_after(pool, database):
    learned = a_learner(pool, refresh_every_s=0.05)
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
    embed = a_model("acme/embed", capabilities=frozenset({"embeddings"}))
    learned = a_learner(pool, a_catalog(a_model(MODEL, capability=0.7), embed))
    assert NOTHING_LEARNED == learned.current
    await rate(pool, await closed(pool), 1)
    await taught(learned)

    simple, moderate, hard = learned.status().models

    assert [(MODEL, "simple"), (MODEL, "complex")] == [
        (one.model, one.difficulty) for one in (simple, hard)
    ]
    assert (1, 1) == (moderate.evidence, moderate.outcomes)
    assert simple.quality > moderate.quality > hard.quality
    assert 0 < moderate.spread < 0.3
