"""Forgets what has outlived its use. The ledger keeps what it keeps."""

import asyncio
from datetime import timedelta

import structlog

from common.errors import Failure
from services.metrics.store.rollups import RollupStore
from services.metrics.usecases import utc_now

EVERY_S = 3600.0

log = structlog.get_logger()


class Retention:
    def __init__(
        self, store: RollupStore, *, rollup_days: int, minute_days: int, correction_days: int
    ) -> None:
        self._store = store
        self._rollup_age = timedelta(days=rollup_days)
        self._minute_age = timedelta(days=minute_days)
        self._request_age = timedelta(days=correction_days)

    async def run(self) -> None:
        """Look once an hour, for ever; two replicas that look at once do no harm."""
        while True:
            try:
                await self.forget()
            except Failure as failure:  # Postgres is away: in an hour there is just more to do
                log.warning("nothing forgotten", problem=failure.message)
            await asyncio.sleep(EVERY_S)

    async def forget(self) -> None:
        now = utc_now()
        gone = await self._store.forget(
            rollups_before=now - self._rollup_age,
            minutes_before=now - self._minute_age,
            requests_before=now - self._request_age,
        )
        if gone:
            log.info("forgotten", rows=gone)
