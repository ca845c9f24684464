"""
The ledger's reading side: one order that never changes, and nothing is ever inserted behind it.

Rows of the newest epoch show once no transaction is open that could still add one before them;
older epochs are complete. Whether that is so is asked in the very statement that reads: asked
before, it would miss a transaction that begins in between; asked after, one that ends.
"""

import time
from collections.abc import Callable, Sequence

import asyncpg
import structlog
from optimizer.router.v1.ledger_pb2 import LedgerRow, ReadLedgerResponse

from common.errors import Failure, Invalid
from common.postgres import Connection, Pool, connection
from services.router.domain.position import START, Position

DEFAULT_LIMIT = 1000
MAX_LIMIT = 10_000
MAX_PAGE_BYTES = 2 * 1024 * 1024  # below the size limit of a gRPC message
NOTE_EVERY_S = 5.0

# Texts sort otherwise than numbers: no output column may be called xact_id and be a text.
# Times are cut to the millisecond, as everywhere: rounded up, the last of a day is of the next.
# $1, $2, $3 are a position, $4 is how many rows at most; xid8 travels as text.
ROWS_BEHIND = "router.ledger_behind($1::bigint, $2::text::xid8, $3::bigint, $4::bigint)"
FINAL = """
    (epoch < (SELECT max(epoch) FROM router.ledger_epochs)
     OR xact_id < pg_snapshot_xmin(pg_current_snapshot()))
"""

_FIELDS = f"""
    epoch, xact_id::text AS xact_id_text, seq, {FINAL} AS final,
    kind, attempt_id::text AS attempt_id, revision, request_id::text AS request_id,
    floor(extract(epoch FROM recorded_at) * 1000)::bigint AS recorded_at_ms,
    tenant, user_id, experiment_id, arm, strategy, confidence, provider, model, outcome,
    input_tokens, output_tokens, cached_input_tokens, cost_nano_usd, pricing,
    price_version, baseline_cost_nano_usd, latency_ms, time_to_first_token_ms, cache_hit,
    streamed, estimated, fallbacks, provider_response_id, details
"""

_READ = f"SELECT {_FIELDS} FROM {ROWS_BEHIND} ORDER BY epoch, xact_id, seq"  # noqa: S608

_NOTE = """
    INSERT INTO router.ledger_readers AS known (consumer, epoch, xact_id, seq)
    VALUES ($1, $2::bigint, $3::text::xid8, $4::bigint)
    ON CONFLICT (consumer) DO UPDATE
       SET epoch = excluded.epoch, xact_id = excluded.xact_id, seq = excluded.seq, seen_at = now()
     WHERE (known.epoch, known.xact_id, known.seq)
         < (excluded.epoch, excluded.xact_id, excluded.seq)
"""

log = structlog.get_logger()


