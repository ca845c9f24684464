"""
The ledger's days: each a partition, made ahead, dropped when it is old and everyone has read it.

A day is attached, not created in place: attaching keeps no writer waiting.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

import asyncpg
import structlog

from common.ids import first_id_at, time_of
from common.postgres import Connection, Pool, connection

DAYS_AHEAD = 7
FIRST_DAY = date(2025, 1, 1)  # no ledger is older
REAPER = "reaper"  # reads along, and must not lose what it has to finish
LOCK_TIMEOUT_MS = 300  # a commit that waits behind us must not turn to the journal

log = structlog.get_logger()

_PREFIX = "ledger_p"


def day_of(identifier: UUID) -> date:
    """
    Return the day whose partition holds this UUIDv7.

    Raises:
        ValueError: the identifier carries no time that a ledger can hold.
    """
    try:
        day = time_of(identifier).date()
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{identifier} carries no time") from error
    if not FIRST_DAY <= day <= datetime.now(UTC).date() + timedelta(days=DAYS_AHEAD):
        raise ValueError(f"{identifier} is of {day}, which is out of bounds")
    return day


def days_ahead(today: date) -> list[date]:
    """Return the days that should have a partition by now; yesterday is for clocks that differ."""
    return [today + timedelta(days=n) for n in range(-1, DAYS_AHEAD + 1)]


async def make(conn: Connection, days: Iterable[date]) -> None:
    """Make the partitions of *days* that do not exist; replicas may race."""
    for day in sorted(days):
        name = f"{_PREFIX}{day:%Y%m%d}"
        low, high = _bound(day), _bound(day + timedelta(days=1))
        async with conn.transaction():
            await conn.execute(
                "SELECT pg_advisory_xact_lock(hashtext('router.ledger'), hashtext('partitions'))"
            )
            if await conn.fetchval("SELECT to_regclass($1) IS NOT NULL", f"router.{name}"):
                continue
            await conn.execute(
                f"CREATE TABLE router.{name} (LIKE router.ledger"
                " INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)"
            )
            await conn.execute(
                f"ALTER TABLE router.ledger ATTACH PARTITION router.{name}"
                f" FOR VALUES FROM ('{low}') TO ('{high}')"
            )
            log.info("ledger_partition_made", day=str(day))


async def make_ahead(pool: Pool) -> None:
    """Make the partitions of the coming days."""
    async with connection(pool) as conn:
        await make(conn, days_ahead(datetime.now(UTC).date()))


async def drop_expired(pool: Pool, *, keep_days: int, readers: Collection[str]) -> list[date]:
    """
    Drop the days that ended more than *keep_days* ago, as far as every reader has passed them.

    A reader that never came holds everything back: it would have missed what is dropped. So does
    the reaper, which is always waited for.

    Returns:
        The days that were dropped.
    """
    oldest_kept = datetime.now(UTC).date() - timedelta(days=keep_days)
    async with connection(pool) as conn:
        dropped = [
            day
            for day in await _days(conn)
            if day < oldest_kept and await _drop_if_read(conn, day, {*readers, REAPER})
        ]
    if dropped:
        log.info("ledger_days_dropped", days=[str(d) for d in dropped])
    return dropped


async def _days(conn: Connection) -> list[date]:
    names = await conn.fetch(
        """
        SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
         WHERE inhparent = 'router.ledger'::regclass ORDER BY relname
        """
    )
    return [
        datetime.strptime(r["relname"], f"{_PREFIX}%Y%m%d").replace(tzinfo=UTC).date()
        for r in names
    ]


async def _drop_if_read(conn: Connection, day: date, readers: set[str]) -> bool:
    name = f"router.{_PREFIX}{day:%Y%m%d}"
    try:
        async with conn.transaction():
            await conn.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            # Two that both read first would each wait for the other to end.
            if not await conn.fetchval(
                "SELECT pg_try_advisory_xact_lock(hashtext('router.ledger'), hashtext('expiry'))"
            ):
                return False
            if not await _is_read(conn, name, readers):
                return False  # without having held up a writer
            await conn.execute("LOCK TABLE ONLY router.ledger IN ACCESS EXCLUSIVE MODE")
            if not await _is_read(conn, name, readers):
                return False  # a row came in between
            await conn.execute(f"DROP TABLE {name}")
    except (asyncpg.LockNotAvailableError, asyncpg.UndefinedTableError):
        return False  # the next round tries again
    return True


async def _is_read(conn: Connection, name: str, readers: set[str]) -> bool:
    passed = await conn.fetchval(
        f"""
        SELECT count(*)
          FROM router.ledger_readers AS reader
         WHERE consumer = ANY($1::text[])
           AND NOT EXISTS (
               SELECT FROM {name} AS row
                WHERE (row.epoch, row.xact_id, row.seq)
                    > (reader.epoch, reader.xact_id, reader.seq))
        """,  # noqa: S608 - the name is a day's
        list(readers),
    )
    return bool(passed == len(readers))


def _bound(day: date) -> UUID:
    return first_id_at(datetime.combine(day, time(), UTC))
