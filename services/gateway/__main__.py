"""Wires the gateway and runs it."""

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import structlog
import uvicorn

from common.cache import Cache
from common.errors import Unavailable
from common.grpc_client import open_channel
from common.ledger_follower import LedgerFollower, reader
from common.logs import setup_logs
from common.migrate import migrate
from common.ops import OK, Operations
from common.postgres import close_pool, open_pool
from common.redis_listen import listen
from common.redis_names import EXPERIMENTS_MOVED, LEDGER_GREW, METRICS_LIVE
from common.service import run
from common.settings import from_environment
from common.startup import run_until, until_available
from common.telemetry import exporting
from services.gateway.api.protocol import Protocol, SocketProtocol
from services.gateway.app import Parts, make_app
from services.gateway.clients.experiments import Experiments
from services.gateway.clients.metrics import Metrics
from services.gateway.clients.router import Router
from services.gateway.comparisons import Comparisons
from services.gateway.figures import learn_names
from services.gateway.launches import Launches
from services.gateway.live import Live
from services.gateway.settings import GatewaySettings
from services.gateway.snapshots import Snapshots
from services.gateway.standing import Standing
from services.gateway.store.spend import Spend
from services.gateway.usecases import Completions

MIGRATIONS = Path(__file__).parent / "migrations"
WAKE_S = 0.25  # a busy ledger grows with every commit; following it in bigger steps costs less
WS_PING_S = 20.0
BACKLOG = 2048

log = structlog.get_logger()


class Gateway:
    """Everything the gateway is made of, from `start` to `stop`."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.address = ""  # where it listens, once it does
        self.listening = asyncio.Event()
        self.standing: Standing
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """
        Serve until *stop*, then drain.

        Raises:
            Unavailable: the address is taken.
        """
        settings = self.settings
        listener = self._listen()
        pool = await open_pool(settings)
        cache = Cache(settings.redis_address, prefix="")
        router_channel = open_channel(settings.router_target, settings)
        channels = (
            router_channel,
            open_channel(settings.experiments_target, settings),
            open_channel(settings.metrics_target, settings),
        )
        router = Router(router_channel, request_timeout_s=settings.request_timeout_s)
        metrics = Metrics(channels[2])
        snapshots = Snapshots(cache, metrics)
        live = Live(snapshots, poll_s=settings.live_poll_s)
        spend = Spend(pool)

        async def ready() -> Mapping[str, str]:
            return {"router": await router.health(), "gateway": self._own_health()}

        experiments = Experiments(channels[1])
        standing = self.standing = Standing(experiments)
        completions = Completions(router, experiments, spend, standing)
        comparisons = Comparisons(
            completions,
            experiments,
            router,
            at_once=settings.comparisons_at_once,
            waiting=settings.comparisons_waiting,
            limit_s=settings.comparison_timeout_s,
        )
        parts = Parts(
            router,
            experiments,
            metrics,
            spend,
            completions,
            comparisons,
            Launches(router, experiments),
            snapshots,
            live,
            ready,
        )
        operations = Operations(settings.operations_listen, ready=ready)
        wake = _Wake()
        follower = LedgerFollower(
            schema="gateway",
            pool=pool,
            read=reader(router_channel, "gateway"),
            apply=spend.apply,
            wake=wake.event,
            after_apply=spend.refresh,
        )

        async def follow() -> None:
            # Completions need no database here, so they do not wait for it.
            if await until_available(
                lambda: migrate(settings.direct_url, "gateway", MIGRATIONS), stop
            ):
                await run_until(stop, follower.run(), spend.keep_fresh())
            await stop.wait()

        try:
            await operations.start()
            background = asyncio.create_task(
                run_until(
                    asyncio.Event(),
                    follow(),
                    standing.run(),
                    learn_names(router),
                    comparisons.run(),
                    listen(settings.redis_address, LEDGER_GREW, wake.grew),
                    listen(
                        settings.redis_address,
                        EXPERIMENTS_MOVED,
                        standing.moved,
                        on_connect=standing.moved,
                    ),
                    listen(
                        settings.redis_address,
                        METRICS_LIVE,
                        live.published,
                        on_connect=live.connected,
                    ),
                )
            )
            try:
                await self._serve(parts, listener, stop, background)
            finally:
                background.cancel()
                await asyncio.gather(background, return_exceptions=True)
        finally:
            await operations.stop()
            for channel in channels:
                await channel.close(None)
            await cache.close()
            await close_pool(pool)

    def _own_health(self) -> str:
        return "stopping" if self._stopping else OK

    def _listen(self) -> socket.socket:
        host, number = self.settings.listen_address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, number), family=family, backlog=BACKLOG)
        except OSError as error:
            raise Unavailable(
                f"cannot listen on {self.settings.listen}: {error.strerror};"
                " choose another GATEWAY_LISTEN"
            ) from error
        bound = listener.getsockname()
        self.address = f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"
        return listener

    async def _serve(
        self,
        parts: Parts,
        listener: socket.socket,
        stop: asyncio.Event,
        background: "asyncio.Task[None]",
    ) -> None:
        server = _Server(_uvicorn_config(self.settings, parts))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        waiting = asyncio.create_task(stop.wait())
        log.info("listening", address=self.address, keys=self.settings.admin_key is not None)
        self.listening.set()
        try:
            await asyncio.wait((serving, waiting, background), return_when=asyncio.FIRST_COMPLETED)
            self._stopping = True
            server.should_exit = True
            await serving
            if background.done():
                background.result()
        finally:
            waiting.cancel()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `common.service`."""
        yield


class _Wake:
    """Turns many calls into one now and then."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def grew(self, _: bytes) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WAKE_S, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.event.set()


def _uvicorn_config(settings: GatewaySettings, parts: Parts) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(settings, parts),
        http=partial(Protocol, wait_s=settings.client_wait_s),  # type: ignore[arg-type]  # as good
        ws=SocketProtocol,
        ws_max_size=settings.live_message_bytes,
        ws_ping_interval=WS_PING_S,
        ws_ping_timeout=WS_PING_S,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )


def build(settings: GatewaySettings) -> Gateway:
    """Put the gateway together; `run` starts it."""
    return Gateway(settings)


async def main(stop: asyncio.Event) -> None:
    settings = from_environment(GatewaySettings)
    setup_logs("gateway", settings.log_level)
    async with exporting("gateway"):
        await build(settings).run(stop)


if __name__ == "__main__":
    run("gateway", main)
