"""How requests were routed lately, as the ledger kept it: newest first, in pages."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg
import orjson

from common.ids import LAST, first_id_at
from common.postgres import Pool, connection
from services.router.domain import hindsight
from services.router.domain.entries import Kind
from services.router.domain.hindsight import Logged

T = TypeVar("T")

PAGE_ROWS = 500  # about a megabyte of explanations
PAGE_S = 1.0  # longest; a page takes some ten milliseconds

# By the primary key, which is the time: a page touches its own days only. What a hit cost says
# nothing of a choice, and details go as they are: taking them apart here would be Postgres's time.
_READ = f"""
    SELECT attempt_id, tenant, user_id, cost_nano_usd, details
      FROM router.ledger
     WHERE kind = {Kind.CLOSED:d} AND attempt_id >= $1 AND attempt_id < $2
       AND NOT cache_hit AND details IS NOT NULL
     ORDER BY attempt_id DESC
     LIMIT $3
"""  # noqa: S608 - constants only


async def pages(
    pool: Pool, take: Callable[[Sequence[Logged]], T], *, days: int, most: int
) -> AsyncGenerator[T, None]:
    """
    Yield what *take*, on a thread of its own, makes of each page.

    Of what was routed nothing else stays in memory: some 300,000 candidates would make every
    completion wait for the garbage collector.

    Args:
        pool: Of the router's schema.
        take: Makes something smaller of what was routed.
        days: Looked back on.
        most: Rows that are read.

    Raises:
        Unavailable, TimedOut: Postgres is silent.
    """
    since = first_id_at(datetime.now(UTC) - timedelta(days=days))
    before, left = LAST, most
    while left > 0:
        limit = min(left, PAGE_ROWS)
        async with connection(pool) as conn:
            rows = await conn.fetch(_READ, since, before, limit, timeout=PAGE_S)
        yield await asyncio.to_thread(lambda page: take(_decoded(page)), rows)
        if len(rows) < limit:
            return
        before, left = rows[-1]["attempt_id"], left - len(rows)


def _decoded(rows: Sequence[asyncpg.Record]) -> list[Logged]:
    return [found for row in rows if (found := _logged(row)) is not None]


def _logged(row: asyncpg.Record) -> Logged | None:
    try:
        details = orjson.loads(row["details"])
    except ValueError:
        return None
    user = row["user_id"]
    return hindsight.read(
        details if isinstance(details, dict) else {},
        user=None if user is None else f"{row['tenant']} {user}",
        cost_nano_usd=row["cost_nano_usd"],
    )
