"""Moves that others have not been told of yet. The rows are those of `transitions`."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from common.postgres import Pool, connection

CLAIM = timedelta(seconds=30)  # longer than telling takes; then another replica may try
KEEP_TRYING = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Move:
    id: int
    experiment_id: int
    status: str
    by: str
    reason: str
    at: datetime


class Outbox:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self) -> list[Move]:
        """
        Return what is to be told, oldest first; nobody else is given it for a while.

        Nothing is locked while it is told: an open transaction would hold back the ledger.
        """
        async with connection(self._pool) as conn:
            rows = await conn.fetch(
                """
                UPDATE experiments.transitions SET claimed_until = clock_timestamp() + $1::interval
                WHERE id IN (
                    SELECT id FROM experiments.transitions
                    WHERE told_at IS NULL AND at > clock_timestamp() - $2::interval
                      AND coalesce(claimed_until, '-infinity') < clock_timestamp()
                    ORDER BY id LIMIT 20 FOR UPDATE SKIP LOCKED)
                RETURNING id, experiment_id, status, by, reason, at
                """,
                CLAIM,
                KEEP_TRYING,
            )
        return sorted((Move(**row) for row in rows), key=lambda move: move.id)

    async def told(self, move: Move) -> None:
        async with connection(self._pool) as conn:
            await conn.execute(
                "UPDATE experiments.transitions SET told_at = clock_timestamp() WHERE id = $1",
                move.id,
            )
