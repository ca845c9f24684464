"""Wires the router, once. `python -m services.router` runs it."""

import asyncio
import os
import secrets
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from optimizer.router.v1.router_pb2_grpc import add_RouterServiceServicer_to_server

from common.cache import Cache
from common.errors import Failure, Unavailable
from common.grpc_server import GrpcServer
from common.logs import setup_logs
from common.migrate import migrate
from common.ops import Operations, checks
from common.postgres import Pool, close_pool, open_pool
from common.redis_names import ANSWERS, CONVERSATIONS, LEDGER_GREW
from common.service import run
from common.settings import from_environment
from common.startup import run_until, until_available
from common.telemetry import exporting
from services.router.attempts import Candidates
from services.router.domain.strategies import Strategies
from services.router.estimates import Estimates
from services.router.feedback import Feedback
from services.router.providers.breaker import Breakers
from services.router.providers.client import ProviderClient
from services.router.servicer import RouterServicer
from services.router.settings import RouterSettings
from services.router.store import forgetting, partitions, usage
from services.router.store.answers import Answers
from services.router.store.catalog_file import CatalogFile
from services.router.store.conversations import Conversations
from services.router.store.feedback_stats import FeedbackStats
from services.router.store.journal import Journal
from services.router.store.learned import Learned
from services.router.store.ledger import Ledger
from services.router.store.ledger_reader import LedgerReader
from services.router.store.prices import Prices
from services.router.store.reaper import Reaper
from services.router.store.requests import Requests
from services.router.store.snapshots import Snapshots
from services.router.usecases import Routing

SCHEMA = "router"
MIGRATIONS = Path(__file__).parent / "migrations"
HOUSEKEEPING_S = 3600.0
LEAST_DRAIN_S = 1.0  # for stories whose callers were cut off: they settle what has come so far
# Each message makes three readers pull: more often would cost more than it tells.
TELL_EVERY_S = 0.25

log = structlog.get_logger()


@dataclass(slots=True)
class Service:
    """Everything wired, nothing started."""

    settings: RouterSettings
    pool: Pool
    cache: Cache
    talks: Cache
    catalog: CatalogFile
    client: ProviderClient
    ledger: Ledger
    reaper: Reaper
    learned: Learned
    routing: Routing
    server: GrpcServer
    grown: asyncio.Event
    started: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until *stop*; then let what is under way end, and settle it."""
        operations = Operations(
            self.settings.operations_listen, ready=checks({"ledger": self._recording})
        )
        await operations.start()
        try:
            if await until_available(self._migrate, stop):
                await self.ledger.start()
                await self.server.start()
                self.started.set()
                await run_until(
                    stop,
                    self.catalog.watch(),
                    self.reaper.run(),
                    self.learned.run(),
                    self._keep_house(),
                    self._tell_followers(),
                    drain=self._drain,
                )
        finally:
            await self.client.close()
            await self.ledger.stop()
            await self.cache.close()
            await self.talks.close()
            await close_pool(self.pool)
            await operations.stop()

    async def _migrate(self) -> None:
        await migrate(self.settings.direct_url, SCHEMA, MIGRATIONS)
        await partitions.make_ahead(self.pool)

    async def _recording(self) -> None:
        if not self.started.is_set():
            raise Unavailable("waiting for the database to migrate")
        await self.ledger.check()

    async def _drain(self) -> None:
        until = time.monotonic() + self.settings.drain_s
        await self.server.stop()
        await self.routing.drain(max(until - time.monotonic(), LEAST_DRAIN_S))

    async def _keep_house(self) -> None:
        """Make the ledger's coming days, and drop those that have been kept for long enough."""
        keep_days = self.settings.ledger_retention_days
        while True:
            try:
                await partitions.make_ahead(self.pool)
                await forgetting.drop_old(self.pool)
                if keep_days is not None:
                    await partitions.drop_expired(
                        self.pool, keep_days=keep_days, readers=self.settings.readers
                    )
            except Failure as failure:
                log.warning("housekeeping put off", reason=failure.message)
            await asyncio.sleep(HOUSEKEEPING_S)

    async def _tell_followers(self) -> None:
        """Say "there is more", once for whatever grew meanwhile; unheard, followers poll."""
        while True:
            await self.grown.wait()
            self.grown.clear()
            await self.cache.publish(LEDGER_GREW, b"")
            await asyncio.sleep(TELL_EVERY_S)


async def build(settings: RouterSettings) -> Service:
    """
    Wire everything; nothing is started, nobody is called.

    Raises:
        Invalid: the catalog is wrong; the message points at the line.
    """
    pool = await open_pool(settings)
    cache = Cache(settings.redis_address, prefix=ANSWERS)
    talks = Cache(settings.redis_address, prefix=CONVERSATIONS)
    grown = asyncio.Event()
    catalog = CatalogFile(settings.catalog_path, os.environ, Prices(pool))
    client = ProviderClient(lambda: catalog.current)
    ledger = Ledger(
        pool,
        Journal(settings.journal_path, max_bytes=settings.journal_max_bytes),
        commit_limit_s=settings.commit_timeout_s,
        on_grown=grown.set,
    )
    reader = LedgerReader(pool)
    learned = Learned(pool, lambda: catalog.current)
    answers = Answers(cache, ttl_s=settings.answer_ttl_s)
    strategies = Strategies(lambda: catalog.current, lambda: learned.current)
    breakers = Breakers()
    replica = secrets.token_hex(4)
    log.info("replica_named", replica=replica)
    routing = Routing(
        catalog=lambda: catalog.current,
        strategies=strategies,
        candidates=Candidates(client, breakers, drain_s=settings.stream_drain_s),
        ledger=ledger,
        answers=answers,
        conversations=Conversations(talks),
        snapshots=Snapshots(pool, learned.known),
    )
    servicer = RouterServicer(
        routing,
        reader,
        learned,
        feedback=Feedback(ledger, answers, pool, on_grown=grown.set),
        stats=FeedbackStats(pool),
        estimates=Estimates(pool, strategies),
        requests=Requests(pool, caught_up=lambda: ledger.caught_up),
        breakers=breakers,
        replica=replica,
        usage=lambda day, tenant: usage.hours(pool, day, tenant=tenant),
        longest_s=settings.request_timeout_s,
    )
    return Service(
        settings=settings,
        pool=pool,
        cache=cache,
        talks=talks,
        catalog=catalog,
        client=client,
        ledger=ledger,
        reaper=Reaper(
            pool,
            every_s=settings.reaper_interval_s,
            grace_s=settings.reaper_grace_s,
            may_guess=lambda: ledger.caught_up,
            on_grown=grown.set,
        ),
        learned=learned,
        routing=routing,
        server=GrpcServer(
            settings, [lambda server: add_RouterServiceServicer_to_server(servicer, server)]
        ),
        grown=grown,
    )


async def main(stop: asyncio.Event) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # asks for the catalog, which is yet to be read
    settings = from_environment(RouterSettings)
    setup_logs(SCHEMA, settings.log_level)
    async with exporting(SCHEMA):
        service = await build(settings)
        await service.run(stop)


if __name__ == "__main__":
    run(SCHEMA, main)
