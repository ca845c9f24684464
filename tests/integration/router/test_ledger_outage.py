"""Postgres silent, gone, refusing or back: what was acknowledged is never lost and never twice."""

import asyncio
import time

import asyncpg
import pytest

from common.errors import Unavailable
from services.router.domain.entries import Kind
from services.router.store import ledger_table
from services.router.store.journal import Journal, JournalFile
from services.router.store.ledger import Ledger
from tests.ledger_builders import Follower, a_ledger, a_ledger_database, a_row, an_opened, keys

PATIENCE_S = 20.0


@pytest.fixture
async def pool(database):
    async with a_ledger_database(database.url("router")) as pool:
        yield pool


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - a state to be polled, no event
            await asyncio.sleep(0.02)


async def everything(pool):
    follower = Follower(pool)
    await follower.catch_up()
    return sorted(follower.seen)


async def test_a_silent_postgres_costs_half_a_second_once_and_loses_nothing(
    database, pool, tmp_path
):
    rows = [a_row() for _ in range(12)]
    async with a_ledger(pool, tmp_path) as ledger:
        await ledger.append([rows[0]])
        with database.paused():
            began = time.monotonic()
            await ledger.append([rows[1]])
            first_s = time.monotonic() - began
            await asyncio.gather(*(ledger.append([row]) for row in rows[2:]))
            rest_s = time.monotonic() - began - first_s
            assert not ledger.caught_up
        await until(lambda: ledger.caught_up)

        assert sorted(keys(rows)) == await everything(pool)
    assert 0.4 < first_s < 2  # the limit, and a loaded machine
    assert rest_s < 0.4  # no penalty for the others


async def test_a_server_that_is_paused_from_the_start_loses_nothing(database, pool, tmp_path):
    row = a_row()
    async with a_ledger(pool, tmp_path) as ledger:
        with database.paused():
            await ledger.append([row])
        await until(lambda: ledger.caught_up)

        assert keys([row]) == await everything(pool)


async def test_a_connection_that_was_killed_is_replaced_without_the_journal(
    database, pool, tmp_path
):
    rows = [a_row(), a_row()]
    async with a_ledger(pool, tmp_path) as ledger:
        await ledger.append([rows[0]])
        await _kill_connections(database)

        await ledger.append([rows[1]])

        await ledger.check()
        assert sorted(keys(rows)) == await everything(pool)


@pytest.mark.parametrize("what", ["missing", "forbidden"])
async def test_a_table_that_cannot_be_written_is_an_outage(database, pool, tmp_path, what):
    row = a_row()
    broken, mended = {
        "missing": (
            "ALTER TABLE router.ledger RENAME TO x",
            "ALTER TABLE router.x RENAME TO ledger",
        ),
        "forbidden": (
            "REVOKE INSERT ON router.ledger FROM router",
            "GRANT INSERT ON router.ledger TO router",
        ),
    }[what]
    async with a_ledger(pool, tmp_path) as ledger:
        await pool.execute(broken)
        await ledger.append([row])
        assert not ledger.caught_up

        await pool.execute(mended)
        await until(lambda: ledger.caught_up)

        assert keys([row]) == await everything(pool)


async def test_what_a_dead_replica_left_is_replayed_by_the_living(pool, tmp_path):
    mine, orphaned = a_row(), a_row()
    dead = Journal(tmp_path)
    holder = Journal(tmp_path)  # takes slot 0, so that the dead one had another
    await holder.open()
    await dead.append(ledger_table.encode([orphaned]))
    await dead.close()
    await holder.close()

    async with a_ledger(pool, tmp_path) as ledger:
        await ledger.append([mine])
        async with asyncio.timeout(PATIENCE_S):
            while len(found := await everything(pool)) < 2:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)

    assert sorted(keys([mine, orphaned])) == found


async def test_what_an_earlier_life_left_is_replayed_once(pool, tmp_path):
    row = a_row()
    earlier = Journal(tmp_path)
    await earlier.append(ledger_table.encode([row]))
    await earlier.close()

    for _ in range(2):
        async with a_ledger(pool, tmp_path) as ledger:
            await until(lambda: ledger.caught_up)

    assert keys([row]) == await everything(pool)


async def test_the_truth_in_the_journal_corrects_a_guess(pool, tmp_path):
    opened = an_opened(cost_nano_usd=1000)
    truth = a_row(
        Kind.SETTLED,
        attempt_id=opened.attempt_id,
        request_id=opened.request_id,
        outcome="ok",
        cost_nano_usd=1200,
        pricing="priced",
    )
    async with pool.acquire() as conn:
        guess = a_row(
            Kind.SETTLED,
            attempt_id=opened.attempt_id,
            request_id=opened.request_id,
            outcome="unknown",
            cost_nano_usd=1000,
            pricing="priced",
        )
        await ledger_table.add(conn, ledger_table.encode([opened, guess]))
    journal = Journal(tmp_path)
    await journal.append(ledger_table.encode([truth]))
    await journal.append(ledger_table.encode([truth]))
    await journal.close()

    async with a_ledger(pool, tmp_path) as ledger:
        await until(lambda: ledger.caught_up)

    rows = await Follower(pool).catch_up()
    assert [200] == [r.cost_nano_usd for r in rows if r.kind == Kind.CORRECTED]


async def test_a_bad_row_in_the_journal_is_set_aside_and_the_rest_replayed(pool, tmp_path):
    good = [a_row(), a_row(), a_row()]
    bad = a_row(experiment_id=2**63)
    journal = Journal(tmp_path)
    await journal.append(ledger_table.encode([good[0]]))
    await journal.append(ledger_table.encode([good[1], bad]))
    await journal.append(b'["from the future"]')
    await journal.append(ledger_table.encode([good[2]]))
    await journal.close()

    async with a_ledger(pool, tmp_path) as ledger:
        await until(lambda: ledger.caught_up)

    assert sorted(keys(good)) == await everything(pool)
    assert 2 == len(list(tmp_path.glob("journal-0.refused-*")))


async def test_a_full_journal_refuses_and_recording_goes_on_when_postgres_is_back(
    database, pool, tmp_path
):
    row = a_row()
    ledger = Ledger(pool, Journal(tmp_path, max_bytes=10), commit_limit_s=0.2)
    await ledger.start()
    with database.paused():
        for _ in range(2):
            with pytest.raises(Unavailable, match="cannot be recorded"):
                await ledger.append([a_row(tenant="refused")])
        with pytest.raises(Unavailable, match="cannot be recorded"):
            await ledger.check()  # so that nobody is sent to us
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await ledger.append([row])
                break
            except Unavailable:
                await asyncio.sleep(0.05)

    served = await pool.fetch("SELECT attempt_id FROM router.ledger WHERE tenant <> 'refused'")
    assert [row.attempt_id] == [r["attempt_id"] for r in served]
    await ledger.stop()


async def test_a_stop_during_an_outage_leaves_everything_in_the_journal(database, pool, tmp_path):
    row = a_row()
    with database.paused():
        async with a_ledger(pool, tmp_path) as ledger:
            await ledger.append([row])

    file = JournalFile.claim(tmp_path / "journal-0")
    (payload,), _ = file.read(1 << 20)
    file.close()
    assert [row.attempt_id] == [r.attempt_id for r in ledger_table.decode(payload)]


async def _kill_connections(database):
    admin = await asyncpg.connect(database.superuser_url)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await admin.close()
