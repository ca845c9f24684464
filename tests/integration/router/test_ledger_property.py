"""
Whatever writers do and wherever they die, a follower sees every committed row exactly once.

In an order that never changes, none skipped: the sequence that is read page by page, while it is
written, is the sequence that is there in the end.
"""

import asyncio
import random
import sys
from contextlib import suppress

import asyncpg
import pytest

from services.router.store import ledger_table
from tests.ledger_builders import Follower, a_ledger, a_ledger_database, a_row

KILLS = 6
ALIVE_S = 0.5


@pytest.fixture
async def pool(database):
    async with a_ledger_database(database.url("router")) as pool:
        yield pool


async def in_order(pool):
    found = await pool.fetch(
        "SELECT attempt_id::text, kind, revision FROM router.ledger ORDER BY epoch, xact_id, seq"
    )
    return [tuple(record) for record in found]


class Writer:
    """One connection that begins, adds, commits, gives up or dies, as chance has it."""

    def __init__(self, url):
        self._url = url
        self._conn = None
        self._open = None

    async def step(self, chance):
        if self._conn is None:
            self._conn = await asyncpg.connect(self._url)
        if self._open is None:
            self._open = self._conn.transaction()
            await self._open.start()
        match chance.choices(["add", "commit", "give up", "die"], [6, 3, 1, 1])[0]:
            case "add":
                rows = [a_row() for _ in range(chance.randint(1, 4))]
                await ledger_table.add(self._conn, ledger_table.encode(rows))
            case "commit":
                await self._open.commit()
                self._open = None
            case "give up":
                await self._open.rollback()
                self._open = None
            case "die":
                self.die()

    def die(self):
        if self._conn:
            self._conn.terminate()
        self._conn = self._open = None


async def test_interleaved_transactions_are_never_skipped_nor_repeated(database, pool):
    url = database.url("router")
    async with pool.acquire() as conn:  # the epoch and the day exist: transactions cannot make them
        await ledger_table.add(conn, ledger_table.encode([a_row()]))
    for seed in range(12):
        chance = random.Random(seed)
        writers = [Writer(url) for _ in range(4)]
        followers = [Follower(pool, limit=limit) for limit in (1, 3, 1000)]
        for _ in range(60):
            if chance.random() < 0.6:
                await chance.choice(writers).step(chance)
            else:
                await chance.choice(followers).pull()
        for writer in writers:
            writer.die()
        await _nothing_open(pool)
        for follower in followers:
            await follower.catch_up()

        assert [await in_order(pool)] * 3 == [f.seen for f in followers], f"seed {seed}"


async def test_killed_routers_and_cut_connections_lose_nothing_that_was_acknowledged(
    database, pool, tmp_path
):
    chance = random.Random(7)
    follower = Follower(pool, limit=100)
    following = asyncio.create_task(_follow(follower))
    acknowledged = set()
    for seed in range(KILLS):
        writer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.ledger_writer"),
            *(database.url("router"), str(tmp_path), str(seed)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await asyncio.wait_for(writer.stdout.readline(), 30)  # it is ready: now it writes
        reading = asyncio.create_task(_acknowledged(writer.stdout))
        await asyncio.sleep(ALIVE_S * (1 + chance.random()))
        if seed % 3 == 1:
            await _cut_connections(database)
        if seed % 3 == 2:
            with database.paused():
                await asyncio.sleep(ALIVE_S)
        await asyncio.sleep(ALIVE_S * chance.random())
        writer.kill()
        await writer.wait()
        acknowledged |= await reading

    async with a_ledger(pool, tmp_path) as ledger:  # replays what the dead left behind
        await _nothing_open(pool)
        await ledger.append([a_row()])
        async with asyncio.timeout(10):
            while any(p.stat().st_size for p in tmp_path.iterdir()):  # noqa: ASYNC110 - files
                await asyncio.sleep(0.05)
    following.cancel()
    await asyncio.wait([following])
    await follower.catch_up()

    assert await in_order(pool) == follower.seen
    assert len(acknowledged) > KILLS * 10
    assert set() == acknowledged - set(follower.seen)


async def _follow(follower):
    while True:
        with suppress(Exception):  # Postgres is paused, or the connection was cut: pull again
            await follower.pull()
        await asyncio.sleep(0.01)


async def _acknowledged(stream):
    """Read whole lines; the last may be torn by the kill."""
    found = set()
    async for line in stream:
        words = line.decode().split()
        if len(words) == 3 and line.endswith(b"\n") and words[1].isdigit():
            found.add((words[0], int(words[1]), int(words[2])))
    return found


async def _nothing_open(pool):
    """Wait until the server has noticed the dead."""
    async with asyncio.timeout(10):
        while await pool.fetchval(  # noqa: ASYNC110 - the server's state
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_xid IS NOT NULL"
        ):
            await asyncio.sleep(0.01)


async def _cut_connections(database):
    admin = await asyncpg.connect(database.superuser_url)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await admin.close()
