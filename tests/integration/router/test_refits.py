"""The prior is fitted anew: when there is enough, every week, and when somebody asks."""

import asyncio

import pytest

from common.errors import Conflict
from common.postgres import connection, transaction
from services.router.domain import refit
from services.router.store import refits
from tests.integration.router.learning_scene import (
    EASY,
    HARD,
    MODEL,
    a_learner,
    closed,
    features,
    rate,
    taught,
)
from tests.router_builders import a_catalog, a_model


async def two_sided(pool, count):
    for n in range(count):
        phi, stars = ((EASY, 5), (HARD, 1))[n % 2]
        await rate(pool, await closed(pool, kept=features(phi)), stars)


async def corrections(pool):
    async with connection(pool) as conn:
        return await conn.fetch("SELECT model, correction, outcomes FROM router.corrections")


async def test_the_prior_is_fitted_anew_once_there_is_enough(pool, monkeypatch):
    monkeypatch.setattr(refit, "FIRST_AT", 120)
    replicas = [a_learner(pool), a_learner(pool)]
    await two_sided(pool, 120)
    await taught(*replicas)

    await asyncio.gather(*(one._refit_if_due() for one in replicas), return_exceptions=True)
    for one in replicas:
        await one.refresh()

    found = [one.current.corrections[MODEL] for one in replicas]
    assert found[0] == pytest.approx(found[1])
    assert found[0] @ EASY > 0 > found[0] @ HARD
    async with connection(pool) as conn:
        assert not await refits.due(conn)


async def test_the_prior_is_fitted_anew_every_week(pool):
    learned = a_learner(pool)
    await two_sided(pool, 100)
    await taught(learned)
    await learned.retrain(dry_run=False)
    async with connection(pool) as conn:
        fresh = await refits.due(conn)
        await conn.execute("UPDATE router.corrections SET fitted_at = now() - interval '8 days'")
        old = await refits.due(conn)

    assert (False, True) == (fresh, old)


async def test_retraining_is_the_same_from_the_same_and_a_dry_run_changes_nothing(pool):
    learned = a_learner(pool)
    await two_sided(pool, 100)
    await taught(learned)

    dry = await learned.retrain(dry_run=True)
    untouched = await corrections(pool)
    wet = await learned.retrain(dry_run=False)
    first = await corrections(pool)
    again = await learned.retrain(dry_run=False)

    assert [] == untouched
    assert (dry.before, dry.after, 100) == (wet.before, wet.after, wet.outcomes)
    assert wet.before != wet.after == again.before == again.after
    assert first == await corrections(pool)
    assert 100 == learned.status().last_refit.outcomes


async def test_two_do_not_retrain_at_once(pool):
    learned = a_learner(pool)
    async with transaction(pool) as conn:
        assert await refits.take_turn(conn)

        with pytest.raises(Conflict, match="another router"):
            await learned.retrain(dry_run=False)


async def test_a_removed_model_is_left_out_and_remembered_if_it_comes_back(pool):
    await two_sided(pool, 100)
    both, alone = a_learner(pool), a_learner(pool, a_catalog(a_model("acme/new", capability=0.8)))
    await taught(both, alone)

    await alone.retrain(dry_run=False)
    without = alone.status().models
    believed = {one.model: (one.evidence, one.quality) for one in both.status().models}

    assert {"acme/new"} == {one.model for one in without}
    assert {0.0} == {one.evidence for one in without}  # it starts from its declaration
    assert believed[MODEL][0] > 80
