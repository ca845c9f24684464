"""The stack of `make run`, on free ports, in a folder of its own."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import redis.asyncio as redis

from deploy.embedded.addresses import url
from deploy.embedded.environment import of_system
from deploy.embedded.folder import DATABASE_URL
from deploy.embedded.programs import operations_variable, router_name
from deploy.embedded.settings import EmbeddedSettings
from deploy.embedded.stack import Stack
from tests.e2e.stack import SETTINGS, StackUnderTest

LISTENS = {
    name.upper(): "127.0.0.1:0"
    for name in EmbeddedSettings.model_fields
    if name.endswith("_listen")
}


LOG_LINES = 60


class EmbeddedStack(StackUnderTest):
    def __init__(self, *, routers: int = 1, **settings: str) -> None:
        super().__init__(pause_s=8, mixed_requests=600)
        self.log: list[str] = []
        self._routers = routers
        self._settings = settings
        self._folder: Path | None = None
        self._stack: Stack | None = None

    @property
    def stack(self) -> Stack:
        assert self._stack is not None, "start it first"
        return self._stack

    async def start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="e2e "))  # a path with a space, as people have
        user = {
            **of_system(os.environ),
            **LISTENS,
            **SETTINGS,
            "EMBEDDED_ROUTERS": str(self._routers),
            "DATA_FOLDER": str(self._folder / "data"),
            **self._settings,
        }
        self.key = user.get("GATEWAY_ADMIN_KEY", "")
        self._stack = Stack(
            EmbeddedSettings.of(user),
            user=user,
            say=lambda name, line: self.log.append(f"{name:12} {line}"),
        )
        await self._stack.start()
        self.base_url = self._stack.base_url
        self.sandbox_url = self._stack.sandbox_url

    async def stop(self) -> None:
        if self._stack is not None:
            await self._stack.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def kill(self, service: str) -> None:
        self.stack.processes[service].kill()

    async def ready(self, service: str) -> None:
        await self.stack.processes[service].until_ready()

    @contextlib.asynccontextmanager
    async def postgres_paused(self) -> AsyncIterator[None]:
        postgres = self.stack.processes["postgres"]
        postgres.pause()
        try:
            yield
        finally:
            postgres.resume()

    async def stop_redis(self) -> None:
        await self.stack.processes["redis"].stop()

    async def start_redis(self) -> None:
        await self.stack.processes["redis"].start()

    def superuser_url(self) -> str:
        return (self.stack.folder.path / DATABASE_URL).read_text().strip()

    def role_url(self, service: str) -> str:
        assert self.stack.addresses is not None, "start it first"
        return self.stack.addresses.databases[service]

    def grpc_targets(self) -> Mapping[str, str]:
        addresses = self.stack.addresses
        assert addresses is not None, "start it first"
        return {
            "router": addresses.routers[0],
            "experiments": addresses.experiments,
            "metrics": addresses.metrics,
        }

    def last_lines(self) -> list[str]:
        return self.log[-LOG_LINES:]

    async def router_metrics(self) -> list[str]:
        return [await self.metrics_of(router_name(index)) for index in range(self._routers)]

    async def metrics_of(self, process: str) -> str:
        listen = self.stack.listens[operations_variable(process)]
        async with self.session.get(f"{url(listen)}/metrics") as answer:
            return await answer.text()

    async def flush_redis(self) -> None:
        assert self.stack.addresses is not None, "start it first"
        client = redis.from_url(self.stack.addresses.redis)
        await client.flushall()
        await client.aclose()

    async def write_ledger(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write rows as another router would, in one transaction."""
        database = await asyncpg.connect(self.superuser_url(), timeout=10)
        await database.copy_records_to_table(
            "ledger", schema_name="router", columns=columns, records=rows
        )
        await database.close()
