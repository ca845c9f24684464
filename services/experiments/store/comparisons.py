"""What judges said of pairs of answers, in Postgres. Every query on `comparisons` lives here."""

from collections.abc import Sequence
from typing import NamedTuple

from common.errors import OverBudget
from common.postgres import Connection, Pool, connection, transaction

BUDGET_LOCK = 7_214_002  # one reservation in one experiment at a time


class Judged(NamedTuple):
    """How many pairs of two arms a judge said the same of."""

    arm: str  # that served
    other: str
    first: str  # what was preferred, once with each answer first
    second: str
    pairs: int


class Tally(NamedTuple):
    judged: list[Judged]
    cost_nano_usd: int
    failed: int  # pairs without a judgement


class ComparisonStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def reserve(
        self, experiment_id: int, request_id: str, nano_usd: int, *, budget_nano_usd: int
    ) -> None:
        """
        Set a part of the budget aside; what a comparison really cost replaces it later.

        Raises:
            OverBudget: it is not there.
        """
        async with transaction(self._pool) as conn:
            await conn.execute(
                "SELECT pg_advisory_xact_lock($1, $2)", BUDGET_LOCK, experiment_id % 2**31
            )
            spent = await _spent(conn, experiment_id, but_for=request_id)
            if spent + nano_usd > budget_nano_usd:
                raise OverBudget("the budget for comparing answers is spent")
            await conn.execute(
                """
                INSERT INTO experiments.comparisons (experiment_id, request_id, reserved_nano_usd)
                VALUES ($1, $2, $3) ON CONFLICT (experiment_id, request_id) DO NOTHING
                """,
                experiment_id,
                request_id,
                nano_usd,
            )

    async def record(
        self,
        experiment_id: int,
        request_id: str,
        *,
        arm: str,
        other: str,
        preferred: Sequence[str],
        cost_nano_usd: int | None,
        failure: str,
    ) -> None:
        """Keep what was said; saying it again changes nothing."""
        async with connection(self._pool) as conn:
            await conn.execute(
                """
                INSERT INTO experiments.comparisons AS known
                    (experiment_id, request_id, reserved_nano_usd, arm, other, preferred,
                     cost_nano_usd, failure, recorded_at)
                VALUES ($1, $2, coalesce($6, 0), $3, $4, $5, $6, $7, clock_timestamp())
                ON CONFLICT (experiment_id, request_id) DO UPDATE SET
                    arm = excluded.arm, other = excluded.other, preferred = excluded.preferred,
                    cost_nano_usd = excluded.cost_nano_usd, failure = excluded.failure,
                    recorded_at = excluded.recorded_at
                WHERE known.recorded_at IS NULL
                """,
                experiment_id,
                request_id,
                arm,
                other,
                list(preferred),
                cost_nano_usd,
                failure or None,
            )

    async def tally(self, experiment_id: int) -> Tally:
        """Add up what comparing has led to so far, at one moment."""
        async with (
            connection(self._pool) as conn,
            conn.transaction(isolation="repeatable_read", readonly=True),
        ):
            judged = await conn.fetch(
                """
                SELECT arm, other, preferred[1] AS first, preferred[2] AS second, count(*) AS pairs
                FROM experiments.comparisons
                WHERE experiment_id = $1 AND recorded_at IS NOT NULL AND failure IS NULL
                GROUP BY arm, other, preferred
                """,
                experiment_id,
            )
            failed = await conn.fetchval(
                """
                SELECT count(*) FROM experiments.comparisons
                WHERE experiment_id = $1 AND failure IS NOT NULL
                """,
                experiment_id,
            )
            spent = await _spent(conn, experiment_id)
        return Tally([Judged(**row) for row in judged], spent, failed)


async def _spent(conn: Connection, experiment_id: int, *, but_for: str = "") -> int:
    """Return what comparing has cost, and what is set aside for what is under way."""
    spent: int = await conn.fetchval(
        """
        SELECT coalesce(sum(coalesce(cost_nano_usd, reserved_nano_usd)), 0)::bigint
        FROM experiments.comparisons WHERE experiment_id = $1 AND request_id <> $2
        """,
        experiment_id,
        but_for,
    )
    return spent
