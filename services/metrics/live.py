"""Pushes the snapshot to whoever watches, at most once an interval while rows arrive."""

import asyncio

import structlog

from common.cache import Cache
from common.errors import Failure
from common.redis_names import METRICS_LIVE
from services.metrics.usecases import Reporting

log = structlog.get_logger()


class Live:
    def __init__(self, reporting: Reporting, cache: Cache, *, interval_s: float) -> None:
        self._reporting = reporting
        self._cache = cache
        self._interval_s = interval_s
        self._changed = asyncio.Event()
        self._pushed = b""
        self._silent = False  # said already that it does not work

    async def changed(self) -> None:
        """Say that the rollups changed. Returns at once: pushing never holds the follower up."""
        self._changed.set()

    async def run(self) -> None:
        """Push after each change, then rest for the interval; changes meanwhile make one push."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._push()
            except Failure as failure:
                self._changed.set()  # Postgres is away: what changed is still to be told
                if not self._silent:
                    log.warning("snapshot not pushed", problem=failure.message)
                self._silent = True
            else:
                self._silent = False
            await asyncio.sleep(self._interval_s)

    async def _push(self) -> None:
        latest = await self._reporting.snapshot()
        if latest.json == self._pushed:
            return
        if await self._cache.publish(METRICS_LIVE, latest.json):
            self._pushed = latest.json
        else:
            self._changed.set()  # Redis is away: whoever watches is still to be told
