"""The ledger's reading side: one order that never changes, whoever writes, whatever is restored."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from common.errors import Invalid
from common.ids import new_id
from services.router.domain.entries import Kind
from services.router.store import learning_rows, ledger_table
from services.router.store.ledger_reader import MAX_PAGE_BYTES, LedgerReader
from tests.ledger_builders import Follower, a_ledger, a_ledger_database, a_pool, a_row, keys


@pytest.fixture
async def pool(database):
    async with a_ledger_database(database.url("router")) as pool:
        yield pool


async def add(pool, *rows):
    async with pool.acquire() as conn:
        await ledger_table.add(conn, ledger_table.encode(rows))


async def test_pages_follow_each_other_without_gap_or_repetition(pool):
    rows = [a_row() for _ in range(25)]
    await add(pool, *rows)
    follower = Follower(pool, limit=10)

    pages = [len(await follower.pull()) for _ in range(4)]

    assert [10, 10, 5, 0] == pages
    assert keys(rows) == follower.seen


async def test_the_last_moment_of_a_day_is_of_that_day(pool):
    midnight = datetime(2026, 2, 1, tzinfo=UTC)
    await add(pool, a_row(recorded_at=midnight - timedelta(microseconds=1)))

    [row] = await Follower(pool).pull()

    assert midnight.timestamp() * 1000 - 1 == row.recorded_at_ms


async def test_transaction_ids_are_ordered_as_numbers(pool):
    rows = [a_row(fallbacks=n) for n in (8, 9, 10, 99, 100)]
    await add(pool, *rows)
    await pool.execute("ALTER TABLE router.ledger DISABLE TRIGGER USER")
    await pool.execute("UPDATE router.ledger SET xact_id = fallbacks::text::xid8")
    follower = Follower(pool, limit=2)

    await follower.catch_up()

    assert keys(rows) == follower.seen


async def test_learning_takes_only_the_position_of_rows_that_teach_nothing(pool):
    feedback = [a_row(Kind.FEEDBACK, revision=n) for n in range(1, 4)]
    opened = [a_row(Kind.OPENED) for _ in range(4)]
    rows = [*opened[:1], feedback[0], *opened[1:3], feedback[1], feedback[2], opened[3]]
    for row in rows:
        await add(pool, row)

    pages, cursor = [], ""
    while not pages or pages[-1].more:
        pages.append(await learning_rows.read(pool, cursor, 3))
        cursor = pages[-1].next_cursor

    found = [row.request_id for page in pages for row in page.rows if row.kind == Kind.FEEDBACK]
    assert [str(row.request_id) for row in feedback] == found
    assert [2, 2, 1] == [len(page.rows) for page in pages]  # with the last one of each page


async def test_learning_waits_for_a_row_behind_an_open_transaction(pool):
    await add(pool, a_row(Kind.FEEDBACK, revision=1))
    async with pool.acquire() as slow:
        transaction = slow.transaction()
        await transaction.start()
        await ledger_table.add(slow, ledger_table.encode([a_row()]))
        await add(pool, a_row(Kind.FEEDBACK, revision=1))

        page = await learning_rows.read(pool, "", 10)
        await transaction.rollback()

    assert (1, True) == (len(page.rows), page.more)
    assert (1, False) == (
        len((rest := await learning_rows.read(pool, page.next_cursor, 10)).rows),
        rest.more,
    )


async def test_a_row_behind_an_open_transaction_waits_for_it(pool):
    before, first, second = a_row(), a_row(), a_row()
    await add(pool, before)
    follower = Follower(pool)
    async with pool.acquire() as slow:
        transaction = slow.transaction()
        await transaction.start()
        await ledger_table.add(slow, ledger_table.encode([first]))
        await add(pool, second)

        held_back = await LedgerReader(pool).read("test", "", 10)
        await follower.catch_up()
        assert (1, True) == (len(held_back.rows), held_back.more)
        assert keys([before]) == follower.seen

        await transaction.commit()
    await follower.catch_up()
    assert keys([before, first, second]) == follower.seen


async def test_a_large_page_is_cut_before_it_is_too_large_for_a_message(pool):
    rows = [a_row(details={"x": "y" * (MAX_PAGE_BYTES // 3)}) for _ in range(4)]
    await add(pool, *rows)
    follower = Follower(pool)

    page = await follower.pull()
    await follower.catch_up()

    assert 2 == len(page)
    assert keys(rows) == follower.seen


@pytest.mark.parametrize("limit", [-1, 10_001])
async def test_a_limit_out_of_bounds_is_refused(pool, limit):
    with pytest.raises(Invalid, match="limit"):
        await LedgerReader(pool).read("test", "", limit)


@pytest.mark.parametrize("ahead", ["9999999999.1.1", "{epoch}.999999999999.1"])
async def test_a_cursor_from_the_future_is_refused(pool, ahead):
    await add(pool, a_row())
    epoch = await pool.fetchval("SELECT max(epoch) FROM router.ledger_epochs")

    with pytest.raises(Invalid, match="ahead of the ledger"):
        await LedgerReader(pool).read("test", ahead.format(epoch=epoch), 10)


async def test_an_empty_ledger_has_an_end(pool):
    page = await LedgerReader(pool).read("test", "", 10)

    assert ([], False) == (list(page.rows), page.more)
    assert page == await LedgerReader(pool).read("test", page.next_cursor, 10)


async def test_readers_are_noted_and_never_go_back(pool):
    await add(pool, *[a_row() for _ in range(3)])
    clock = iter(range(0, 1000, 10))
    reader = LedgerReader(pool, clock=lambda: next(clock))
    first = await reader.read("metrics", "", 2)
    await reader.read("metrics", first.next_cursor, 2)
    await reader.read("metrics", "", 2)

    noted = await pool.fetch(
        "SELECT consumer, epoch || '.' || xact_id || '.' || seq AS at FROM router.ledger_readers"
    )
    assert [("metrics", first.next_cursor)] == [tuple(r) for r in noted]


async def test_after_a_restore_readers_see_the_old_once_and_the_new_behind_it(pool, tmp_path):
    old = [a_row() for _ in range(5)]
    await add(pool, *old)
    follower = Follower(pool, limit=3)
    await follower.pull()
    # The same rows in a server whose transaction ids are far lower than those it brought along.
    await pool.execute("ALTER TABLE router.ledger DISABLE TRIGGER USER")
    await pool.execute("UPDATE router.ledger_epochs SET system_identifier = 1, epoch = 7")
    await pool.execute(
        "UPDATE router.ledger SET epoch = 7,"
        " xact_id = (xact_id::text::bigint + 1000000000)::text::xid8"
    )
    follower.cursor = await _shifted(follower.cursor)

    new = [a_row() for _ in range(4)]
    async with a_ledger(pool, tmp_path) as ledger:
        for row in new:
            await ledger.append([row])
    await follower.catch_up()

    assert keys(old + new) == follower.seen
    assert 2 == await pool.fetchval("SELECT count(DISTINCT epoch) FROM router.ledger")


async def test_ids_that_went_back_on_the_same_server_begin_an_epoch(pool, tmp_path):
    await add(pool, a_row())
    await pool.execute("ALTER TABLE router.ledger DISABLE TRIGGER USER")
    await pool.execute("UPDATE router.ledger SET xact_id = '4000000000000'::xid8")
    await pool.execute("UPDATE router.ledger_epochs SET epoch = 7")
    await pool.execute("UPDATE router.ledger SET epoch = 7")

    async with a_ledger(pool, tmp_path) as ledger:
        await ledger.append([a_row()])

    assert 2 == len(await Follower(pool).catch_up())
    assert 2 == await pool.fetchval("SELECT count(*) FROM router.ledger_epochs")


async def test_replicas_that_race_begin_one_epoch(pool):
    await asyncio.gather(*(add(pool, a_row()) for _ in range(5)))

    assert 1 == await pool.fetchval("SELECT count(*) FROM router.ledger_epochs")


async def test_a_dump_restored_elsewhere_goes_on(database, postgres, pool, tmp_path):
    old = [a_row() for _ in range(5)]
    await add(pool, *old)
    follower = Follower(pool, limit=2)
    await follower.pull()
    copy = f"t_{uuid.uuid4().hex[:8]}"
    await pool.close()  # a template must not be in use
    admin = await asyncpg.connect(postgres.superuser_url)
    await admin.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{database.name}"')
    await admin.close()
    restored = await a_pool(postgres.database_url("router", copy))
    await restored.execute(
        "UPDATE router.ledger_epochs SET system_identifier = 1"
    )  # another server
    new = a_row()

    await add(restored, new)
    moved = Follower(restored)
    moved.cursor, moved.seen = follower.cursor, follower.seen
    await moved.catch_up()

    assert keys([*old, new]) == moved.seen
    await restored.close()
    await postgres.drop_database(copy)


async def _shifted(cursor):
    _, xact_id, seq = cursor.split(".")
    return f"7.{int(xact_id) + 1_000_000_000}.{seq}"


def test_identifiers_are_of_today():
    assert datetime.now(UTC).year == datetime.fromtimestamp((new_id().int >> 80) / 1000, UTC).year
