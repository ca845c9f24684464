"""What learning kept and nobody asks for any more."""

from common.postgres import Pool, connection

KEPT_DAYS = 90  # what trends look back on
SNAPSHOT_DAYS = 400  # longer than any experiment
_DROPS = (
    "DELETE FROM router.judgements WHERE occurred_at < now() - make_interval(days => $1)",
    "DELETE FROM router.evidence_shares WHERE updated_at < now() - make_interval(days => $1)",
    "DELETE FROM router.votes WHERE voted_at < now() - make_interval(days => $1)",
)


async def drop_old(pool: Pool) -> None:
    """
    Drop judgements, shares, votes and snapshots past their time, and questions an hour old.

    Raises:
        Unavailable, TimedOut: Postgres is silent.
    """
    async with connection(pool) as conn:
        for drop in _DROPS:
            await conn.execute(drop, KEPT_DAYS)
        await conn.execute(
            "DELETE FROM router.learned_snapshots"
            " WHERE taken_at < now() - make_interval(days => $1)",
            SNAPSHOT_DAYS,
        )
        await conn.execute(
            "DELETE FROM router.last_asked WHERE asked_at < now() - interval '1 hour'"
        )
