"""What is seen without anybody saying it, and how much one user may say."""

from datetime import UTC, datetime, timedelta

import pytest

from common.postgres import connection
from services.router.domain.verifier import NAMES, vector_of
from services.router.store import forgetting
from tests.integration.router.learning_scene import (
    CATALOG,
    EASY,
    HARD,
    MODEL,
    a_learner,
    closed,
    features,
    judgements,
    known,
    rate,
    taught,
)


@pytest.mark.parametrize("sign", ["empty", "refused", "invalid_json"])
async def test_a_sign_of_a_bad_answer_counts_like_a_bad_rating(pool, sign):
    await closed(pool, signs=[sign, "unheard of"])
    learned = a_learner(pool)
    await taught(learned)

    assert [(MODEL, sign, 0.0, 1.0)] == await judgements(pool)
    assert 0.05 < learned.current.fault_ratio(CATALOG.models[MODEL], EASY)
    assert {} == known(learned)  # nobody has said anything


async def test_models_that_failed_on_the_way_are_held_to_it(pool):
    await closed(pool, model="acme/two", failed=[MODEL, 7])
    await closed(pool, model=None, outcome="failed", failed=[MODEL])
    learned = a_learner(pool)
    await taught(learned)

    assert [(MODEL, "failed", 0.0, 1.0)] * 2 == await judgements(pool)


@pytest.mark.parametrize(("failures", "share"), [(1, 0.01), (100, 0.5)])
@pytest.mark.parametrize("rated", [0, 20])
async def test_failures_weigh_what_their_share_is_however_many_are_rated(
    pool, failures, share, rated
):
    """Bad news only: among few ratings, one failure in a hundred would be all there is."""
    for n in range(100):
        request_id = await closed(pool)
        if n < rated:
            await rate(pool, request_id, 5)
        if n < failures:
            await closed(pool, signs=["empty"])
    learned = a_learner(pool)
    await taught(learned)

    without = learned.current.of(CATALOG.models[MODEL]).expect(EASY)[0]
    assert pytest.approx(share, abs=0.06) == learned.current.fault_ratio(
        CATALOG.models[MODEL], EASY
    )
    moderate = next(one for one in learned.status().models if one.difficulty == "moderate")
    assert moderate.quality < without


async def test_a_rating_takes_the_place_of_what_was_seen(pool):
    learned = a_learner(pool)
    request_id = await closed(pool, signs=["refused"])
    await taught(learned)
    await rate(pool, request_id, 5)
    await taught(learned)

    assert [(MODEL, "stars", 1.0, 1.0)] == await judgements(pool)
    assert {MODEL: (1, 1)} == known(learned)
    assert 0 == learned.current.fault_ratio(CATALOG.models[MODEL], EASY)


async def test_who_asks_the_same_again_was_not_served(pool):
    now = datetime.now(UTC)
    for minutes in (50, 49, 30):  # the third comes too late to be about the first two
        await closed(pool, user="ada", at=now - timedelta(minutes=minutes))
    await closed(pool, user="bo", at=now - timedelta(minutes=29))
    await closed(pool, user="ada", at=now - timedelta(minutes=28), kept=features(HARD))
    await closed(
        pool, user="ada", at=now - timedelta(minutes=27), kept=features(HARD), cache_hit=True
    )
    await taught(a_learner(pool))

    [(model, source, outcome, weight)] = await judgements(pool)
    assert (MODEL, "regenerated", 0.2) == (model, source, outcome)
    assert 0.3 == weight


async def test_asking_again_in_another_page_and_on_another_replica_counts_as_well(pool):
    replicas = [a_learner(pool), a_learner(pool)]
    for one in replicas:
        await closed(pool, user="ada")
        await taught(one)

    assert ["regenerated"] == [source for _, source, *_ in await judgements(pool)]


async def test_a_user_who_rated_and_asks_again_has_said_enough(pool):
    learned = a_learner(pool)
    await rate(pool, await closed(pool, user="ada"), 4)
    await taught(learned)
    await closed(pool, user="ada")
    await taught(learned)

    assert ["stars"] == [source for _, source, *_ in await judgements(pool)]


async def test_one_user_is_never_more_than_a_fifth(pool):
    learned = a_learner(pool)
    for _ in range(50):
        await rate(pool, await closed(pool, user="loud"), 1)
    await taught(learned)
    alone = learned.current.evidence[MODEL].weight
    for n in range(40):
        await rate(pool, await closed(pool, user=f"user {n}"), 5)
    for _ in range(50):
        await rate(pool, await closed(pool, user="loud"), 1)
    await taught(learned)

    everyone = learned.current.evidence[MODEL].weight
    loud = everyone - learned.current.evidence[MODEL].vector[0]  # all others gave five stars
    assert alone <= 0.2 * (alone + 8) + 1e-6
    assert 0.15 * (everyone + 8) < loud <= 0.2 * (everyone + 8) + 1e-6


async def test_users_without_a_name_cannot_be_told_apart(pool):
    learned = a_learner(pool)
    for _ in range(20):
        await rate(pool, await closed(pool), 5)
    await taught(learned)

    assert 20 == learned.current.evidence[MODEL].outcomes
    assert 19 < learned.current.evidence[MODEL].weight


async def test_checks_of_a_cascade_are_learned_from_what_was_said(pool):
    learned = a_learner(pool)
    checks = {"answered": 1.0, "unworked": 1.0, "made up": 5, "truncated": "x"}
    for n in range(20):
        escalated = n % 2 == 0  # and rated well: then the first answer was wrong
        request_id = await closed(pool, checks=checks, escalated=escalated, agreed=False)
        await rate(pool, request_id, 5 if escalated else 1)
    await taught(learned)

    seen = {"answered": 1.0, "unworked": 1.0}
    vector = vector_of(dict.fromkeys(NAMES, 0.0) | seen)
    assert 20 == learned.current.verdicts.outcomes
    assert learned.current.verdict.expect(vector)[0] > 0.6


async def test_pages_without_anything_to_learn_move_the_cursor(pool):
    learned = a_learner(pool)
    for _ in range(3):
        await closed(pool, kept=None)
    await taught(learned)
    page = await learned.read(await learned.follower._cursor(), 100)

    assert ([], False) == (list(page.rows), page.more)


async def test_retention_waits_for_learning(pool):
    learned = a_learner(pool)
    await rate(pool, await closed(pool), 5)
    await taught(learned)
    learned._reader._noted.clear()
    await learned.read(await learned.follower._cursor(), 100)

    async with connection(pool) as conn:
        readers = await conn.fetch("SELECT consumer FROM router.ledger_readers")
    assert ["router"] == [row["consumer"] for row in readers]


async def test_what_nobody_asks_for_is_dropped_in_time(pool):
    learned = a_learner(pool)
    await rate(pool, await closed(pool, user="ada"), 5)
    await taught(learned)

    async def counts():
        async with connection(pool) as conn:
            row = await conn.fetchrow(
                "SELECT (SELECT count(*) FROM router.judgements),"
                "       (SELECT count(*) FROM router.evidence_shares),"
                "       (SELECT count(*) FROM router.last_asked)"
            )
        return list(row)

    await forgetting.drop_old(pool)
    kept = await counts()
    async with connection(pool) as conn:
        await conn.execute("UPDATE router.judgements SET occurred_at = now() - interval '91 days'")
        await conn.execute("UPDATE router.evidence_shares SET updated_at = now() - interval '91 d'")
        await conn.execute("UPDATE router.last_asked SET asked_at = now() - interval '2 hours'")
    await forgetting.drop_old(pool)

    assert ([1, 1, 1], [0, 0, 0]) == (kept, await counts())
