"""Wires the experiments service, once. `python -m services.experiments` runs it."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from optimizer.experiments.v1.experiments_pb2_grpc import add_ExperimentsServiceServicer_to_server

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
from services.experiments import ledger
from services.experiments.servicer import ExperimentsServicer
from services.experiments.settings import ExperimentsSettings
from services.experiments.store.experiments import ExperimentStore
from services.experiments.store.results import ResultStore
from services.experiments.usecases import Experiments

SCHEMA = "experiments"
MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(slots=True)
class Service:
    """Everything wired, nothing started."""

    settings: ExperimentsSettings
    pool: Pool
    channel: grpc.aio.Channel
    wake: asyncio.Event
    follower: LedgerFollower
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
            await close_pool(self.pool)
            await operations.stop()

    async def _migrate(self) -> None:
        await migrate(self.settings.direct_url, SCHEMA, MIGRATIONS)

    async def _migrated(self) -> None:
        if not self.started.is_set():
            raise Unavailable("waiting for the database to migrate")


async def build(settings: ExperimentsSettings) -> Service:
    pool = await open_pool(settings)
    channel = open_channel(settings.router_target, settings)
    wake = asyncio.Event()
    follower = LedgerFollower(
        schema=SCHEMA,
        pool=pool,
        read=reader(channel, ledger.CONSUMER),
        apply=ledger.apply,
        wake=wake,
    )
    servicer = ExperimentsServicer(
        Experiments(
            ExperimentStore(pool),
            ResultStore(pool),
            follower.catch_up,
            catch_up_s=settings.catch_up_s,
        )
    )
    return Service(
        settings=settings,
        pool=pool,
        channel=channel,
        wake=wake,
        follower=follower,
        server=GrpcServer(
            settings, [lambda server: add_ExperimentsServiceServicer_to_server(servicer, server)]
        ),
    )


async def main(stop: asyncio.Event) -> None:
    settings = ExperimentsSettings()  # type: ignore[call-arg]  # read from the environment
    setup_logs(SCHEMA, settings.log_level)
    service = await build(settings)
    await service.run(stop)


if __name__ == "__main__":
    run(main)
