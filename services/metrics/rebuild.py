"""
Rebuilds the rollups from the ledger's beginning: `python -m services.metrics.rebuild`.

Whoever follows meanwhile goes on; what is told is the old figures until the new ones are complete.
They take their place in one transaction, which holds the cursor for as long as the last rows take.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from optimizer.router.v1.ledger_pb2 import LedgerRow

from common.errors import Conflict, Invalid
from common.grpc_client import open_channel
from common.ledger_follower import Read, reader
from common.logs import setup_logs
from common.migrate import migrate
from common.postgres import Connection, Pool, close_pool, connection, open_pool, transaction
from common.service import run
from common.settings import from_environment
from services.metrics import ledger
from services.metrics.settings import MetricsSettings
from services.metrics.store import rebuilt
from services.metrics.store.rebuilt import REBUILT

PAGE_ROWS = 5_000
FORGET_OLDER = "--forget-older"

Say = Callable[[int, Sequence[LedgerRow]], None]  # (rows so far, the newest ones)


def _unheard(_: int, __: Sequence[LedgerRow]) -> None:
    """Say nothing."""


async def rebuild(
    pool: Pool, read: Read, *, forget_older: bool = False, say: Say = _unheard
) -> int:
    """
    Build the rollups anew and put them in place of those that are there.

    Args:
        pool: Of the metrics schema.
        read: Asks the router, for nobody in particular: retention does not wait for us.
        forget_older: Also if the ledger does not go back as far as the rollups do.
        say: Hears how far it is.

    Returns:
        How many rows of the ledger are in them.

    Raises:
        Invalid: the ledger does not go back as far; nothing was changed.
        Failure: Postgres or the router is silent; nothing was changed.
    """
    async with connection(pool) as conn:
        await rebuilt.prepare(conn)
    try:
        position, rows = await _build(pool, read, say)
        async with transaction(pool) as conn:
            await rebuilt.lock_cursor(conn)
            # It ends: what is written from here on is not shown before our own transaction is over.
            while (page := await read(position, PAGE_ROWS)).rows:  # those behind us by now
                await ledger.apply(conn, page.rows, into=REBUILT)
                position, rows = page.next_cursor, rows + len(page.rows)
            if not forget_older:
                await _check_reach(conn)
            await rebuilt.swap(conn, position)
    except BaseException:
        async with connection(pool) as conn:
            await rebuilt.drop(conn)
        raise
    return rows


async def _build(pool: Pool, read: Read, say: Say) -> tuple[str, int]:
    """
    Apply what was there when we began, or nearly so: traffic must not keep us for ever.

    Each page has its own transaction: a long one would hold back the ledger.
    """
    position, rows, began_ms = "", 0, datetime.now(UTC).timestamp() * 1000
    while True:
        page = await read(position, PAGE_ROWS)
        if not page.rows or page.rows[0].recorded_at_ms > began_ms:
            return position, rows
        async with transaction(pool) as conn:
            await ledger.apply(conn, page.rows, into=REBUILT)
        position, rows = page.next_cursor, rows + len(page.rows)
        say(rows, page.rows)


async def _check_reach(conn: Connection) -> None:
    if first := await rebuilt.forgets(conn):
        raise Invalid(
            f"the ledger does not go back to {first}, as the rollups do: they would be forgotten."
            f" {FORGET_OLDER} does it anyway"
        )


class Progress:
    """One line that tells how far in time the rows are."""

    def __init__(self) -> None:
        self._first_ms = 0

    def __call__(self, rows: int, newest: Sequence[LedgerRow]) -> None:
        self._first_ms = self._first_ms or newest[0].recorded_at_ms
        at_ms, now_ms = newest[-1].recorded_at_ms, datetime.now(UTC).timestamp() * 1000
        done = (at_ms - self._first_ms) / max(now_ms - self._first_ms, 1)
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        _write(f"\r{min(max(done, 0), 1):5.0%}  {rows:,} rows, up to {at:%Y-%m-%d %H:%M}  ")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


async def _alone(settings: MetricsSettings) -> asyncpg.Connection:
    """Take the lock that only one rebuild has; it is held by the connection."""
    conn = await asyncpg.connect(settings.direct_url)
    if not await conn.fetchval(
        "SELECT pg_try_advisory_lock(hashtext('metrics'), hashtext('rebuild'))"
    ):
        await conn.close()
        raise Conflict("another rebuild is at it")
    return conn


async def unless(stop: asyncio.Event, work: asyncio.Task[int]) -> int:
    """Return what *work* returns; cancelled when asked to stop, it leaves nothing behind."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:  # asked twice, we are cancelled ourselves
        stopping.cancel()
        if not work.done():
            work.cancel()
    return await work


async def main(stop: asyncio.Event) -> None:
    settings = from_environment(MetricsSettings)
    setup_logs("metrics", settings.log_level)
    await migrate(settings.direct_url, "metrics", Path(__file__).parent / "migrations")
    alone = await _alone(settings)
    pool = await open_pool(settings)
    channel = open_channel(settings.router_target, settings)
    try:
        work = asyncio.create_task(
            rebuild(
                pool,
                reader(channel, ""),
                forget_older=FORGET_OLDER in sys.argv[1:],
                say=Progress(),
            )
        )
        rows = await unless(stop, work)
    finally:
        await channel.close(None)
        await close_pool(pool)
        await alone.close()
    _write(f"\r100 %  {rows:,} rows; the rollups are rebuilt\n")


if __name__ == "__main__":
    run("metrics", main)
