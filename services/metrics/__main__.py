"""Wires the metrics service, once. `python -m services.metrics` runs it."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.metrics.v1.metrics_pb2_grpc import add_MetricsServiceServicer_to_server

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
from services.metrics import ledger
from services.metrics.live import Live
from services.metrics.retention import Retention
from services.metrics.servicer import MetricsServicer
from services.metrics.settings import MetricsSettings
from services.metrics.store.history import History
from services.metrics.store.rollups import RollupStore
from services.metrics.usecases import Reporting

SCHEMA = "metrics"
MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(slots=True, kw_only=True)
class Service(FollowingService):
    live: Live
    retention: Retention

    def beside(self) -> Sequence[Coroutine[Any, Any, None]]:
        return self.live.run(), self.retention.run()


async def build(settings: MetricsSettings) -> Service:
    pool = await open_pool(settings)
    cache = Cache(settings.redis_address, prefix="")  # the snapshot's key is well known
    channel = open_channel(settings.router_target, settings)
    store = RollupStore(pool)
    reporting = Reporting(store, History(pool), cache)
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
        schema=SCHEMA,
        migrations=MIGRATIONS,
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
            minute_days=settings.minute_retention_days,
            correction_days=settings.correction_window_days,
        ),
        server=GrpcServer(
            settings, [lambda server: add_MetricsServiceServicer_to_server(servicer, server)]
        ),
    )


async def main(stop: asyncio.Event) -> None:
    settings = from_environment(MetricsSettings)
    setup_logs(SCHEMA, settings.log_level)
    async with exporting(SCHEMA):
        service = await build(settings)
        await service.run(stop)


if __name__ == "__main__":
    run(SCHEMA, main)
