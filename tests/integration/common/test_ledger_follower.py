"""Following the ledger: every row's effect exactly once, whatever races, fails or restarts."""

import asyncio

import pytest
from optimizer.router.v1.ledger_pb2 import LedgerRow, ReadLedgerResponse
from prometheus_client import REGISTRY

from common.errors import Unavailable
from common.ledger_follower import LedgerFollower
from common.postgres import connection


class FakeLedger:
    """Rows in order; the cursor is how many were read. Its faults are switches."""

    def __init__(self, rows=0):
        self.rows = rows
        self.held_back = 0  # rows at the end that an open transaction hides
        self.fault = None
        self.reads = 0

    async def read(self, cursor, limit):
        self.reads += 1
        if self.fault:
            raise self.fault
        start = int(cursor or 0)
        visible = self.rows - self.held_back
        end = min(start + limit, visible)
        return ReadLedgerResponse(
            rows=[LedgerRow(revision=number) for number in range(start, end)],
            next_cursor=str(end),
            more=end < self.rows,
        )


async def insert(conn, rows):
    await conn.executemany(
        "INSERT INTO metrics.applied VALUES ($1)", [(row.revision,) for row in rows]
    )


@pytest.fixture
async def pool(pool_of):
    async with pool_of() as opened:
        async with connection(opened) as conn:
            await conn.execute(
                "CREATE TABLE metrics.cursor (name text PRIMARY KEY, position text NOT NULL)"
            )
            await conn.execute("CREATE TABLE metrics.applied (n integer)")
        yield opened


@pytest.fixture
def follower(pool):
    def make(ledger, apply=insert, **other):
        return LedgerFollower(schema="metrics", pool=pool, read=ledger.read, apply=apply, **other)

    return make


async def applied(pool):
    async with connection(pool) as conn:
        rows = await conn.fetch("SELECT n FROM metrics.applied ORDER BY n")
    return [row["n"] for row in rows]


async def test_all_there_is_is_applied_in_batches(pool, follower):
    assert await follower(FakeLedger(25), limit=10).catch_up(5)

    assert list(range(25)) == await applied(pool)


async def test_a_new_follower_goes_on_where_the_last_one_stopped(pool, follower):
    ledger = FakeLedger(3)
    await follower(ledger).catch_up(5)
    ledger.rows = 5

    await follower(ledger).catch_up(5)

    assert [0, 1, 2, 3, 4] == await applied(pool)


async def test_followers_that_race_apply_each_row_once(pool, follower):
    ledger = FakeLedger(200)
    racers = [follower(ledger, limit=7) for _ in range(4)]

    assert [True] * 4 == await asyncio.gather(*(racer.catch_up(20) for racer in racers))

    assert list(range(200)) == await applied(pool)


async def test_what_fails_halfway_leaves_neither_effects_nor_cursor(pool, follower):
    async def half(conn, rows):
        await insert(conn, rows[:1])
        raise ZeroDivisionError

    assert not await follower(FakeLedger(3), apply=half).catch_up(5)
    assert [] == await applied(pool)

    assert await follower(FakeLedger(3)).catch_up(5)
    assert [0, 1, 2] == await applied(pool)


async def test_being_cancelled_halfway_leaves_nothing_either(pool, follower):
    begun = asyncio.Event()

    async def slow(conn, rows):
        await insert(conn, rows)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(follower(FakeLedger(3), apply=slow).run())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert await follower(FakeLedger(3)).catch_up(5)
    assert [0, 1, 2] == await applied(pool)


async def until(condition):
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - the world has no event
            await asyncio.sleep(0.01)


async def test_a_wake_up_saves_the_wait(pool, follower):
    ledger, wake = FakeLedger(), asyncio.Event()
    task = asyncio.create_task(follower(ledger, wake=wake, poll_s=60).run())

    async def has_read():
        return ledger.reads > 0

    await until(has_read)
    ledger.rows = 1
    wake.set()

    async def is_applied():
        return [0] == await applied(pool)

    await until(is_applied)
    task.cancel()


async def test_without_a_wake_up_it_looks_by_itself(pool, follower):
    ledger = FakeLedger()
    task = asyncio.create_task(follower(ledger, poll_s=0.05).run())

    async def has_read_often():
        return ledger.reads > 3

    await until(has_read_often)
    task.cancel()


async def test_a_router_that_is_away_is_waited_out(pool, follower):
    ledger = FakeLedger(3)
    ledger.fault = Unavailable("gone")
    following = follower(ledger, poll_s=0.05)
    task = asyncio.create_task(following.run())

    assert not await following.catch_up(0.1)
    ledger.fault = None

    async def is_applied():
        return [0, 1, 2] == await applied(pool)

    await until(is_applied)
    task.cancel()


async def test_a_paused_database_is_waited_out(pool_of, database, follower, pool):
    async with pool_of(database_statement_timeout_s=0.2, database_acquire_timeout_s=0.2) as other:
        ledger = FakeLedger(3)
        following = LedgerFollower(
            schema="metrics", pool=other, read=ledger.read, apply=insert, poll_s=0.05
        )
        with database.paused():
            task = asyncio.create_task(following.run())
            assert not await following.catch_up(0.5)

        async def is_applied():
            return [0, 1, 2] == await applied(pool)

        await until(is_applied)
        task.cancel()


async def test_catching_up_waits_for_rows_that_are_held_back(pool, follower):
    ledger = FakeLedger(3)
    ledger.held_back = 1
    following = follower(ledger)

    assert not await following.catch_up(0.2)
    assert [0, 1] == await applied(pool)

    ledger.held_back = 0
    assert await following.catch_up(5)
    assert [0, 1, 2] == await applied(pool)


async def test_many_who_catch_up_at_once_share_the_reading(pool, follower):
    ledger = FakeLedger(3)
    following = follower(ledger)

    assert [True] * 20 == await asyncio.gather(*(following.catch_up(5) for _ in range(20)))

    assert ledger.reads <= 2


async def test_catching_up_never_trusts_a_read_that_had_begun_before(pool, follower):
    ledger, entered, go_on = FakeLedger(), asyncio.Event(), asyncio.Event()

    async def slow_read(cursor, limit):
        answer = await ledger.read(cursor, limit)
        entered.set()
        await go_on.wait()
        return answer

    following = LedgerFollower(schema="metrics", pool=pool, read=slow_read, apply=insert)
    first = asyncio.create_task(following.catch_up(5))
    await entered.wait()
    ledger.rows = 1  # committed after the first one read
    second = asyncio.create_task(following.catch_up(5))
    go_on.set()

    assert [True, True] == await asyncio.gather(first, second)
    assert [0] == await applied(pool)


async def test_what_follows_an_apply_may_fail(pool, follower):
    told = []

    async def tell():
        told.append(1)
        raise ZeroDivisionError

    assert await follower(FakeLedger(3), after_apply=tell).catch_up(5)

    assert [1] == told
    assert [0, 1, 2] == await applied(pool)


async def test_the_lag_is_how_long_ago_all_was_applied(pool, follower):
    def lag():
        return REGISTRY.get_sample_value(
            "optimizer_ledger_follower_lag_seconds", {"consumer": "metrics"}
        )

    ledger = FakeLedger(3)
    following = follower(ledger)
    ledger.fault = Unavailable("gone")
    await following.catch_up(0.2)
    assert lag() >= 0.2

    ledger.fault = None
    await following.catch_up(5)
    assert lag() < 0.2
