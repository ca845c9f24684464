"""The pool: bounded in everything, whatever the server does."""

import asyncio
import time

import asyncpg
import pytest
from prometheus_client import REGISTRY

from common.errors import TimedOut, Unavailable
from common.postgres import close_pool, connection, open_pool, ping, transaction
from common.settings import ServiceSettings


async def count_of(pool):
    async with connection(pool) as conn:
        return await conn.fetchval("SELECT count(*) FROM metrics.things")


@pytest.fixture
async def things(pool_of):
    async with pool_of() as pool, connection(pool) as conn:
        await conn.execute("CREATE TABLE metrics.things (a integer UNIQUE)")


async def test_a_transaction_is_all_or_nothing(pool_of, things):
    async with pool_of() as pool:

        async def fail_halfway():
            async with transaction(pool) as conn:
                await conn.execute("INSERT INTO metrics.things VALUES (1)")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail_halfway()

        assert 0 == await count_of(pool)

        async with transaction(pool) as conn:
            await conn.execute("INSERT INTO metrics.things VALUES (1)")

        assert 1 == await count_of(pool)


async def test_a_violated_constraint_reaches_the_store_as_it_is(pool_of, things):
    async with pool_of() as pool:
        with pytest.raises(asyncpg.UniqueViolationError):
            async with transaction(pool) as conn:
                await conn.execute("INSERT INTO metrics.things VALUES (1), (1)")

        assert 0 == await count_of(pool)


async def test_a_part_of_a_transaction_may_fail_alone(pool_of, things):
    async with pool_of() as pool, transaction(pool) as conn:
        with pytest.raises(asyncpg.UniqueViolationError):
            async with conn.transaction():
                await conn.execute("INSERT INTO metrics.things VALUES (1), (1)")

        assert 0 == await conn.fetchval("SELECT count(*) FROM metrics.things")


async def test_a_server_that_is_not_there_yet_is_no_reason_not_to_start():
    nowhere = "postgresql://a:b@/c?host=/nowhere"
    settings = ServiceSettings(database_url=nowhere, internal_token="t", database_pool_min=2)

    pool = await open_pool(settings)

    with pytest.raises(Unavailable, match="does not answer"):
        await ping(pool)
    await close_pool(pool)


async def test_a_full_pool_is_unavailable_in_time(pool_of):
    async with (
        pool_of(database_pool_max=1, database_acquire_timeout_s=0.1) as pool,
        connection(pool),
    ):
        with pytest.raises(Unavailable, match="busy"):
            async with connection(pool):
                pass


async def test_a_statement_that_takes_too_long_is_cancelled_on_the_server(pool_of, database):
    async with pool_of(database_statement_timeout_s=0.1) as pool:
        with pytest.raises(Unavailable):
            async with connection(pool) as conn:
                await conn.execute("SELECT pg_sleep(60) -- marked")

        async with asyncio.timeout(5):
            watcher = await asyncpg.connect(database.superuser_url)
            while await watcher.fetchval(  # noqa: ASYNC110 - the world has no event
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE state = 'active' AND query LIKE '%-- marked' AND pid <> pg_backend_pid()"
            ):
                await asyncio.sleep(0.02)
            await watcher.close()
        await ping(pool)


async def test_the_servers_own_limit_is_a_timeout(pool_of):
    async with pool_of() as pool:
        with pytest.raises(TimedOut):
            async with connection(pool) as conn:
                await conn.execute("SET LOCAL statement_timeout = 20; SELECT pg_sleep(60)")
        await ping(pool)


async def test_a_caller_that_hangs_up_within_a_transaction_rolls_it_back(pool_of, things):
    async with pool_of(database_pool_max=1) as pool:
        written = asyncio.Event()

        async def hang():
            async with transaction(pool) as conn:
                await conn.execute("INSERT INTO metrics.things VALUES (1)")
                written.set()
                await conn.execute("SELECT pg_sleep(60)")

        task = asyncio.create_task(hang())
        await written.wait()
        started = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert time.perf_counter() - started < 0.5
        assert 0 == await count_of(pool)


@pytest.mark.parametrize("block", [connection, transaction])
async def test_a_paused_server_holds_nobody_up(pool_of, database, block):
    async with pool_of(
        database_statement_timeout_s=0.2, database_acquire_timeout_s=0.2, database_pool_max=2
    ) as pool:
        await ping(pool)
        with database.paused():
            for _ in range(6):  # more than there are connections: old ones, then new ones
                started = time.perf_counter()
                with pytest.raises(Unavailable):
                    async with block(pool) as conn:
                        await conn.execute("SELECT 1")
                assert time.perf_counter() - started < 1

        await healed(pool)


@pytest.mark.parametrize("block", [connection, transaction])
async def test_an_impatient_caller_of_a_paused_server_is_let_go_at_once(pool_of, database, block):
    async with pool_of(database_pool_max=2) as pool:
        await ping(pool)
        with database.paused():
            for _ in range(4):
                started = time.perf_counter()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1), block(pool) as conn:
                        await conn.execute("SELECT 1")
                assert time.perf_counter() - started < 0.3

        await healed(pool)


async def healed(pool):
    async with asyncio.timeout(10):
        while True:
            try:
                return await ping(pool)
            except Unavailable:
                await asyncio.sleep(0.05)


async def test_closing_the_pool_of_a_paused_server_is_bounded(settings_for, database):
    pool = await open_pool(settings_for())
    await ping(pool)

    with database.paused():
        started = time.perf_counter()
        await close_pool(pool)

        assert time.perf_counter() - started < 2


async def test_a_connection_that_the_server_ended_is_replaced(pool_of, database):
    async with pool_of(database_pool_max=1) as pool:
        await ping(pool)
        watcher = await asyncpg.connect(database.superuser_url)
        await watcher.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'metrics'"
        )
        await watcher.close()

        await healed(pool)


async def test_the_gauges_count_connections(pool_of):
    def gauge(state):
        return REGISTRY.get_sample_value("optimizer_database_connections", {"state": state})

    async with pool_of(database_pool_min=3) as pool:
        assert (3, 0) == (gauge("idle"), gauge("used"))

        async with connection(pool):
            assert (2, 1) == (gauge("idle"), gauge("used"))


async def test_a_wrong_password_is_unavailable_and_not_shown(settings_for, database):
    url = database.url("metrics").replace(":", ":x", 2).replace("postgresql:x", "postgresql:")
    pool = await open_pool(ServiceSettings(database_url=url, internal_token="t"))

    with pytest.raises(Unavailable) as caught:
        await ping(pool)

    assert "metrics" not in caught.value.message
    await close_pool(pool)
