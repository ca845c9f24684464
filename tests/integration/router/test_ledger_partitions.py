"""The ledger's days: made ahead by whoever comes first, dropped when old and read by everyone."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from common.ids import first_id_at
from services.router.store import ledger_table, partitions
from services.router.store.ledger_reader import LedgerReader
from services.router.store.reaper import Reaper
from tests.ledger_builders import Follower, a_ledger_database, a_row

OLD = datetime.now(UTC) - timedelta(days=30)


@pytest.fixture
async def pool(database):
    async with a_ledger_database(database.url("router")) as pool:
        yield pool


async def days(pool):
    found = await pool.fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'router.ledger'::regclass ORDER BY 1"
    )
    return [r["relname"].removeprefix("ledger_p") for r in found]


async def add(pool, *rows):
    async with pool.acquire() as conn:
        await ledger_table.add(conn, ledger_table.encode(rows))


async def everyone_reads(pool, *consumers):
    await Reaper(pool).make_round()
    clock = iter(range(0, 1000, 10))
    reader = LedgerReader(pool, clock=lambda: next(clock))
    for consumer in consumers:
        page = await reader.read(consumer, "", 100)
        await reader.read(consumer, page.next_cursor, 100)  # its effects are durable by now


async def test_replicas_that_race_make_each_day_once(pool):
    before = datetime.now(UTC).date()
    await asyncio.gather(*(partitions.make_ahead(pool) for _ in range(4)))
    after = datetime.now(UTC).date()  # it may have become tomorrow

    expected = [
        [f"{day:%Y%m%d}" for day in partitions.days_ahead(today)] for today in (before, after)
    ]
    assert await days(pool) in expected


async def test_an_old_day_is_dropped_once_everyone_has_read_it(pool):
    await add(pool, a_row(attempt_id=first_id_at(OLD)), a_row())
    await everyone_reads(pool, "metrics", "gateway")

    dropped = await partitions.drop_expired(pool, keep_days=7, readers=["metrics", "gateway"])

    assert [OLD.date()] == dropped
    assert 1 == len(await Follower(pool).catch_up())


@pytest.mark.parametrize("missing", ["slow", "absent"])
async def test_retention_never_passes_the_slowest_reader(pool, missing):
    await add(pool, a_row(attempt_id=first_id_at(OLD)))
    await everyone_reads(pool, "metrics")
    if missing == "slow":
        await LedgerReader(pool).read("gateway", "", 100)  # asked, nothing durable yet

    assert [] == await partitions.drop_expired(pool, keep_days=7, readers=["metrics", "gateway"])


async def test_retention_waits_for_the_reaper(pool):
    await add(pool, a_row(attempt_id=first_id_at(OLD)))

    assert [] == await partitions.drop_expired(pool, keep_days=7, readers=[])


async def test_young_days_are_kept(pool):
    await add(pool, a_row())
    await everyone_reads(pool, "metrics")

    assert [] == await partitions.drop_expired(pool, keep_days=2, readers=["metrics"])


async def test_two_replicas_drop_a_day_once(pool):
    await add(pool, a_row(attempt_id=first_id_at(OLD)))
    await everyone_reads(pool, "metrics")

    dropped = await asyncio.gather(
        *(partitions.drop_expired(pool, keep_days=7, readers=["metrics"]) for _ in range(2))
    )

    assert [OLD.date()] == [day for some in dropped for day in some]


async def test_a_day_is_not_dropped_under_an_open_reader(pool):
    await add(pool, a_row(attempt_id=first_id_at(OLD)))
    await everyone_reads(pool, "metrics")

    async with pool.acquire() as conn, conn.transaction():
        await conn.fetch("SELECT FROM router.ledger")
        dropped = await partitions.drop_expired(pool, keep_days=7, readers=["metrics"])

    assert [] == dropped
