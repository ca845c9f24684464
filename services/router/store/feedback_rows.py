"""Feedback on a closed request: numbered revisions in the ledger, of which the last one counts."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from common.errors import Conflict, NotFound
from common.postgres import Connection
from services.router.domain.entries import Kind
from services.router.store import ledger_table

MOST_TRIES = 20  # against others who rate the same request at the same moment


async def add(conn: Connection, request_id: UUID, tenant: str, details: Mapping[str, Any]) -> int:
    """
    Add the next revision. It carries the arm and the model, so that readers need not look back.

    What it does not speak of stays as an earlier revision said it: a vote leaves the stars alone.

    Raises:
        NotFound: no request of this tenant was closed under this id.
        Conflict: others were faster, again and again.
    """
    for _ in range(MOST_TRIES):
        found = await conn.fetch(
            f"SELECT {ledger_table.COLUMNS} FROM router.ledger"  # noqa: S608 - constants only
            " WHERE attempt_id = $1 AND kind = ANY($2::smallint[]) ORDER BY kind, revision",
            request_id,
            [Kind.CLOSED, Kind.FEEDBACK],
        )
        rows = [ledger_table.row_of(record) for record in found]
        if not rows or rows[0].kind != Kind.CLOSED or rows[0].tenant != tenant:
            raise NotFound("no such request")
        feedback = replace(
            rows[0],
            kind=Kind.FEEDBACK,
            revision=1 + sum(row.kind == Kind.FEEDBACK for row in rows),
            recorded_at=datetime.now(UTC),
            input_tokens=0,
            output_tokens=0,
            cached_input_tokens=0,
            cost_nano_usd=None,
            pricing=None,
            baseline_cost_nano_usd=None,
            latency_ms=0,
            time_to_first_token_ms=None,
            fallbacks=0,
            details={**(rows[-1].details or {}), **details}
            if rows[-1].kind == Kind.FEEDBACK
            else details,
        )
        if await ledger_table.add(conn, ledger_table.encode([feedback])):
            return feedback.revision
    raise Conflict("this request is being rated by many at once; try again")
