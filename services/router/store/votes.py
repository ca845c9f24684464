"""Votes on answers in the response cache: `router.votes`."""

from dataclasses import dataclass
from uuid import UUID

from common.postgres import Connection

ENOUGH_VOTES = 3
LEAST_SCORE = 0.3


@dataclass(frozen=True, slots=True)
class Tally:
    """The votes that count for an answer, and whether they forbid to give it again."""

    up: int
    down: int

    @property
    def score(self) -> float:
        """Return the net rating, -1 to 1."""
        return (self.up - self.down) / (self.up + self.down)

    @property
    def bad(self) -> bool:
        return self.up + self.down >= ENOUGH_VOTES and self.score < LEAST_SCORE


async def add(
    conn: Connection, cache_key: str, request_id: UUID, model: str, *, rating: int, comment: str
) -> Tally | None:
    """
    Count a vote; None: others have voted this answer down meanwhile.

    Votes on a bad answer are spent, so that the next answer under its key starts anew. One at a
    time for each key, until the transaction ends: exactly one vote is the last one.
    """
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", cache_key)
    if await conn.fetchval(
        "SELECT true FROM router.votes WHERE request_id = $1 AND spent LIMIT 1", request_id
    ):
        return None
    await conn.execute(
        "INSERT INTO router.votes (cache_key, request_id, model, rating, comment)"
        " VALUES ($1, $2, $3, $4, $5)",
        cache_key,
        request_id,
        model,
        rating,
        comment or None,
    )
    row = await conn.fetchrow(
        """
        SELECT count(*) FILTER (WHERE rating > 0) AS up,
               count(*) FILTER (WHERE rating < 0) AS down
          FROM router.votes
         WHERE cache_key = $1 AND request_id = $2 AND NOT spent
        """,
        cache_key,
        request_id,
    )
    tally = Tally(row["up"], row["down"]) if row else Tally(0, 0)
    if tally.bad:
        await conn.execute(
            "UPDATE router.votes SET spent = true"
            " WHERE cache_key = $1 AND request_id = $2 AND NOT spent",
            cache_key,
            request_id,
        )
    return tally