class LedgerReader:
    """
    Args:
        pool: Where the ledger is.
        clock: Seconds that only grow.
    """

    def __init__(self, pool: Pool, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._noted: dict[str, tuple[float, Position]] = {}

    async def read(self, consumer: str, cursor: str, limit: int) -> ReadLedgerResponse:
        """
        Return the rows behind *cursor*, in order; `more` also while some may not be shown yet.

        The rows are encoded here: nothing between the table and the wire wants to look at them.

        Args:
            consumer: Retention waits until it has come back with a cursor behind what is dropped.
            cursor: The last `next_cursor` whose effects are durable; empty: from the beginning.
            limit: At most so many rows; 0: 1000. A page of large rows may be shorter.

        Raises:
            Invalid: the cursor is none of ours, or the limit is out of bounds.
            Unavailable: Postgres is silent.
        """
        position = Position.parse(cursor) if cursor else START
        page = await self._page(position, limit)
        await self._note(consumer, position)
        return page

    async def note(self, consumer: str, cursor: str) -> None:
        """Let retention wait for *consumer*, who has durably come to *cursor*."""
        await self._note(consumer, Position.parse(cursor) if cursor else START)

    async def _page(self, position: Position, limit: int) -> ReadLedgerResponse:
        if not 0 <= limit <= MAX_LIMIT:
            raise Invalid(f"limit must be within [0, {MAX_LIMIT}], got {limit}", param="limit")
        limit = limit or DEFAULT_LIMIT
        async with connection(self._pool) as conn:
            records = await conn.fetch(
                _READ, position.epoch, str(position.xact_id), position.seq, limit + 1
            )
            if not records:
                await _refuse_the_future(conn, position)
        return _page_of(records, position, limit)

    async def _note(self, consumer: str, position: Position) -> None:
        """Keep how far a reader has durably come; now and then, because nothing hurries."""
        now = self._clock()
        noted_at, noted = self._noted.get(consumer, (-NOTE_EVERY_S, None))
        if not consumer or position == noted or now - noted_at < NOTE_EVERY_S:
            return
        self._noted[consumer] = (now, position)
        try:
            async with connection(self._pool) as conn:
                await conn.execute(
                    _NOTE, consumer, position.epoch, str(position.xact_id), position.seq
                )
        except Failure as failure:
            log.warning("ledger_reader_not_noted", consumer=consumer, reason=failure.message)


async def _refuse_the_future(conn: Connection, position: Position) -> None:
    """
    Refuse a cursor from beyond the end: the ledger was put back to an earlier state, without it.

    Waiting there, the reader would skip what is written until the ledger gets there again.
    """
    if await conn.fetchval(
        """
        SELECT $1::bigint > coalesce(max(epoch), 0)
               OR ($1::bigint = max(epoch)
                   AND $2::text::xid8 > pg_snapshot_xmax(pg_current_snapshot()))
          FROM router.ledger_epochs
        """,
        position.epoch,
        str(position.xact_id),
    ):
        raise Invalid(
            f"cursor {position} is ahead of the ledger, which must have been restored without its"
            " reader; restore the reader from the same moment, or let it begin anew",
            param="cursor",
        )


def _page_of(
    records: Sequence[asyncpg.Record], position: Position, limit: int
) -> ReadLedgerResponse:
    page = ReadLedgerResponse(next_cursor=str(position))
    size = 0
    for record in records:
        row = _row(record)
        size += row.ByteSize()
        full = len(page.rows) == limit or (size > MAX_PAGE_BYTES and page.rows)
        if full or not record["final"]:
            page.more = True
            break
        page.rows.append(row)
        page.next_cursor = f"{record['epoch']}.{record['xact_id_text']}.{record['seq']}"
    return page


def _row(record: asyncpg.Record) -> LedgerRow:
    details = record["details"]
    return LedgerRow(
        kind=record["kind"],
        attempt_id=record["attempt_id"],
        revision=record["revision"],
        request_id=record["request_id"],
        recorded_at_ms=record["recorded_at_ms"],
        tenant=record["tenant"],
        user_id=record["user_id"],
        experiment_id=record["experiment_id"],
        arm=record["arm"],
        strategy=record["strategy"],
        confidence=record["confidence"],
        provider=record["provider"],
        model=record["model"],
        outcome=record["outcome"],
        input_tokens=record["input_tokens"],
        output_tokens=record["output_tokens"],
        cached_input_tokens=record["cached_input_tokens"],
        cost_nano_usd=record["cost_nano_usd"],
        pricing=record["pricing"],
        price_version=record["price_version"],
        baseline_cost_nano_usd=record["baseline_cost_nano_usd"],
        latency_ms=record["latency_ms"],
        time_to_first_token_ms=record["time_to_first_token_ms"],
        cache_hit=record["cache_hit"],
        streamed=record["streamed"],
        estimated=record["estimated"],
        fallbacks=record["fallbacks"],
        provider_response_id=record["provider_response_id"],
        details_json=details.encode() if details else b"",
    )
