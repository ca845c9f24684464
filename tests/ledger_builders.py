"""What tests of the ledger share: a database with its tables, rows, and a follower."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from common.ids import new_id
from common.migrate import migrate
from common.postgres import Pool, close_pool, open_pool
from common.settings import ServiceSettings
from services.router.domain.entries import Kind, Row
from services.router.store.journal import Journal
from services.router.store.ledger import Ledger
from services.router.store.ledger_reader import LedgerReader

MIGRATIONS = Path(__file__).parents[1] / "services" / "router" / "migrations"


async def a_pool(url: str, **changes: Any) -> Pool:
    return await open_pool(
        ServiceSettings(
            database_url=url, internal_token="t", database_statement_cache=50, **changes
        )
    )


@asynccontextmanager
async def a_ledger_database(url: str) -> AsyncIterator[Pool]:
    await migrate(url, "router", MIGRATIONS)
    pool = await a_pool(url)
    try:
        yield pool
    finally:
        await close_pool(pool)


@asynccontextmanager
async def a_ledger(pool: Pool, folder: Path, **changes: Any) -> AsyncIterator[Ledger]:
    ledger = Ledger(pool, Journal(folder), **changes)
    await ledger.start()
    try:
        yield ledger
    finally:
        await ledger.stop()


def a_row(kind: Kind = Kind.CLOSED, **changes: Any) -> Row:
    attempt_id = new_id()
    fields: dict[str, Any] = {
        "attempt_id": attempt_id,
        "request_id": attempt_id,
        "recorded_at": datetime.now(UTC),
        "tenant": "a-key",
    }
    return Row(kind=kind, **fields | changes)


def an_opened(**changes: Any) -> Row:
    """Make an attempt that was due a minute ago."""
    fields: dict[str, Any] = {
        "request_id": new_id(),
        "deadline_at": datetime.now(UTC) - timedelta(minutes=1),
        "cost_nano_usd": 1000,
        "pricing": "priced",
        "strategy": "complexity",
        "model": "acme/small",
    }
    return a_row(Kind.OPENED, **fields | changes)


class Follower:
    """Pulls as every consumer does, and remembers what it saw."""

    def __init__(self, pool: Pool, *, limit: int = 1000) -> None:
        self._reader = LedgerReader(pool)
        self._limit = limit
        self.cursor = ""
        self.seen: list[tuple[str, int, int]] = []

    async def pull(self) -> Sequence[Any]:
        """Read one page."""
        page = await self._reader.read("test", self.cursor, self._limit)
        self.cursor = page.next_cursor
        self.seen += [(row.attempt_id, row.kind, row.revision) for row in page.rows]
        return list(page.rows)

    async def catch_up(self) -> Sequence[Any]:
        found: list[Any] = []
        while rows := await self.pull():
            found += rows
        return found


def keys(rows: Sequence[Row]) -> list[tuple[str, int, int]]:
    return [(str(row.attempt_id), int(row.kind), row.revision) for row in rows]
