"""Migrations: each once, whoever comes first, and never an edited one."""

import asyncio

import asyncpg
import pytest

from common.errors import Conflict, Invalid, Unavailable
from common.migrate import migrate

COUNTED = """
CREATE TABLE metrics.runs (a integer);
INSERT INTO metrics.runs VALUES (1);
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "0001_runs.sql").write_text(COUNTED)
    (tmp_path / "0002_more.sql").write_text("INSERT INTO metrics.runs SELECT 2 FROM pg_sleep(0.1);")
    return tmp_path


@pytest.fixture
async def conn(database):
    connected = await asyncpg.connect(database.url("metrics"))
    yield connected
    await connected.close()


async def runs(conn):
    return [row["a"] for row in await conn.fetch("SELECT a FROM metrics.runs ORDER BY a")]


async def applied(conn):
    rows = await conn.fetch("SELECT name FROM metrics.migrations ORDER BY number")
    return [row["name"] for row in rows]


async def test_of_eight_replicas_that_start_at_once_one_migrates(database, folder, conn):
    await asyncio.gather(*(migrate(database.url("metrics"), "metrics", folder) for _ in range(8)))

    assert [1, 2] == await runs(conn)
    assert ["0001_runs.sql", "0002_more.sql"] == await applied(conn)


async def test_migrating_again_does_what_is_new(database, folder, conn):
    await migrate(database.url("metrics"), "metrics", folder)
    (folder / "0003_last.sql").write_text("INSERT INTO metrics.runs VALUES (3)")

    await migrate(database.url("metrics"), "metrics", folder)

    assert [1, 2, 3] == await runs(conn)


async def test_a_failing_migration_leaves_nothing_and_names_itself(database, folder, conn):
    (folder / "0003_bad.sql").write_text("INSERT INTO metrics.runs VALUES (3); SELECT nonsense;")

    with pytest.raises(Invalid, match=r"0003_bad.sql.*nonsense"):
        await migrate(database.url("metrics"), "metrics", folder)

    assert [1, 2] == await runs(conn)
    assert ["0001_runs.sql", "0002_more.sql"] == await applied(conn)


async def test_an_edited_migration_is_refused(database, folder):
    await migrate(database.url("metrics"), "metrics", folder)
    (folder / "0001_runs.sql").write_text(COUNTED + "-- harmless?")

    with pytest.raises(Conflict, match=r"0001_runs.sql was edited"):
        await migrate(database.url("metrics"), "metrics", folder)


async def test_a_migration_that_is_gone_is_refused(database, folder):
    await migrate(database.url("metrics"), "metrics", folder)
    (folder / "0001_runs.sql").unlink()

    with pytest.raises(Conflict, match=r"0001_runs.sql was applied, but its file is gone"):
        await migrate(database.url("metrics"), "metrics", folder)


async def test_a_migration_that_was_overtaken_is_refused(database, folder):
    await migrate(database.url("metrics"), "metrics", folder)
    (folder / "0000_late.sql").write_text("SELECT 1")

    with pytest.raises(Conflict, match=r"0000_late.sql comes too late"):
        await migrate(database.url("metrics"), "metrics", folder)


async def test_code_that_is_older_than_the_database_starts(database, folder, conn):
    await migrate(database.url("metrics"), "metrics", folder)
    (folder / "0002_more.sql").unlink()

    await migrate(database.url("metrics"), "metrics", folder)

    assert [1, 2] == await runs(conn)


async def test_a_lock_that_is_held_too_long_is_said_clearly(database, folder, conn):
    async with conn.transaction():
        await conn.execute(
            "SELECT pg_advisory_xact_lock(hashtext('migrations'), hashtext('metrics'))"
        )

        with pytest.raises(Unavailable, match="another replica"):
            await migrate(database.url("metrics"), "metrics", folder, lock_timeout_s=0.1)


async def test_a_schema_that_is_not_there_names_the_remedy(database, folder):
    with pytest.raises(Invalid, match=r"roles\.sql"):
        await migrate(database.url("metrics"), "elsewhere", folder)


async def test_a_silent_database_is_unavailable(folder):
    with pytest.raises(Unavailable, match="does not answer"):
        await migrate("postgresql://a:b@/c?host=/nowhere", "metrics", folder)
