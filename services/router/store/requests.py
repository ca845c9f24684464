"""Requests that have ended, out of the ledger: in pages, and one with all that belongs to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg

from common.errors import Invalid, NotFound, Unavailable
from common.ids import LAST, first_id_at, time_of
from common.postgres import Connection, Pool, connection
from services.router.domain.entries import Kind, Row
from services.router.store import ledger_table

USUAL_LIMIT = 50
MOST_LIMIT = 500
MOST_LOOKED_AT = 20_000  # for one page: some 30 ms
MOST_ATTEMPTS = 200
CLOCKS_DIFFER = timedelta(seconds=5)  # the edge names requests, the router attempts

# By the primary key, which is the time: a page touches its own days only, and stops as soon as it
# is full. $1: before; $2: how many to look at; $3: how many to find; then what must fit.
_TOLD = """attempt_id, recorded_at, user_id, strategy, model, provider, outcome, confidence,
           cost_nano_usd, baseline_cost_nano_usd, latency_ms, time_to_first_token_ms,
           input_tokens, output_tokens, cache_hit, fallbacks, experiment_id, arm, estimated"""
FIND = f"""
    SELECT {_TOLD}
      FROM (SELECT {_TOLD}, tenant FROM router.ledger
             WHERE kind = {Kind.CLOSED:d} AND attempt_id < $1
             ORDER BY attempt_id DESC LIMIT $2) AS looked_at
     WHERE ($4::text IS NULL OR tenant = $4) AND ($5::text IS NULL OR model = $5)
       AND ($6::text IS NULL OR strategy = $6) AND ($7::text IS NULL OR outcome = $7)
     ORDER BY attempt_id DESC LIMIT $3
"""  # noqa: S608 - constants only

_LAST_LOOKED_AT = f"""
    SELECT attempt_id FROM router.ledger
     WHERE kind = {Kind.CLOSED:d} AND attempt_id < $1
     ORDER BY attempt_id DESC OFFSET $2 LIMIT 1
"""  # noqa: S608 - constants only

_OF_ONE = f"""
    SELECT {ledger_table.COLUMNS} FROM router.ledger
     WHERE attempt_id = $1 AND kind IN ({Kind.CLOSED:d}, {Kind.FEEDBACK:d})
     ORDER BY kind, revision
"""  # noqa: S608 - constants only

# No index leads from a request to its attempts, but both are named by the time they began.
_ATTEMPTS = f"""
    SELECT {ledger_table.COLUMNS} FROM router.ledger
     WHERE attempt_id >= $1 AND attempt_id < $2 AND request_id = $3
       AND kind IN ({Kind.SETTLED:d}, {Kind.CORRECTED:d})
     ORDER BY attempt_id, kind, revision LIMIT {MOST_ATTEMPTS}
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must fit; None: anything does."""

    tenant: str | None = None
    model: str | None = None
    strategy: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    requests: Sequence[asyncpg.Record]
    next: UUID | None  # None: there are no more


@dataclass(frozen=True, slots=True)
class Story:
    """One request and all that belongs to it."""

    closed: Row
    attempts: Sequence[tuple[Row, ...]]  # each settled, and perhaps corrected
    feedback: Row | None  # the last revision


class Requests:
    """
    Args:
        pool: Of the ledger.
        caught_up: Whether Postgres holds all that the ledger ever acknowledged.
    """

    def __init__(self, pool: Pool, *, caught_up: Callable[[], bool] = lambda: True) -> None:
        self._pool = pool
        self._caught_up = caught_up

    async def page(self, wanted: Wanted, *, before: UUID | None, limit: int) -> Page:
        """
        Return the newest requests that fit and began before *before*.

        Raises:
            Invalid: the limit is out of bounds.
            Unavailable: Postgres is silent.
        """
        if not 0 <= limit <= MOST_LIMIT:
            raise Invalid(f"limit must be within 1..{MOST_LIMIT}, got {limit}", param="limit")
        limit, start = limit or USUAL_LIMIT, before or LAST
        async with connection(self._pool) as conn:
            found = await conn.fetch(
                FIND,
                start,
                MOST_LOOKED_AT,
                limit + 1,
                wanted.tenant,
                wanted.model,
                wanted.strategy,
                wanted.outcome,
            )
            if len(found) > limit:
                return Page(found[:limit], found[limit - 1]["attempt_id"])
            return Page(found, await conn.fetchval(_LAST_LOOKED_AT, start, MOST_LOOKED_AT - 1))

    async def find(self, request_id: UUID, *, tenant: str | None) -> Story:
        """
        Return one request.

        Raises:
            NotFound: no request of this tenant has ended under this id.
            Unavailable: Postgres is silent, or the ledger is catching up with the request.
        """
        caught_up = self._caught_up()  # asked first: what comes meanwhile is not to be denied
        async with connection(self._pool) as conn:
            rows = [ledger_table.row_of(record) for record in await conn.fetch(_OF_ONE, request_id)]
            if not rows or rows[0].kind != Kind.CLOSED or tenant not in (None, rows[0].tenant):
                if not rows and not caught_up:
                    raise Unavailable("the ledger is catching up; try again", retry_after_s=1)
                raise NotFound("no such request")
            attempts = await _attempts(conn, rows[0])
        return Story(rows[0], attempts, rows[-1] if rows[-1].kind == Kind.FEEDBACK else None)


async def _attempts(conn: Connection, closed: Row) -> list[tuple[Row, ...]]:
    records = await conn.fetch(
        _ATTEMPTS,
        first_id_at(time_of(closed.request_id) - CLOCKS_DIFFER),
        first_id_at(closed.recorded_at + CLOCKS_DIFFER),
        closed.request_id,
    )
    by_attempt: dict[UUID, list[Row]] = {}
    for row in map(ledger_table.row_of, records):
        by_attempt.setdefault(row.attempt_id, []).append(row)
    return [tuple(rows) for rows in by_attempt.values()]
