"""Wires the metrics service, once. `python -m services.metrics` runs it."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from optimizer.metrics.v1.metrics_pb2_grpc import add_MetricsServiceServicer_to_server

from common.cache import Cache
from common.errors import Unavailable
from common.grpc_client import open_channel
from common.grpc_server import GrpcServer
from common.ledger_follower import LedgerFollower, reader
from common.logs import setup_logs
from common.migrate import migrate
from common.ops import Operations, checks
from common.postgres import Pool, close_pool, open_pool, ping
from common.redis_listen import listen
from common.redis_names import LEDGER_GREW
from common.service import run
from common.startup import run_until, until_available
from services.metrics import ledger
from services.metrics.live import Live
from services.metrics.retention import Retention
from services.metrics.servicer import MetricsServicer
from services.metrics.settings import MetricsSettings
from services.metrics.store.rollups import RollupStore
from services.metrics.usecases import Reporting

SCHEMA = "metrics"
MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(slots=True)
class Service:
    """Everything wired, nothing started."""

    settings: MetricsSettings
    pool: Pool
    cache: Cache
    channel: grpc.aio.Channel
    wake: asyncio.Event
    follower: LedgerFollower
    live: Live
    retention: Retention
    server: GrpcServer
    started: asyncio.Event = field(default_factory=asyncio.Event)

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
                    self.live.run(),
                    self.retention.run(),
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
        await migrate(self.settings.direct_url, SCHEMA, MIGRATIONS)

    async def _migrated(self) -> None:
        if not self.started.is_set():
            raise Unavailable("waiting for the database to migrate")


async def build(settings: MetricsSettings) -> Service:
    pool = await open_pool(settings)
    cache = Cache(settings.redis_address, prefix="")  # the snapshot's key is well known
    channel = open_channel(settings.router_target, settings)
    store = RollupStore(pool)
    reporting = Reporting(store, cache)
    live = Live(reporting, cache, interval_s=settings.live_interval_s)
    wake = asyncio.Event()
    follower = LedgerFollower(
        schema=SCHEMA,
        pool=pool,
        read=reader(channel, ledger.CONSUMER),
        apply=ledger.apply,
        wake=wake,
        after_apply=live.changed,
    )
    servicer = MetricsServicer(reporting)
    return Service(
        settings=settings,
        pool=pool,
        cache=cache,
        channel=channel,
        wake=wake,
        follower=follower,
        live=live,
        retention=Retention(
            store,
            rollup_days=settings.rollup_retention_days,
            correction_days=settings.correction_window_days,
        ),
        server=GrpcServer(
            settings, [lambda server: add_MetricsServiceServicer_to_server(servicer, server)]
        ),
    )


async def main(stop: asyncio.Event) -> None:
    settings = MetricsSettings()  # type: ignore[call-arg]  # read from the environment
    setup_logs(SCHEMA, settings.log_level)
    service = await build(settings)
    await service.run(stop)


if __name__ == "__main__":
    run(main)
