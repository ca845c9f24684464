"""What metrics can tell: the snapshot, the history, the totals."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from common.cache import Cache
from common.errors import Invalid
from common.redis_names import METRICS_LATEST, METRICS_LATEST_TTL_S
from common.wire import unix_ms
from services.metrics.domain.durations import percentiles
from services.metrics.domain.history import By, Series, Totals, Window, window
from services.metrics.domain.rollup import minute_of
from services.metrics.domain.snapshot import PERIOD_DAYS, rates, rfc3339, snapshot
from services.metrics.store.history import History
from services.metrics.store.rollups import RollupStore

EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Snapshot:
    position: str  # of the ledger, as the rollups stood
    figures: dict[str, Any]
    json: bytes  # the figures with the rates and the time of that moment
    made_s: float  # monotonic


def utc_now() -> datetime:
    return datetime.now(UTC)


class Reporting:
    def __init__(
        self,
        store: RollupStore,
        history: History,
        cache: Cache,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._history = history
        self._cache = cache
        self._now = now
        self._latest: Snapshot | None = None
        self._one_at_a_time = asyncio.Lock()

    async def snapshot(self) -> Snapshot:
        """
        Return the picture of the last seven days, the very same bytes while nothing changes.

        It is also left in Redis for the gateway, for as long as it stands.
        """
        async with self._one_at_a_time:
            latest = await self._current()
            # Without Redis nothing happens: whoever asks gets the bytes anyway.
            await self._cache.set_bytes(
                METRICS_LATEST, latest.json, METRICS_LATEST_TTL_S - self._age_s(latest)
            )
            return latest

    async def history(
        self, *, window_s: int, step_s: int, by: By | None
    ) -> tuple[Window, list[Series]]:
        """Return the steps, and one series of each of *by*; None: one of everything."""
        steps = window(self._now(), window_s=window_s, step_s=step_s)
        return steps, await self._history.series(steps, by)

    async def totals(self, since_ms: int, *, with_latency: bool) -> Totals:
        """Return the totals since the minute of *since_ms*; what is in the future means now."""
        if since_ms < 0:
            raise Invalid("since must not be negative", param="since")
        now_ms = unix_ms(self._now())  # whose clock is ahead of ours means now
        since = minute_of(EPOCH + timedelta(milliseconds=min(since_ms, now_ms)))
        return await self._history.totals(since, with_latency=with_latency)

    async def _current(self) -> Snapshot:
        """Make a new snapshot only if the figures changed or the old one is too old."""
        old = self._latest
        if old and self._age_s(old) >= METRICS_LATEST_TTL_S:
            old = None
        if old and old.position == await self._store.position():
            return old
        now = self._now()
        minute = minute_of(now)
        period = await self._store.period(
            minute - timedelta(days=PERIOD_DAYS),
            today=minute.replace(hour=0, minute=0),
            lately=minute - timedelta(minutes=1),
        )
        figures = snapshot(
            period.groups,
            latency=percentiles(period.latency),
            first_token=percentiles(period.first_token),
            spent=period.spent,
        )
        if old and figures == old.figures:  # rows came that change nothing here
            self._latest = Snapshot(period.position, figures, old.json, old.made_s)
        else:
            passing = {
                "active_experiments": period.lately.experiments,
                "last_minute": rates(period.lately, now),
                "timestamp": rfc3339(now),
            }
            body = orjson.dumps({**figures, **passing})
            self._latest = Snapshot(period.position, figures, body, time.monotonic())
        return self._latest

    def _age_s(self, snapshot: Snapshot) -> float:
        return time.monotonic() - snapshot.made_s
