"""From ledger rows to rollups: decode, fold, add. Exactly once, with the cursor."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from uuid import UUID

from optimizer.router.v1.ledger_pb2 import LedgerRow

from common.ledger_rows import Skips, apply_surely, count, difference, moment, read_each, text
from common.postgres import Connection
from common.wire import uuid_field
from services.metrics.domain import durations
from services.metrics.domain.rollup import (
    Correction,
    Key,
    Labels,
    Place,
    Request,
    Tokens,
    by_grain,
    correct,
    fold,
    minute_of,
)
from services.metrics.store import histograms, labels, rollups
from services.metrics.store.rebuilt import LIVE

CONSUMER = "metrics"


async def apply(conn: Connection, rows: Sequence[LedgerRow], *, into: str = LIVE) -> None:
    """Add what *rows* say to the rollups, in the follower's transaction."""
    await apply_surely(conn, rows, partial(_apply, into=into), consumer=CONSUMER)


@dataclass(slots=True)
class _Batch:
    """What concerns us in some rows, and where in them it stood."""

    requests: dict[UUID, Request] = field(default_factory=dict)
    closed_at: dict[UUID, int] = field(default_factory=dict)
    corrections: list[tuple[int, Correction]] = field(default_factory=list)

    def add(self, position: int, row: LedgerRow) -> None:
        if row.kind == LedgerRow.KIND_CLOSED:
            request = _request(row)
            self.requests.setdefault(request.request_id, request)
            self.closed_at.setdefault(request.request_id, position)
        elif row.kind == LedgerRow.KIND_CORRECTED:
            self.corrections.append((position, _correction(row)))

    def late_corrections(self, fresh: Collection[UUID]) -> list[Correction]:
        """Leave out what came before its request closed: the closing row's total has it already."""
        return [
            correction
            for position, correction in self.corrections
            if correction.request_id not in fresh
            or position > self.closed_at[correction.request_id]
        ]


async def _apply(conn: Connection, rows: Sequence[LedgerRow], *, into: str) -> None:
    skips = Skips(CONSUMER)
    batch = _Batch()
    read_each(rows, batch.add, skips)

    if batch.requests:  # all at once: of two writers that added some more later, none could go on
        told = {request.place.key.labels for request in batch.requests.values()}
        await labels.ids_of(conn, told | {one._replace(confidence="") for one in told})
    fresh = await rollups.remember(conn, list(batch.requests.values()), into=into)
    counted = [request for id_, request in batch.requests.items() if id_ in fresh]
    totals = fold(counted)
    if late := batch.late_corrections(fresh):
        places = await rollups.places_of(conn, {c.request_id for c in late}, into=into)
        await rollups.reprice(conn, correct(totals, late, places), into=into)
    await rollups.add(conn, by_grain(totals), into=into)
    await histograms.add(conn, durations.fold(counted), into=into)
    skips.report()


def _request(row: LedgerRow) -> Request:
    common = Labels(
        strategy=text(row.strategy, "strategy"),
        provider=text(row.provider, "provider"),
        model=text(row.model, "model"),
        tenant=text(row.tenant, "tenant"),
        arm=f"{row.experiment_id}/{text(row.arm, 'arm')}" if row.experiment_id else "",
        confidence=text(row.confidence, "confidence"),
        outcome=text(row.outcome, "outcome"),
        cache_hit=row.cache_hit,
    )
    key = Key(minute_of(moment(row.recorded_at_ms, "recorded_at_ms")), common)
    return Request(
        request_id=uuid_field(row.request_id, "request_id"),
        place=Place(key, _money(row, "cost_nano_usd"), _money(row, "baseline_cost_nano_usd")),
        tokens=Tokens(
            input=count(row.input_tokens, "input_tokens"),
            output=count(row.output_tokens, "output_tokens"),
            cached_input=count(row.cached_input_tokens, "cached_input_tokens"),
        ),
        fell_back=row.fallbacks > 0,
        latency_ms=durations.usable_ms(row.latency_ms),
        first_token_ms=durations.usable_ms(row.time_to_first_token_ms or -1),  # 0: not streamed
    )


def _money(row: LedgerRow, name: Literal["cost_nano_usd", "baseline_cost_nano_usd"]) -> int | None:
    return count(getattr(row, name), name) if row.HasField(name) else None


def _correction(row: LedgerRow) -> Correction:
    return Correction(
        request_id=uuid_field(row.request_id, "request_id"),
        tokens=Tokens(
            input=difference(row.input_tokens, "input_tokens"),
            output=difference(row.output_tokens, "output_tokens"),
            cached_input=difference(row.cached_input_tokens, "cached_input_tokens"),
        ),
        cost_nano_usd=difference(row.cost_nano_usd, "cost_nano_usd"),  # absent reads as 0
        unpriced=row.pricing == "unpriced",
    )
