"""The embedded Postgres and Redis: any folder, any end of the last run, no orphans."""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path
from uuid import uuid4

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis as Client

from common.errors import Conflict, Invalid
from deploy.embedded.postgres import Postgres
from deploy.embedded.redis import Redis

PARENT = """
import asyncio, sys
from pathlib import Path
from uuid import uuid4
from deploy.embedded.{module} import {name}

async def main():
    server = {name}(Path(sys.argv[1]))
    await server.start()
    print(server.process.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def long_way(short_folder):
    """A path that no socket could have: long, with spaces."""
    return short_folder / uuid4().hex / ("a long way down " * 6) / "data"


@pytest.fixture
def folder(short_folder):
    path = long_way(short_folder)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
async def running(short_folder):
    """A server as users have it, for the tests that do it no harm."""
    server = Postgres(long_way(short_folder))
    await server.start()
    yield server
    await server.stop()


async def answer(postgres, statement):
    conn = await asyncpg.connect(postgres.url("metrics"), timeout=5)
    try:
        return await conn.fetchval(statement)
    finally:
        await conn.close()


async def test_what_was_written_is_there_after_a_crash(folder):
    server = Postgres(folder)
    await server.start()
    await answer(server, "CREATE TABLE metrics.kept AS SELECT 7 AS a")
    server.process.kill()
    await server.process.wait()

    again = Postgres(folder)
    await again.start()

    assert 7 == await answer(again, "SELECT a FROM metrics.kept")
    assert server.url("metrics") == again.url("metrics")
    await again.stop()


async def test_a_server_that_was_stopped_starts_again(folder):
    server = Postgres(folder, fast=True)
    await server.start()
    await server.stop()
    await server.stop()
    # The old server's number is another process's by now.
    (folder / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n{folder}\n")

    await server.start()

    assert 1 == await answer(server, "SELECT 1")
    await server.stop()


async def test_a_paused_server_can_be_stopped(folder):
    server = Postgres(folder, fast=True)
    await server.start()
    server.process.send_signal(signal.SIGSTOP)

    await asyncio.wait_for(server.stop(), 15)

    assert server.process.returncode is not None


async def test_it_loses_nothing_and_listens_nowhere(running):
    assert "on" == await answer(running, "SHOW fsync")
    assert "on" == await answer(running, "SHOW synchronous_commit")
    assert "" == await answer(running, "SHOW listen_addresses")


async def test_the_passwords_are_private_and_all_different(running):
    for name in ("passwords.json", "server.log"):
        assert 0o600 == (running.folder / name).stat().st_mode & 0o777
    assert 0o700 == running.folder.stat().st_mode & 0o777
    assert 5 == len(set(running._passwords.values()))


async def test_a_first_start_that_was_interrupted_is_begun_anew(folder):
    (folder / "cluster.new").mkdir(parents=True)
    (folder / "cluster.new" / "half").write_text("done")
    server = Postgres(folder, fast=True)

    await server.start()

    assert 1 == await answer(server, "SELECT 1")
    await server.stop()


async def test_a_second_server_on_the_same_folder_is_refused(running, monkeypatch):
    monkeypatch.setattr("deploy.embedded.postgres.STOP_S", 0.2)

    with pytest.raises(Conflict, match="another Postgres"):
        await Postgres(running.folder).start()

    assert 1 == await answer(running, "SELECT 1")


async def test_a_folder_that_cannot_be_used_is_refused_with_its_reason(folder):
    server = Postgres(folder, fast=True)
    await server.start()
    await server.stop()

    (folder / "cluster" / "PG_VERSION").write_text("9")
    with pytest.raises(Invalid, match="made by Postgres 9"):
        await server.start()
    (folder / "cluster" / "PG_VERSION").unlink()
    with pytest.raises(Invalid, match="no Postgres data folder"):
        await server.start()
    (folder / "passwords.json").unlink()
    with pytest.raises(Invalid, match=r"passwords\.json is gone"):
        await server.start()


async def test_a_file_in_the_folders_place_is_refused(short_folder):
    path = short_folder / "file"
    path.write_text("precious")

    with pytest.raises(Invalid, match="cannot use the folder"):
        await Postgres(path).start()
    with pytest.raises(Invalid, match="cannot use the folder"):
        await Redis(path).start()

    assert "precious" == path.read_text()


async def test_redis_starts_anywhere_and_again(folder):
    server = Redis(folder)
    for _ in range(2):
        await server.start()
        client = Client.from_url(server.url)
        assert await client.ping()
        await client.aclose()
        await server.stop()


async def test_a_second_redis_on_the_same_folder_is_refused(folder, monkeypatch):
    server = Redis(folder)
    await server.start()
    monkeypatch.setattr("deploy.embedded.redis.STOP_S", 0.2)

    with pytest.raises(Conflict, match="another Redis"):
        await Redis(folder).start()

    client = Client.from_url(server.url)
    assert await client.ping()
    await client.aclose()
    await server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")
@pytest.mark.parametrize(("module", "name"), [("postgres", "Postgres"), ("redis", "Redis")])
async def test_a_server_dies_with_its_parent_and_its_successor_starts(folder, module, name):
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT.format(module=module, name=name), str(folder)),
        stdout=asyncio.subprocess.PIPE,
    )
    child = psutil.Process(int(await asyncio.wait_for(parent.stdout.readline(), 30)))

    parent.kill()
    await parent.wait()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, [child], 10)

    assert ([child], []) == (gone, alive)
    successor = {"Postgres": Postgres, "Redis": Redis}[name](Path(folder))
    await successor.start()
    await successor.stop()
