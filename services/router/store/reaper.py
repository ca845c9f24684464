"""
Settles what nobody settles: attempts left open by a router that died, requests never closed.

It follows the ledger like any reader, remembers the few attempts that were unfinished when it
came by, and looks after them until they are finished or their deadline has passed. So its cost
is that of one reader, not that of searching the ledger.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import Gauge

from common.postgres import Connection, Pool, connection, transaction
from services.router.domain.entries import Kind, Row, finish
from services.router.store import ledger_table
from services.router.store.ledger_reader import FINAL, ROWS_BEHIND
from services.router.store.partitions import REAPER

EVERY_S = 15.0
GRACE_S = 30.0  # for clocks that differ, and for streams that are drained after their deadline
SPAN_ROWS = 20_000
MAX_REQUESTS = 200  # finished in one go

log = structlog.get_logger()
_UNSETTLED = Gauge(
    "optimizer_ledger_unsettled", "Attempts whose settlement or whose request's end is not there."
)

# OFFSET 0 keeps the planner from answering "is it there?" by reading every day of the ledger.
_FINISHED = f"""
    EXISTS (SELECT FROM router.ledger AS settled
             WHERE settled.attempt_id = attempt.attempt_id AND settled.kind = {Kind.SETTLED:d}
            OFFSET 0)
    AND EXISTS (SELECT FROM router.ledger AS closed
                 WHERE closed.attempt_id = attempt.request_id AND closed.kind = {Kind.CLOSED:d}
                OFFSET 0)
"""  # noqa: S608 - constants only

_FOLLOW = f"""
    WITH span AS MATERIALIZED (
        SELECT epoch, xact_id, seq, kind, attempt_id, request_id, recorded_at, deadline_at
          FROM {ROWS_BEHIND}
         WHERE {FINAL}
    ), remembered AS (
        INSERT INTO router.ledger_unfinished (attempt_id, request_id, deadline_at)
        SELECT attempt_id, request_id, coalesce(deadline_at, recorded_at)
          FROM span AS attempt
         WHERE kind = {Kind.OPENED:d} AND NOT ({_FINISHED})
        ON CONFLICT (attempt_id) DO NOTHING
    ), noted AS (
        INSERT INTO router.ledger_readers (consumer, epoch, xact_id, seq)
        SELECT '{REAPER}', epoch, xact_id, seq
          FROM span ORDER BY epoch DESC, xact_id DESC, seq DESC LIMIT 1
        ON CONFLICT (consumer) DO UPDATE
           SET epoch = excluded.epoch, xact_id = excluded.xact_id, seq = excluded.seq,
               seen_at = now()
    )
    SELECT count(*) FROM span
"""  # noqa: S608 - constants only


class Reaper:
    """
    Args:
        pool: Where the ledger is.
        every_s: How often it makes its round.
        grace_s: How long after its deadline an attempt is settled.
        may_guess: False while the truth may still wait in our journal.
        on_grown: Called after rows were added.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        every_s: float = EVERY_S,
        grace_s: float = GRACE_S,
        may_guess: Callable[[], bool] = lambda: True,
        on_grown: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._every_s = every_s
        self._grace = timedelta(seconds=grace_s)
        self._may_guess = may_guess
        self._on_grown = on_grown

    async def run(self) -> None:
        """Make rounds until cancelled; Postgres being away is waited out."""
        failing = False
        while True:
            try:
                await self.make_round()
                failing = False
            except Exception as error:  # noqa: BLE001 - the next round may succeed
                if not failing:
                    log.warning("reaper_failed", reason=repr(error))
                failing = True
            await asyncio.sleep(self._every_s)

    async def make_round(self, *, now: datetime | None = None) -> int:
        """
        Catch up with the ledger, then finish what is overdue; return how many rows that took.

        Replicas take turns; should two guess at once, the unique key takes the first guess, and
        should the truth come meanwhile, it is added as a correction.
        """
        while await self._follow() == SPAN_ROWS:
            pass
        now = now or datetime.now(UTC)
        added = 0
        while self._may_guess() and (overdue := await self._overdue(now - self._grace)):
            added += await self._finish(overdue, now)
            await self._follow(finished_only=True)
        return added

    async def _follow(self, *, finished_only: bool = False) -> int:
        """Remember the unfinished of the next span, forget the finished; return the span's rows."""
        async with transaction(self._pool) as conn:
            if not await conn.fetchval(
                "SELECT pg_try_advisory_xact_lock(hashtext('router.ledger'), hashtext('reaper'))"
            ):
                return 0
            seen = 0
            if not finished_only:
                at = await conn.fetchrow(
                    "SELECT epoch, xact_id::text, seq FROM router.ledger_readers"
                    " WHERE consumer = $1",
                    REAPER,
                )
                seen = await conn.fetchval(_FOLLOW, *(at or (0, "0", 0)), SPAN_ROWS)
            await conn.execute(
                f"DELETE FROM router.ledger_unfinished AS attempt WHERE {_FINISHED}"  # noqa: S608
            )
            _UNSETTLED.set(await conn.fetchval("SELECT count(*) FROM router.ledger_unfinished"))
        return int(seen)

    async def _overdue(self, before: datetime) -> dict[UUID, list[UUID]]:
        """Return the attempts of requests that should have ended before this moment."""
        async with connection(self._pool) as conn:
            found = await conn.fetch(
                """
                SELECT request_id, array_agg(attempt_id) AS attempts
                  FROM router.ledger_unfinished
                 GROUP BY request_id HAVING max(deadline_at) < $1
                 ORDER BY max(deadline_at)
                 LIMIT $2
                """,
                before,
                MAX_REQUESTS,
            )
        return {record["request_id"]: record["attempts"] for record in found}

    async def _finish(self, overdue: dict[UUID, list[UUID]], now: datetime) -> int:
        requests, attempts = list(overdue), [a for some in overdue.values() for a in some]
        async with connection(self._pool) as conn:
            rows = await _rows_of(conn, [*requests, *attempts])
            missing = [row for some in rows.values() for row in finish(some, recorded_at=now)]
            added = await ledger_table.add(conn, ledger_table.encode(missing)) if missing else 0
            if not missing:  # their day was dropped: nobody will ever finish them
                await conn.execute(
                    "DELETE FROM router.ledger_unfinished WHERE request_id = ANY($1::uuid[])",
                    requests,
                )
        log.warning("ledger_finished_by_reaper", requests=len(requests), rows=added)
        self._on_grown()
        return added


async def _rows_of(conn: Connection, identifiers: list[UUID]) -> dict[UUID, list[Row]]:
    """Return what the ledger knows of some attempts and requests, by request."""
    found = await conn.fetch(
        f"SELECT {ledger_table.COLUMNS} FROM router.ledger"  # noqa: S608 - constants only
        " WHERE attempt_id = ANY($1::uuid[]) AND kind <> $2",
        identifiers,
        Kind.FEEDBACK,
    )
    rows: dict[UUID, list[Row]] = defaultdict(list)
    for record in found:
        row = ledger_table.row_of(record)
        rows[row.request_id].append(row)
    return rows
