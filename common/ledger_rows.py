"""
Reading ledger rows without trusting them.

A follower that stops at a bad row never gets past it, and everything behind the row is lost to
its readers. So a row that makes no sense is skipped, counted and named in the log.
"""

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import asyncpg
import structlog
from optimizer.router.v1.ledger_pb2 import LedgerRow
from prometheus_client import Counter

from common.errors import Invalid
from common.ledger_follower import Apply
from common.postgres import Connection

MAX_TEXT = 500  # characters; longer names are nobody's
MAX_COUNT = 10**15  # tokens, or nano-USD (a million dollars): sums of thousands still fit a bigint
MAX_MS = 1e12  # thirty years
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_KINDS = frozenset(LedgerRow.Kind.values()) - {LedgerRow.KIND_UNSPECIFIED}

log = structlog.get_logger()
_skipped = Counter(
    "optimizer_ledger_rows_skipped_total",
    "Ledger rows that a follower could not use.",
    ["consumer", "reason"],
)


class Skips:
    """Counts what one batch skips, and says so in one log line."""

    def __init__(self, consumer: str) -> None:
        self._consumer = consumer
        self._reasons: Tally[str] = Tally()
        self._example = ""

    def add(self, row: LedgerRow, reason: str, detail: str = "") -> None:
        """Skip *row*. The reason is a label, from a closed list; the detail is for the log."""
        self._reasons[reason] += 1
        self._example = self._example or f"{reason} {detail}, request {row.request_id[:36]!r}"

    def report(self) -> None:
        """Call once the rows are applied: a try that failed is not counted."""
        for reason, count in self._reasons.items():
            _skipped.labels(self._consumer, reason).inc(count)
        if self._reasons:
            log.warning(
                "ledger rows skipped",
                consumer=self._consumer,
                reasons=dict(self._reasons),
                first=self._example,
            )


def read_each(
    rows: Sequence[LedgerRow], take: Callable[[int, LedgerRow], None], skips: Skips
) -> None:
    """Hand each row with its position to *take*; skip what is new to us or Invalid to it."""
    for position, row in enumerate(rows):
        if row.kind not in _KINDS:
            skips.add(row, "unknown_kind", str(row.kind))
            continue
        try:
            take(position, row)
        except Invalid as error:
            skips.add(row, "invalid", error.message)


async def apply_surely(
    conn: Connection, rows: Sequence[LedgerRow], apply: Apply, *, consumer: str
) -> None:
    """
    Apply *rows* at once; if Postgres refuses a value among them, one by one without that row.

    Everything happens in the caller's transaction. Trouble that is not a row's fault is raised.
    """
    try:
        async with conn.transaction():  # a savepoint
            return await apply(conn, rows)
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError):
        skips = Skips(consumer)
    for row in rows:
        try:
            async with conn.transaction():
                await apply(conn, [row])
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            skips.add(row, "refused", type(error).__name__)
    skips.report()
    return None


def text(value: str, name: str) -> str:
    """Return *value* if Postgres can hold it."""
    if "\x00" in value or len(value) > MAX_TEXT:
        raise Invalid(f"{name} is no usable text")
    return value


def count(value: int, name: str) -> int:
    """Return *value* if it can be a number of tokens or an amount that is owed."""
    if not 0 <= value <= MAX_COUNT:
        raise Invalid(f"{name} must be within [0, {MAX_COUNT}], got {value}")
    return value


def difference(value: int, name: str) -> int:
    """Return *value* if it can be the difference of two counts."""
    if abs(value) > MAX_COUNT:
        raise Invalid(f"{name} must be within ±{MAX_COUNT}, got {value}")
    return value


def duration_ms(value: float, name: str) -> float:
    """Return *value* if something can have taken so long."""
    if not 0 <= value <= MAX_MS:  # NaN fails this too
        raise Invalid(f"{name} must be within [0, {MAX_MS:g}], got {value}")
    return value


def moment(unix_ms: int, name: str) -> datetime:
    """Turn Unix milliseconds into a time that a calendar knows."""
    if not 0 <= unix_ms < LATEST.timestamp() * 1000:
        raise Invalid(f"{name} is no time: {unix_ms}")
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
