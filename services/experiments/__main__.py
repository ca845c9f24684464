"""Wires the experiments service, once. `python -m services.experiments` runs it."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.experiments.v1.experiments_pb2_grpc import add_ExperimentsServiceServicer_to_server

from common.cache import Cache
from common.following import FollowingService
from common.grpc_client import open_channel
from common.grpc_server import GrpcServer
from common.ledger_follower import LedgerFollower, reader
from common.logs import setup_logs
from common.postgres import open_pool
from common.service import run
from common.settings import from_environment
from common.telemetry import exporting
from services.experiments.announcer import Announcer
from services.experiments.comparisons import Comparisons
from services.experiments.housekeeping import Housekeeping
from services.experiments.ledger import CONSUMER, Recorder
from services.experiments.planning import Planning
from services.experiments.servicer import ExperimentsServicer
from services.experiments.settings import ExperimentsSettings
from services.experiments.store.comparisons import ComparisonStore
from services.experiments.store.outbox import Outbox
from services.experiments.store.traffic import TrafficStore
from services.experiments.usecases import Experiments

SCHEMA = "experiments"
MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(slots=True, kw_only=True)
class Service(FollowingService):
    announcer: Announcer
    housekeeping: Housekeeping

    def beside(self) -> Sequence[Coroutine[Any, Any, None]]:
        return self.announcer.run(), self.housekeeping.run()


async def build(settings: ExperimentsSettings) -> Service:
    pool = await open_pool(settings)
    channel = open_channel(settings.router_target, settings)
    wake = asyncio.Event()
    cache = Cache(settings.redis_address, prefix="")
    announcer = Announcer(
        Outbox(pool),
        cache,
        webhook_url=settings.webhook_url,
        webhook_secret=settings.webhook_secret,
    )
    recorder = Recorder(moved=announcer.moved)
    follower = LedgerFollower(
        schema=SCHEMA,
        pool=pool,
        read=reader(channel, CONSUMER),
        apply=recorder.apply,
        wake=wake,
        after_apply=recorder.after_apply,
    )
    experiments = Experiments(
        pool, follower.catch_up, catch_up_s=settings.catch_up_s, moved=announcer.moved
    )
    traffic = TrafficStore(pool)
    servicer = ExperimentsServicer(
        experiments, Planning(traffic), Comparisons(experiments, ComparisonStore(pool))
    )
    return Service(
        schema=SCHEMA,
        migrations=MIGRATIONS,
        settings=settings,
        pool=pool,
        cache=cache,
        channel=channel,
        wake=wake,
        follower=follower,
        announcer=announcer,
        housekeeping=Housekeeping(experiments, traffic),
        server=GrpcServer(
            settings, [lambda server: add_ExperimentsServiceServicer_to_server(servicer, server)]
        ),
    )


async def main(stop: asyncio.Event) -> None:
    settings = from_environment(ExperimentsSettings)
    setup_logs(SCHEMA, settings.log_level)
    async with exporting(SCHEMA):
        service = await build(settings)
        await service.run(stop)


if __name__ == "__main__":
    run(SCHEMA, main)
