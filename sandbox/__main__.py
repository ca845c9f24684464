"""Starts the sandbox: `python -m sandbox`."""

import asyncio
from types import TracebackType
from typing import Self

import structlog
from uvicorn.config import Config
from uvicorn.server import ServerState

from common.service import run
from common.settings import from_environment
from sandbox.app import SandboxApp
from sandbox.http import Protocol
from sandbox.models import MODELS
from sandbox.settings import SandboxSettings

log = structlog.get_logger()

_KEEP_ALIVE_S = 75


class Sandbox:
    """A running sandbox: `async with build(settings) as sandbox: sandbox.url`."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.app = SandboxApp(settings)
        self.url = ""
        self._listen = settings.listen
        self._drain_s = settings.drain_s
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        host, _, port = self._listen.rpartition(":")
        config = Config(
            self.app,
            http=Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        config.load()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Protocol(config, self._state, {}), host.strip("[]"), int(port), backlog=2048
        )
        bound = self._server.sockets[0].getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        self.url = f"http://{shown}:{bound[1]}"

    async def stop(self) -> None:
        """Take no more connections, let running answers end for a moment, then cut them."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if running := set(self._state.tasks):
            _, late = await asyncio.wait(running, timeout=self._drain_s)
            for task in late:
                task.cancel()
        for connection in list(self._state.connections):
            connection.transport.abort()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


def build(settings: SandboxSettings) -> Sandbox:
    return Sandbox(settings)


async def main(stop: asyncio.Event) -> None:
    """Serve until told to stop."""
    async with build(from_environment(SandboxSettings)) as sandbox:
        log.info("listening", url=sandbox.url, simulated=True, models=sorted(MODELS))
        await stop.wait()


if __name__ == "__main__":
    run("sandbox", main)
