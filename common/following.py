"""A service that derives a schema of its own from the router's ledger, and serves it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from pydantic import Field

from common.cache import Cache
from common.errors import Unavailable
from common.grpc_server import GrpcServer
from common.ledger_follower import LedgerFollower
from common.migrate import migrate
from common.ops import Operations, checks
from common.postgres import Pool, close_pool, ping
from common.redis_listen import listen
from common.redis_names import LEDGER_GREW
from common.settings import ServiceSettings
from common.startup import run_until, until_available


class FollowingSettings(ServiceSettings):
    router_target: str = Field(
        default="127.0.0.1:50051", description="the router whose ledger is followed (gRPC target)"
    )


@dataclass(slots=True, kw_only=True)
class FollowingService(ABC):
    """Everything wired, nothing started."""

    schema: str
    migrations: Path
    settings: FollowingSettings
    pool: Pool
    cache: Cache
    channel: grpc.aio.Channel
    wake: asyncio.Event
    follower: LedgerFollower
    server: GrpcServer
    started: asyncio.Event = field(default_factory=asyncio.Event)

    @abstractmethod
    def beside(self) -> Sequence[Coroutine[Any, Any, None]]:
        """Return what runs for ever beside the follower."""

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until *stop*. Neighbours that are not there yet are waited for."""
        operations = Operations(
            self.settings.operations_listen,
            ready=checks({"postgres": lambda: ping(self.pool), "schema": self._migrated}),
        )
        await operations.start()
        try:
            if await until_available(self._migrate, stop):
                await self.server.start()
                self.started.set()
                await run_until(
                    stop,
                    self.follower.run(),
                    *self.beside(),
                    listen(
                        self.settings.redis_address,
                        LEDGER_GREW,
                        lambda _: self.wake.set(),
                        on_connect=self.wake.set,
                    ),
                    drain=self.server.stop,
                )
        finally:
            await self.channel.close(None)
            await self.cache.close()
            await close_pool(self.pool)
            await operations.stop()

    async def _migrate(self) -> None:
        await migrate(self.settings.direct_url, self.schema, self.migrations)

    async def _migrated(self) -> None:
        if not self.started.is_set():
            raise Unavailable("waiting for the database to migrate")
