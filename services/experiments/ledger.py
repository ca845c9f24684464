"""From ledger rows to results: decode, check, record. Exactly once, with the cursor."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from optimizer.router.v1.ledger_pb2 import LedgerRow

from common.errors import Invalid
from common.ledger_rows import (
    Skips,
    apply_surely,
    count,
    difference,
    duration_ms,
    moment,
    read_each,
    text,
)
from common.postgres import Connection
from common.wire import json_field, uuid_field
from services.experiments.domain.assignment import assign
from services.experiments.domain.result import CostCorrection, Rating, Result
from services.experiments.store import results as store

CONSUMER = "experiments"


async def apply(conn: Connection, rows: Sequence[LedgerRow]) -> None:
    """Record what *rows* say about experiments, in the follower's transaction."""
    await apply_surely(conn, rows, _apply, consumer=CONSUMER)


@dataclass(slots=True)
class _Batch:
    """What concerns us in some rows, and where in them it stood."""

    closed: dict[UUID, tuple[int, LedgerRow, Result]] = field(default_factory=dict)
    corrections: list[tuple[int, CostCorrection]] = field(default_factory=list)
    ratings: list[Rating] = field(default_factory=list)

    def add(self, position: int, row: LedgerRow) -> None:
        if row.kind == LedgerRow.KIND_CLOSED:
            if row.experiment_id and not row.cache_hit:  # a cached answer says nothing of an arm
                result = _result(row)
                self.closed.setdefault(result.request_id, (position, row, result))
        elif row.kind == LedgerRow.KIND_CORRECTED:
            self.corrections.append((position, _correction(row)))
        elif row.kind == LedgerRow.KIND_FEEDBACK:
            details = json_field(row.details_json, "details")
            if "quality_score" in details:  # else it holds votes on a cached answer only
                self.ratings.append(_rating(row, details["quality_score"]))

    def late_corrections(self, fresh: Collection[UUID]) -> list[CostCorrection]:
        """Leave out what came before its request closed: the closing row's total has it already."""
        return [
            correction
            for position, correction in self.corrections
            if correction.request_id not in fresh
            or position > self.closed[correction.request_id][0]
        ]


async def _apply(conn: Connection, rows: Sequence[LedgerRow]) -> None:
    skips = Skips(CONSUMER)
    batch = _Batch()
    read_each(rows, batch.add, skips)

    fresh = await store.record(conn, await _of_their_arm(conn, batch, skips))
    await store.correct(conn, batch.late_corrections(fresh))
    await store.rate(conn, batch.ratings)
    skips.report()


async def _of_their_arm(conn: Connection, batch: _Batch, skips: Skips) -> list[Result]:
    """Leave out what belongs to no experiment, or to another arm than the assignment rule says."""
    if not batch.closed:
        return []
    arms = await store.known(conn, sorted({r.experiment_id for _, _, r in batch.closed.values()}))
    kept = []
    for _, row, result in batch.closed.values():
        if result.experiment_id not in arms:
            skips.add(row, "unknown_experiment", str(result.experiment_id))
        elif result.arm != assign(result.experiment_id, result.user_id, arms[result.experiment_id]):
            skips.add(row, "other_arm", f"{result.arm!r} of {result.experiment_id}")
        else:
            kept.append(result)
    return kept


def _result(row: LedgerRow) -> Result:
    return Result(
        request_id=uuid_field(row.request_id, "request_id"),
        experiment_id=_positive(row.experiment_id, "experiment_id"),
        arm=text(row.arm, "arm"),
        user_id=_not_empty(text(row.user_id, "user_id"), "user_id"),
        provider=text(row.provider, "provider"),
        model=text(row.model, "model"),
        outcome=text(row.outcome, "outcome"),
        cost_nano_usd=(
            count(row.cost_nano_usd, "cost_nano_usd") if row.HasField("cost_nano_usd") else None
        ),
        latency_ms=duration_ms(row.latency_ms, "latency_ms"),
        answered_at=moment(row.recorded_at_ms, "recorded_at_ms"),
    )


def _correction(row: LedgerRow) -> CostCorrection:
    return CostCorrection(
        request_id=uuid_field(row.request_id, "request_id"),
        difference_nano_usd=difference(row.cost_nano_usd, "cost_nano_usd"),  # absent reads as 0
        unpriced=row.pricing == "unpriced",
    )


def _rating(row: LedgerRow, score: object) -> Rating:
    if type(score) is not int or not 1 <= score <= 5:  # noqa: PLR2004 - five stars
        raise Invalid("quality_score must be a whole number from 1 to 5")
    return Rating(
        request_id=uuid_field(row.request_id, "request_id"),
        revision=_not_negative(row.revision, "revision"),
        quality_score=score,
    )


def _positive(value: int, name: str) -> int:
    if value <= 0:
        raise Invalid(f"{name} must be positive, got {value}")
    return value


def _not_negative(value: int, name: str) -> int:
    if value < 0:
        raise Invalid(f"{name} must not be negative, got {value}")
    return value


def _not_empty(value: str, name: str) -> str:
    if not value:
        raise Invalid(f"{name} must not be empty")
    return value
