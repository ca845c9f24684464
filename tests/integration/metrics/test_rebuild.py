"""Rebuilt from the ledger, the tables are what they were, to the byte; or else nothing happens."""

import asyncio
import os
import random
import subprocess
import sys
import time

import asyncpg
import pytest

from common.errors import Invalid, Unavailable
from services.metrics.rebuild import rebuild, unless
from services.metrics.store import rebuilt
from tests.followed_ledger import TOKEN, closed, killed
from tests.random_ledger import a_random_ledger

TABLES = ("rollups", "durations", "requests")


async def contents(database):
    """Return every table as text, and the names of their indexes."""
    conn = await asyncpg.connect(database.url("metrics"))
    try:
        found = {
            table: [
                row[0]
                for row in await conn.fetch(
                    f"SELECT t::text FROM metrics.{table} AS t ORDER BY t::text"  # noqa: S608
                )
            ]
            for table in TABLES
        }
        found["relations"] = [
            row[0]
            for row in await conn.fetch(
                "SELECT relname FROM pg_class WHERE relnamespace = 'metrics'::regnamespace"
                " ORDER BY relname"
            )
        ]
        return found
    finally:
        await conn.close()


async def read_of(ledger):
    async def read(cursor, limit):
        request = type("Request", (), {"cursor": cursor, "limit": limit, "consumer": ""})
        return await ledger.ReadLedger(request, None)

    return read


async def test_a_rebuild_gives_what_was_there(metrics, ledger, database):
    chance = random.Random(11)
    now_ms = int(time.time() * 1000)
    ledger.add(*a_random_ledger(chance, requests=3000, now_ms=now_ms, reach_s=3 * 86_400))
    for _ in range(3):  # followed in several lives
        async with killed(await metrics.build()):
            await asyncio.sleep(0.05)

    async with metrics() as it:
        assert await it.service.follower.catch_up(30)
        before = await contents(database)
        conn = await asyncpg.connect(database.url("metrics"))
        await conn.execute("UPDATE metrics.rollups SET requests = requests + 1")
        await conn.execute("DELETE FROM metrics.durations WHERE grain_s = 60")
        await conn.close()
        assert before != await contents(database)

        rows = await rebuild(it.service.pool, await read_of(ledger))

        assert len(ledger.rows) == rows
        assert before == await contents(database)
        ledger.add(*a_random_ledger(chance, requests=50, now_ms=now_ms, reach_s=600))
        assert await it.service.follower.catch_up(10)  # whoever follows goes on from there
        after = await contents(database)
        assert len(before["requests"]) + 50 == len(after["requests"])
        await rebuild(it.service.pool, await read_of(ledger))
        assert after == await contents(database)


async def test_a_rebuild_beside_a_follower_counts_each_row_once(metrics, ledger, database):
    async with metrics() as it:

        async def grow():
            for _ in range(60):
                ledger.add(*(closed() for _ in range(20)))
                it.service.wake.set()
                await asyncio.sleep(0.01)

        growing = asyncio.create_task(grow())
        await asyncio.sleep(0.1)
        await rebuild(it.service.pool, await read_of(ledger))
        await rebuild(it.service.pool, await read_of(ledger))
        await growing
        assert await it.service.follower.catch_up(10)
        followed = await contents(database)
        await rebuild(it.service.pool, await read_of(ledger))

        assert followed == await contents(database)
        assert 1200 == len(followed["requests"])


async def test_traffic_does_not_keep_a_rebuild_for_ever(metrics, ledger, monkeypatch):
    held = asyncio.Event()

    async def lock_cursor(conn):
        held.set()  # from here on the real ledger shows no row that is written now

    monkeypatch.setattr(rebuilt, "lock_cursor", lock_cursor)
    read = await read_of(ledger)

    async def grows(cursor, limit):
        if not held.is_set():
            ledger.add(closed())
            await asyncio.sleep(0.002)  # so that each is of another millisecond
        return await read(cursor, limit)

    async with metrics() as it, asyncio.timeout(20):
        rows = await rebuild(it.service.pool, grows)

    assert len(ledger.rows) == rows


async def test_what_the_ledger_has_dropped_is_not_forgotten_unasked(metrics, ledger, database):
    ledger.add(closed(at_ms=int((time.time() - 90_000) * 1000)), closed())

    async with metrics() as it:
        assert await it.service.follower.catch_up(10)
        before = await contents(database)
        del ledger.rows[0]
        with pytest.raises(Invalid, match="does not go back"):
            await rebuild(it.service.pool, await read_of(ledger))
        assert before == await contents(database)

        await rebuild(it.service.pool, await read_of(ledger), forget_older=True)
        assert 1 == len((await contents(database))["requests"])


async def test_a_rebuild_that_fails_changes_nothing(metrics, ledger, database):
    ledger.add(closed())

    async with metrics() as it:
        assert await it.service.follower.catch_up(10)
        before = await contents(database)
        ledger.silent = True
        with pytest.raises(Unavailable):
            await rebuild(it.service.pool, await read_of(ledger))

        assert before == await contents(database)


async def test_one_that_is_stopped_leaves_nothing_behind(metrics, ledger, database):
    asked, stop = asyncio.Event(), asyncio.Event()

    async def hangs(cursor, limit):
        asked.set()
        await asyncio.Event().wait()

    async with metrics() as it:
        before = await contents(database)
        work = asyncio.create_task(rebuild(it.service.pool, hangs))
        await asked.wait()
        assert before != await contents(database)
        stop.set()
        with pytest.raises(asyncio.CancelledError):
            await unless(stop, work)

        assert before == await contents(database)


async def test_it_is_one_command(metrics, ledger, database):
    ledger.add(closed(), closed())
    async with metrics() as it:
        assert await it.service.follower.catch_up(10)
        before = await contents(database)
        settings = {
            "METRICS_DATABASE_URL": database.url("metrics"),
            "METRICS_INTERNAL_TOKEN": TOKEN,
            "METRICS_ROUTER_TARGET": ledger.target,
        }
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "services.metrics.rebuild"],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

        assert (0, "100 %  2 rows; the rollups are rebuilt") == (
            done.returncode,
            done.stderr.splitlines()[-1],
        )
        assert before == await contents(database)
