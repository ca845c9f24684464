"""From ledger rows to results: decode, check, record. Exactly once, with the cursor."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from optimizer.router.v1.ledger_pb2 import LedgerRow

from common.errors import Invalid
from common.ledger_rows import (
    MAX_COUNT,
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
from services.experiments.domain.result import FAILURES, CostCorrection, Rating, Result
from services.experiments.recording import Recorded, take_in
from services.experiments.store import looks, results, traffic
from services.experiments.store.looks import Held
from services.experiments.store.traffic import Asked

CONSUMER = "experiments"
MAX_FALLBACKS = 1000


class Recorder:
    """
    Records what rows say about experiments, in the follower's transaction.

    Args:
        moved: Called when an experiment may have changed: others want to know.
    """

    def __init__(self, *, moved: Callable[[], None]) -> None:
        self._moved = moved
        self._recorded: list[Recorded] = []

    async def apply(self, conn: Connection, rows: Sequence[LedgerRow]) -> None:
        self._recorded.clear()  # of a transaction that failed: it is as if nothing had been
        await apply_surely(conn, rows, self._apply, consumer=CONSUMER)

    async def after_apply(self) -> None:
        """Count what is committed."""
        for one in self._recorded:
            one.count()
        self._recorded.clear()
        self._moved()

    async def _apply(self, conn: Connection, rows: Sequence[LedgerRow]) -> None:
        self._recorded.append(await _record(conn, rows))


@dataclass(slots=True)
class _Batch:
    """What concerns us in some rows, and where in them it stood."""

    closed: dict[str, tuple[int, LedgerRow, Result]] = field(default_factory=dict)
    corrections: list[tuple[int, CostCorrection]] = field(default_factory=list)
    ratings: list[Rating] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)  # by anyone, in an experiment or not

    def add(self, position: int, row: LedgerRow) -> None:
        if row.kind == LedgerRow.KIND_CLOSED:
            if row.experiment_id and not row.cache_hit:  # a cached answer says nothing of an arm
                result = _result(row)
                self.closed.setdefault(result.request_id, (position, row, result))
            if row.user_id and row.HasField("cost_nano_usd") and not row.cache_hit:
                self.asked.append(_asked(row))
        elif row.kind == LedgerRow.KIND_CORRECTED:
            self.corrections.append((position, _correction(row)))
        elif row.kind == LedgerRow.KIND_FEEDBACK:
            details = json_field(row.details_json, "details")
            if "quality_score" in details:  # else it holds votes on a cached answer only
                self.ratings.append(_rating(row, details["quality_score"]))

    def late_corrections(self, fresh: Collection[str]) -> list[CostCorrection]:
        """Leave out what came before its request closed: the closing row's total has it already."""
        return [
            correction
            for position, correction in self.corrections
            if str(correction.request_id) not in fresh
            or position > self.closed[str(correction.request_id)][0]
        ]


async def _record(conn: Connection, rows: Sequence[LedgerRow]) -> Recorded:
    skips = Skips(CONSUMER)
    batch = _Batch()
    read_each(rows, batch.add, skips)
    later = {str(one.request_id) for _, one in batch.corrections}
    later.update(str(one.request_id) for one in batch.ratings)
    ids = {result.experiment_id for _, _, result in batch.closed.values()}
    ids.update((await results.experiments_of(conn, later)).values())

    held = await looks.hold(conn, ids)
    counting = [arm for here in held.values() for arm in here.counting()]
    came = await results.record(conn, _of_their_arm(batch, held, skips), counting)
    changes = [change for change in came.values() if change]
    changes += await results.correct(conn, batch.late_corrections(came))
    changes += await results.rate(conn, batch.ratings)
    recorded = await take_in(conn, held, changes)
    await traffic.add(conn, batch.asked)
    skips.report()
    return recorded


def _of_their_arm(batch: _Batch, held: Mapping[int, Held], skips: Skips) -> list[Result]:
    """Leave out what belongs to no experiment, or to another arm than the assignment rule says."""
    kept = []
    for _, row, result in batch.closed.values():
        here = held.get(result.experiment_id)
        if here is None:
            skips.add(row, "unknown_experiment", str(result.experiment_id))
        elif result.arm != here.experiment.assigned(result.user_id).name:
            skips.add(row, "other_arm", f"{result.arm!r} of {result.experiment_id}")
        else:
            kept.append(result)
    return kept


def _result(row: LedgerRow) -> Result:
    return Result(
        request_id=str(uuid_field(row.request_id, "request_id")),
        experiment_id=_positive(row.experiment_id, "experiment_id"),
        arm=text(row.arm, "arm"),
        user_id=_not_empty(text(row.user_id, "user_id"), "user_id"),
        provider=text(row.provider, "provider"),
        model=text(row.model, "model"),
        outcome=text(row.outcome, "outcome"),
        success=row.outcome not in FAILURES,
        cost_nano_usd=(
            count(row.cost_nano_usd, "cost_nano_usd") if row.HasField("cost_nano_usd") else None
        ),
        latency_ms=duration_ms(row.latency_ms, "latency_ms"),
        answered_at=moment(row.recorded_at_ms, "recorded_at_ms"),
        prompt_words=_words(row),
        fallbacks=max(0, min(row.fallbacks, MAX_FALLBACKS)),
    )


def _asked(row: LedgerRow) -> Asked:
    return Asked(
        moment(row.recorded_at_ms, "recorded_at_ms").date(),
        text(row.user_id, "user_id"),
        count(row.cost_nano_usd, "cost_nano_usd"),
        _words(row),
    )


def _words(row: LedgerRow) -> int | None:
    """Return how long what the user wrote was: known before any arm had a say in anything."""
    if not row.details_json:
        return None
    try:
        words = orjson.loads(row.details_json)["complexity"]["words"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return words if type(words) is int and 0 <= words <= MAX_COUNT else None


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
