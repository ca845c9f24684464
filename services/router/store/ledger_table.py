"""
Every statement that adds rows to `router.ledger`.

A batch is one JSON text, encoded once: Postgres takes it apart (on another core than ours), and
the journal keeps the very same bytes. Adding a row that is there already changes nothing.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import structlog

from common.errors import Unavailable
from common.postgres import Connection
from services.router.domain.entries import Kind, Row, clean_text, correction
from services.router.store import partitions

SLOW_LOCK_MS = 5000

log = structlog.get_logger()

_COLUMN_TYPES = {
    "kind": "smallint",
    "attempt_id": "uuid",
    "revision": "integer",
    "request_id": "uuid",
    "recorded_at": "timestamptz",
    "deadline_at": "timestamptz",
    "experiment_id": "bigint",
    "input_tokens": "bigint",
    "output_tokens": "bigint",
    "cached_input_tokens": "bigint",
    "cost_nano_usd": "bigint",
    "price_version": "bigint",
    "baseline_cost_nano_usd": "bigint",
    "latency_ms": "double precision",
    "time_to_first_token_ms": "double precision",
    "cache_hit": "boolean",
    "streamed": "boolean",
    "estimated": "boolean",
    "fallbacks": "integer",
    "details": "json",
}  # the others are text
_NAMES = [field.name for field in fields(Row)]
COLUMNS = ", ".join(_NAMES)
_TYPED = ", ".join(f"{name} {_COLUMN_TYPES.get(name, 'text')}" for name in _NAMES)

_HERE = """
    (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
    ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer AS timeline_id
"""

# The newest epoch if this server began it, else NULL, which the column refuses. Asked by every
# insert, because a pooler may put another server behind a connection that we think we know.
CURRENT_EPOCH = f"""
    (SELECT newest.epoch
       FROM (SELECT epoch, system_identifier, timeline_id
               FROM router.ledger_epochs ORDER BY epoch DESC LIMIT 1) AS newest
      WHERE (newest.system_identifier, newest.timeline_id) = (SELECT {_HERE}))
"""  # noqa: S608 - constants only

_INSERT = f"""
    INSERT INTO router.ledger (epoch, {COLUMNS})
    SELECT {CURRENT_EPOCH}, {COLUMNS}
      FROM json_to_recordset($1::json) AS row ({_TYPED})
    ON CONFLICT (attempt_id, kind, revision) DO NOTHING
"""  # noqa: S608 - constants only


class RowRefusedError(Exception):
    """Postgres will never take these rows: one of them breaks a rule of the table."""


def encode(rows: Sequence[Row]) -> bytes:
    """
    Turn rows into the JSON that Postgres and the journal take.

    Raises:
        RowRefusedError: something in them cannot be written down at all.
    """
    try:
        payload = orjson.dumps(rows)
    except orjson.JSONEncodeError:
        return _encode_cleaned(rows)
    return _encode_cleaned(rows) if b"\\u0000" in payload else payload


def decode(payload: bytes) -> list[Row]:
    return [row_of(fields_of) for fields_of in orjson.loads(payload)]


def row_of(values: Mapping[str, Any] | asyncpg.Record) -> Row:
    """Make a row of a record or of JSON."""
    found = {name: values[name] for name in _NAMES}
    for name in ("attempt_id", "request_id"):
        found[name] = UUID(str(found[name]))
    for name in ("recorded_at", "deadline_at"):
        if isinstance(found[name], str):
            found[name] = datetime.fromisoformat(found[name])
    found["kind"] = Kind(found["kind"])
    if isinstance(found["details"], str):
        found["details"] = orjson.loads(found["details"])
    return Row(**found)


async def add(conn: Connection, payload: bytes, *, size: int | None = None) -> int:
    """
    Add an encoded batch, all or nothing; return how many rows were new.

    A settlement that finds a guess in its place is added as a correction.

    Args:
        conn: Not in a transaction: an epoch or a partition may have to be made first. Or in one
            that has called `ready`, for rows of days that are there.
        payload: From `encode`.
        size: Its rows, if they have been counted.

    Raises:
        RowRefusedError: a row is wrong. Everything else means that Postgres cannot serve now.
    """
    added = await _insert(conn, payload)
    if added != size:
        added += await _correct(conn, decode(payload))
    return added


def cut(conn: Connection) -> None:
    """Drop a connection that does not answer: asking it to stop would take an answer, too."""
    with suppress(asyncpg.InterfaceError):  # it was dropped already
        conn.terminate()


@contextmanager
def cut_after(conn: Connection, limit_s: float) -> Iterator[None]:
    """Give the statements in the block so much time, all together."""
    watch = asyncio.get_running_loop().call_later(limit_s, cut, conn)
    try:
        yield
    finally:
        watch.cancel()


async def check_writable(conn: Connection) -> None:
    """Ask whether rows could be added here and now."""
    if await conn.fetchval("SELECT pg_is_in_recovery()"):
        raise Unavailable("this Postgres only reads")
    await conn.execute("SELECT FROM router.ledger LIMIT 0")


async def ready(conn: Connection) -> None:
    """Begin the epoch that a new server lacks: in a transaction a failed insert is the end."""
    if await conn.fetchval(f"SELECT {CURRENT_EPOCH} IS NULL"):
        await begin_epoch(conn)


async def begin_epoch(conn: Connection) -> None:
    """
    Begin a new epoch, unless the newest one was begun by this server as it is now.

    The lock waits for every open insert and keeps new ones out: a row that joined the old epoch
    after readers have seen the new one would be skipped.
    """
    async with conn.transaction():
        await conn.execute(f"SET LOCAL lock_timeout = {SLOW_LOCK_MS}")
        await conn.execute("LOCK TABLE router.ledger IN SHARE ROW EXCLUSIVE MODE")
        epoch = await conn.fetchval(
            f"""
            INSERT INTO router.ledger_epochs (epoch, system_identifier, timeline_id)
            SELECT greatest((SELECT max(epoch) + 1 FROM router.ledger_epochs),
                            extract(epoch FROM clock_timestamp())::bigint), {_HERE}
             WHERE {CURRENT_EPOCH} IS NULL
                OR (SELECT xact_id FROM router.ledger WHERE epoch = {CURRENT_EPOCH}
                     ORDER BY xact_id DESC LIMIT 1) >= pg_snapshot_xmax(pg_current_snapshot())
            RETURNING epoch
            """  # noqa: S608 - constants only
        )
    if epoch:
        log.info("ledger_epoch_began", epoch=epoch)


async def _insert(conn: Connection, payload: bytes) -> int:
    """Insert, after making the epoch or the partition that turns out to be missing."""
    text = payload.decode()
    for last_try in (False, False, True):
        try:
            tag = await conn.execute(_INSERT, text)
        except asyncpg.NotNullViolationError as error:
            if error.column_name != "epoch" or last_try:
                raise RowRefusedError(str(error)) from error
            await begin_epoch(conn)
        except asyncpg.CheckViolationError as error:
            if error.constraint_name or last_try:
                raise RowRefusedError(str(error)) from error
            await partitions.make(conn, _days_of(payload))
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise RowRefusedError(str(error)) from error
        else:
            return int(tag.rpartition(" ")[2])
    raise AssertionError("unreachable")


def _days_of(payload: bytes) -> set[date]:
    try:
        return {partitions.day_of(row.attempt_id) for row in decode(payload)}
    except ValueError as error:
        raise RowRefusedError(str(error)) from error


async def _correct(conn: Connection, rows: Sequence[Row]) -> int:
    """Some rows were there before: where a guess was, add the difference to the truth."""
    truths = {r.attempt_id: r for r in rows if r.kind == Kind.SETTLED and r.outcome != "unknown"}
    if not truths:
        return 0
    guesses = await conn.fetch(
        f"SELECT {COLUMNS} FROM router.ledger"  # noqa: S608 - constants only
        " WHERE attempt_id = ANY($1::uuid[]) AND kind = $2 AND outcome = 'unknown'",
        list(truths),
        Kind.SETTLED,
    )
    found = (correction(row_of(guess), truths[guess["attempt_id"]]) for guess in guesses)
    corrections = [row for row in found if row]
    return await _insert(conn, encode(corrections)) if corrections else 0


def _encode_cleaned(rows: Sequence[Row]) -> bytes:
    try:
        return orjson.dumps(
            [{name: _cleaned(getattr(row, name)) for name in _NAMES} for row in rows],
            option=orjson.OPT_SERIALIZE_NUMPY,
            default=str,
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise RowRefusedError(str(error)) from error


def _cleaned(value: Any) -> Any:
    """Make *value* safe for JSON in Postgres: no NUL, no lone surrogates, no number too large."""
    match value:
        case str():
            return clean_text(value, len(value))
        case Mapping():
            return {clean_text(str(k), 100): _cleaned(v) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_cleaned(v) for v in value]
        case int() if not -(2**63) <= value < 2**63:
            return float(value)
        case _:
            return value
