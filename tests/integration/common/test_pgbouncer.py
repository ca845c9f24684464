"""The pool works through PgBouncer in transaction mode, where sessions are nobody's own."""

import asyncio
import os
import shutil
import socket
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from common.errors import Unavailable
from common.ids import new_id
from common.migrate import migrate
from common.postgres import close_pool, connection, open_pool, ping, transaction
from common.settings import ServiceSettings

BOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(BOUNCER is None, reason="pgbouncer is not installed")

CONFIGURATION = """
[databases]
{name} = host={sockets} dbname={name}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 3
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def answering(url):
    async with asyncio.timeout(10):
        while True:
            try:
                return await asyncpg.connect(url, statement_cache_size=0)
            except OSError:
                await asyncio.sleep(0.02)


@pytest.fixture
async def bounced(database, short_folder):
    """The database's URL for the role metrics, by way of a PgBouncer."""
    url = urlsplit(database.url("metrics"))
    folder, port = short_folder / f"bouncer-{database.name}", free_port()
    folder.mkdir()
    (folder / "users.txt").write_text(f'"metrics" "{url.password}"\n')
    (folder / "bouncer.ini").write_text(
        CONFIGURATION.format(
            name=database.name, sockets=parse_qs(url.query)["host"][0], port=port, folder=folder
        )
    )
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = await asyncio.create_subprocess_exec(
        *(BOUNCER, "-q", *as_user, str(folder / "bouncer.ini")), stderr=asyncio.subprocess.DEVNULL
    )
    through = f"postgresql://metrics:{url.password}@127.0.0.1:{port}/{database.name}"
    await (await answering(through)).close()
    yield through
    process.terminate()
    await process.wait()


@pytest.fixture
async def table(bounced, tmp_path):
    (tmp_path / "0001_things.sql").write_text(
        "CREATE TABLE metrics.things (id uuid PRIMARY KEY, n bigint, tags text[], j jsonb)"
    )
    await asyncio.gather(*(migrate(bounced, "metrics", tmp_path) for _ in range(4)))


def pool_through(bounced, **other):
    return open_pool(
        ServiceSettings(database_url=bounced, internal_token="t", database_pool_max=10, **other)
    )


async def work(pool, number):
    for _ in range(10):
        ids = [new_id() for _ in range(3)]
        async with connection(pool) as conn:
            await conn.execute(
                "INSERT INTO metrics.things"
                " SELECT a, $2, ARRAY['x'], '{}' FROM unnest($1::uuid[]) a",
                ids,
                number,
            )
            row = await conn.fetchrow("SELECT n, tags, j FROM metrics.things WHERE n = $1", number)
            assert (number, ["x"], "{}") == tuple(row)
        async with transaction(pool) as conn:
            await conn.executemany(
                "UPDATE metrics.things SET tags = $2 WHERE id = $1", [(i, ["x"]) for i in ids]
            )
            async with conn.transaction():
                await conn.execute("DELETE FROM metrics.things WHERE id = $1", ids[0])


async def test_many_workers_share_few_sessions(bounced, table):
    pool = await pool_through(bounced)

    await asyncio.gather(*(work(pool, number) for number in range(20)))

    async with connection(pool) as conn:
        assert 400 == await conn.fetchval("SELECT count(*) FROM metrics.things")
    await close_pool(pool)


async def test_a_statement_that_takes_too_long_is_given_up(bounced):
    pool = await pool_through(bounced, database_statement_timeout_s=0.1)

    with pytest.raises(Unavailable):
        async with connection(pool) as conn:
            await conn.execute("SELECT pg_sleep(60)")

    await ping(pool)
    await close_pool(pool)
