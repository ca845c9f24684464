"""Price sets: kept once under their version, by however many replicas at once."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import Failure
from common.migrate import migrate
from common.postgres import close_pool, connection, open_pool
from common.settings import ServiceSettings
from services.router.store.price_list import with_version
from services.router.store.prices import Prices
from tests.router_builders import a_model

MIGRATIONS = Path(__file__).parents[3] / "services/router/migrations"
MODELS = with_version([a_model("acme/one", usd=1), a_model("acme/two", usd=None)])


@pytest.fixture
async def pool(database):
    await migrate(database.url("router"), "router", MIGRATIONS)
    settings = ServiceSettings(
        database_url=database.url("router"),
        internal_token="t",
        database_acquire_timeout_s=0.5,
        database_statement_timeout_s=0.5,
    )
    pool = await open_pool(settings)
    yield pool
    await close_pool(pool)


async def kept(pool):
    async with connection(pool) as conn:
        rows = await conn.fetch(
            "SELECT version, model, input_nano_usd, cached_input_nano_usd, output_nano_usd, source"
            " FROM router.prices ORDER BY taken_at, model"
        )
    return [tuple(row) for row in rows]


async def test_a_set_is_kept_once_by_racing_replicas(pool):
    await asyncio.gather(*(Prices(pool).keep(MODELS) for _ in range(8)))

    version = MODELS[0].price.version
    expected = [(version, "acme/one", 1_000_000_000, 100_000_000, 4_000_000_000, "catalog")]
    assert expected == await kept(pool)


async def test_changed_prices_are_another_set_and_the_old_one_stays(pool):
    dearer = with_version([replace(MODELS[0], price=replace(MODELS[0].price, input=7))])
    await Prices(pool).keep(MODELS)

    await Prices(pool).keep(dearer)
    await Prices(pool).keep(MODELS)

    assert [MODELS[0].price.version, dearer[0].price.version] == [
        row[0] for row in await kept(pool)
    ]


async def test_nothing_priced_is_nothing_to_keep(pool):
    await Prices(pool).keep([a_model("acme/two", usd=None)])

    assert [] == await kept(pool)


async def test_a_silent_postgres_is_a_failure_we_know(pool, database):
    with database.paused(), pytest.raises(Failure):
        await Prices(pool).keep(MODELS)
