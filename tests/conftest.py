"""Real servers for the tests that need one: Postgres and Redis, one of each for a test process."""

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import asyncpg
import psutil
import pytest
import structlog

from common.migrate import migrate
from deploy.embedded.postgres import ROLES, SUPERUSER, Postgres
from deploy.embedded.redis import Redis

TEMPLATE = "template_of_tests"
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 << 30

# Most of what a test with a database costs is making files: in memory that is a tenth.
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES:
    tempfile.tempdir = os.environ.setdefault("TMPDIR", str(MEMORY))

# A traceback with every frame's variables takes seconds to draw, in which nothing else happens.
_PLAIN = structlog.dev.ConsoleRenderer(
    colors=False, exception_formatter=structlog.dev.plain_traceback
)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _PLAIN])


class Database:
    """A fresh database with every role and schema."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server = server
        self.name = name

    def url(self, role: str) -> str:
        return self.server.database_url(role, self.name)

    @property
    def superuser_url(self) -> str:
        return self.server.database_url(SUPERUSER, self.name)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop every process of the server: it accepts connections and says nothing."""
        with paused(self.server.process.pid):
            yield


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """Stop a process and its children; let them go on afterwards, whatever happened."""
    parent = psutil.Process(pid)
    family = [parent, *parent.children(recursive=True)]
    try:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # a connection's process may have ended meanwhile
                process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder that an unprivileged server may enter: pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="optimizer-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def postgres(short_folder: Path) -> AsyncIterator[Postgres]:
    server = Postgres(short_folder / "postgres", fast=True)
    await server.start()
    await server.create_database(TEMPLATE)
    for schema in ROLES:
        folder = Path("services") / schema / "migrations"
        await migrate(server.database_url(schema, TEMPLATE), schema, folder)
    yield server
    await server.stop()


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    """One with every migration applied, as a service finds it after the first start."""
    name = _fresh_name()
    conn = await asyncpg.connect(postgres.superuser_url)
    await conn.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    await conn.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    await conn.execute(f"GRANT CONNECT ON DATABASE {name} TO {', '.join(ROLES)}")
    await conn.close()
    yield Database(postgres, name)
    await postgres.drop_database(name)


@pytest.fixture
async def empty_database(postgres: Postgres) -> AsyncIterator[Database]:
    name = _fresh_name()
    await postgres.create_database(name)
    yield Database(postgres, name)
    await postgres.drop_database(name)


def _fresh_name() -> str:
    return f"t_{os.getpid()}_{uuid4().hex[:8]}"


@pytest.fixture(scope="session")
async def redis_server(short_folder: Path) -> AsyncIterator[Redis]:
    server = Redis(short_folder / "redis")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="session")
def redis_url(redis_server: Redis) -> str:
    """Shared by the tests of a process: keep to a prefix of your own."""
    return redis_server.url
