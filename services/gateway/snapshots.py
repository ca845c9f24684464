"""The metrics snapshot: from Redis while it is there, else from the metrics service."""

import asyncio
from typing import Protocol

from prometheus_client import Counter

from common.redis_names import METRICS_LATEST

_lookups = Counter(
    "optimizer_metrics_cache_lookups_total", "Looks for the snapshot in Redis.", ["result"]
)


class HoldsBytes(Protocol):
    async def get_bytes(self, key: str) -> bytes | None: ...
    async def ping(self) -> bool: ...


class MakesSnapshots(Protocol):
    async def snapshot(self) -> bytes: ...


class Snapshots:
    def __init__(self, cache: HoldsBytes, metrics: MakesSnapshots) -> None:
        self._cache = cache
        self._metrics = metrics
        self._asking: asyncio.Task[bytes] | None = None
        self.hits = 0
        self.misses = 0

    async def latest(self) -> bytes:
        """
        Return the snapshot as JSON, the bytes that everybody gets.

        The metrics service keeps the copy in Redis; written from here it could overwrite a newer.

        Raises:
            Unavailable: Redis has none, and the metrics service is silent.
        """
        if found := await self._cache.get_bytes(METRICS_LATEST):
            self.hits += 1
            _lookups.labels("hit").inc()
            return found
        self.misses += 1
        _lookups.labels("miss").inc()
        return await self._ask()

    async def look(self) -> tuple[bytes, bool]:
        """Return the snapshot, uncounted, and whether Redis is there to push the next one."""
        if found := await self._cache.get_bytes(METRICS_LATEST):
            return found, True
        return await self._ask(), await self._cache.ping()

    async def _ask(self) -> bytes:
        """Ask the metrics service, once for all who want to know at this moment."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._metrics.snapshot())
        # Shielded: one caller that hangs up must not take the answer from the others.
        return await asyncio.shield(self._asking)
