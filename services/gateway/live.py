"""Live metrics: one subscription for the whole gateway, the newest snapshot for every client."""

import asyncio
import time
from datetime import UTC, datetime

import orjson
import structlog
from prometheus_client import Gauge

from common.errors import Failure
from services.gateway.snapshots import Snapshots

log = structlog.get_logger()
_pushed_at = Gauge(
    "optimizer_live_pushed_timestamp_seconds", "When the last snapshot came by push, not by poll."
)


class Live:
    """
    Holds the newest snapshot. Clients take it when they want it, so a slow one skips, never queues.

    Nothing is published while nothing changes, so now and then somebody must look: one for all.

    Args:
        snapshots: Where to look.
        poll_s: How long what was published or seen will do.
    """

    def __init__(self, snapshots: Snapshots, *, poll_s: float) -> None:
        self._snapshots = snapshots
        self._poll_s = poll_s
        self._newest: bytes | None = None
        self._until = -float("inf")  # when the newest is no longer taken on trust
        self._one_looks = asyncio.Lock()

    def published(self, snapshot: bytes) -> None:
        """Take a snapshot off the channel."""
        self._newest = snapshot
        _pushed_at.set_to_current_time()
        self._until = time.monotonic() + self._poll_s

    def connected(self) -> None:
        """Whatever was published while the line to Redis was down was missed."""
        self._until = -float("inf")

    async def newest(self) -> bytes:
        """Return the newest snapshot; if there is none at all, one that says so."""
        if time.monotonic() >= self._until:
            async with self._one_looks:
                if time.monotonic() >= self._until:
                    await self._look()
        return self._newest or _nothing()

    async def _look(self) -> None:
        before, found = self._newest, None
        try:
            seen, pushed = await self._snapshots.look()
        except Failure as failure:
            log.warning("live_metrics_silent", reason=failure.message)
        else:
            found = seen if pushed else _polled(seen)
        if self._newest is not before:
            return  # one was pushed meanwhile, and is newer
        self._newest = found
        self._until = time.monotonic() + self._poll_s


def _polled(snapshot: bytes) -> bytes:
    return orjson.dumps({**orjson.loads(snapshot), "source": "poll"})


def _nothing() -> bytes:
    """A client is told at once, even if it is only that there is nothing to tell."""
    return orjson.dumps(
        {
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "source": "none",
            "detail": "metrics are not available right now",
        }
    )
