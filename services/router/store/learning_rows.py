"""
The ledger as learning reads it: how requests ended, and what was said of them.

Of the other rows only the position is taken, so that the cursor moves on over them.
"""

import asyncpg
from optimizer.router.v1.ledger_pb2 import LedgerRow, ReadLedgerResponse

from common.errors import Invalid
from common.postgres import Pool, connection
from services.router.domain.entries import Kind
from services.router.domain.position import START, Position
from services.router.store.ledger_reader import FINAL, ROWS_BEHIND

_READ = f"""
    SELECT epoch, xact_id::text AS xact_id_text, seq, final, raw,
           kind, revision, request_id::text AS request_id, tenant, user_id, model, outcome,
           output_tokens, cache_hit,
           CASE WHEN kind = {Kind.CLOSED:d} THEN details->'learning'
                WHEN kind = {Kind.FEEDBACK:d} THEN details END AS details
      FROM (SELECT epoch, xact_id, seq, {FINAL} AS final, kind, revision, request_id, tenant,
                   user_id, model, outcome, output_tokens, cache_hit, details,
                   count(*) OVER () AS raw,
                   row_number() OVER (ORDER BY epoch, xact_id, seq) AS place
              FROM {ROWS_BEHIND}) AS page
     WHERE kind IN ({Kind.CLOSED:d}, {Kind.FEEDBACK:d}) OR place = raw
     ORDER BY epoch, xact_id, seq
"""  # noqa: S608 - constants only


async def read(pool: Pool, cursor: str, limit: int) -> ReadLedgerResponse:
    """
    Return what is behind *cursor*, up to *limit* rows of the ledger.

    Raises:
        Invalid: the cursor is none of ours.
        Unavailable: Postgres is silent.
    """
    if limit < 1:
        raise Invalid(f"limit must be at least 1, got {limit}", param="limit")
    position = Position.parse(cursor) if cursor else START
    async with connection(pool) as conn:
        records = await conn.fetch(
            _READ, position.epoch, str(position.xact_id), position.seq, limit
        )
    page = ReadLedgerResponse(next_cursor=str(position))
    for record in records:
        if not record["final"]:
            page.more = True
            return page
        page.rows.append(_row(record))
        page.next_cursor = f"{record['epoch']}.{record['xact_id_text']}.{record['seq']}"
    page.more = bool(records) and records[0]["raw"] == limit
    return page


def _row(record: asyncpg.Record) -> LedgerRow:
    details = record["details"]
    return LedgerRow(
        kind=record["kind"],
        revision=record["revision"],
        request_id=record["request_id"],
        tenant=record["tenant"],
        user_id=record["user_id"],
        model=record["model"],
        outcome=record["outcome"],
        output_tokens=record["output_tokens"],
        cache_hit=record["cache_hit"],
        details_json=details.encode() if details else b"",
    )
