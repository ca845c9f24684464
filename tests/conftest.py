"""Real servers for the tests that need one: Postgres and Redis, one of each for a test process."""

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from deploy.embedded.postgres import SUPERUSER, Postgres
from deploy.embedded.redis import Redis


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
    yield server
    await server.stop()


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    name = f"t_{os.getpid()}_{uuid4().hex[:8]}"
    await postgres.create_database(name)
    yield Database(postgres, name)
    await postgres.drop_database(name)


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
