"""What people say of answers: stars for a request, votes on an answer that is given again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from common.errors import Invalid, NotFound, Unavailable
from common.postgres import Connection, Pool, transaction
from services.router.domain.entries import clean_text
from services.router.store import feedback_rows, ledger_table, votes
from services.router.store.answers import Answers
from services.router.store.ledger import Ledger

BEST_SCORE = 5
MOST_COMMENT = 1000  # characters
MOST_VOTE_COMMENT = 500


@dataclass(frozen=True, slots=True)
class Voted:
    up: int
    down: int
    score: float  # net, -1 to 1
    invalidated: bool  # the answer is not given any more


class Feedback:
    """
    Args:
        ledger: Keeps what is said.
        answers: The response cache.
        pool: Of the router's schema.
        on_grown: Called when a vote is in the ledger.
    """

    def __init__(
        self, ledger: Ledger, answers: Answers, pool: Pool, *, on_grown: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._answers = answers
        self._pool = pool
        self._on_grown = on_grown

    async def rate(
        self,
        request_id: UUID,
        *,
        tenant: str,
        quality_score: int,
        is_correct: bool,
        is_helpful: bool | None,
        comment: str,
    ) -> int:
        """
        Add a revision of a request's feedback; the last one counts.

        Raises:
            Invalid: the score or the comment is out of bounds.
            NotFound: no such request of this tenant has ended.
        """
        if not 1 <= quality_score <= BEST_SCORE:
            raise Invalid(
                f"quality_score must be within 1..{BEST_SCORE}, got {quality_score}",
                param="quality_score",
            )
        _check_length(comment, MOST_COMMENT)
        details = {
            "quality_score": quality_score,
            "is_correct": is_correct,
            "is_helpful": is_helpful,
            "comment": comment or None,
        }
        return await self._ledger.record_feedback(request_id, tenant, details)

    async def vote(self, cache_key: str, *, tenant: str, rating: int, comment: str) -> Voted:
        """
        Count a vote on the answer that is kept under *cache_key*; a bad one is forgotten.

        Raises:
            Invalid: the rating or the comment is out of bounds.
            NotFound: nothing is kept under this key, or it is another tenant's.
            Conflict: its request is being rated by very many at once.
            Unavailable: Redis or Postgres is silent, or the request still waits in the journal;
                the vote does not count.
        """
        if rating not in (-1, 1):
            raise Invalid(f"rating must be -1 or 1, got {rating}", param="rating")
        _check_length(comment, MOST_VOTE_COMMENT)
        kept = await self._answers.look_up(cache_key)
        if kept is None or kept.request_id is None or kept.tenant != tenant:
            raise NotFound("no answer is kept under this key")
        async with transaction(self._pool) as conn:
            tally = await votes.add(
                conn,
                cache_key,
                kept.request_id,
                kept.model,
                rating=rating,
                comment=clean_text(comment, MOST_VOTE_COMMENT) or "",
            )
            if tally is None:
                raise NotFound("no answer is kept under this key")
            said = {"votes": {"up": tally.up, "down": tally.down}}
            await self._tell_ledger(conn, kept.request_id, tenant, said)
            if tally.bad and not await self._answers.forget(cache_key):
                raise Unavailable("Redis is silent, so the vote does not count; try again")
        self._on_grown()
        return Voted(tally.up, tally.down, tally.score, tally.bad)

    async def _tell_ledger(
        self, conn: Connection, request_id: UUID, tenant: str, said: Mapping[str, Any]
    ) -> None:
        """Append a revision. Where the ledger has dropped the request, nobody learns of it."""
        await ledger_table.ready(conn)
        try:
            await feedback_rows.add(conn, request_id, tenant, said)
        except NotFound:
            if not self._ledger.caught_up:  # it is still to come, and would never hear of this
                raise Unavailable("the ledger is catching up; try again", retry_after_s=1) from None


def _check_length(comment: str, most: int) -> None:
    if len(comment) > most:
        raise Invalid(f"comment: {most} characters at most", param="comment")
