"""
The ledger's rows, and how one follows from another. Pure.

    opened ──▶ settled ──▶ closed          attempt by attempt, then the request
                  └──▶ corrected           when settled was a guess and the truth came later
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from math import isfinite
from typing import Any, Literal
from uuid import UUID

Outcome = Literal["ok", "failed", "cancelled", "truncated", "unknown"]
Pricing = Literal["priced", "unpriced", "cached"]

MOST_TEXT = 500  # characters; longer names and identifiers are cut
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Kind(IntEnum):
    """The numbers of `LedgerRow.Kind` on the wire."""

    OPENED = 1
    SETTLED = 2
    CORRECTED = 3
    CLOSED = 4
    FEEDBACK = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row; which fields are set depends on the kind. None: does not apply, or is not known."""

    kind: Kind
    attempt_id: UUID  # UUIDv7; of a closed or feedback row: the request's
    revision: int = 0
    request_id: UUID
    recorded_at: datetime
    deadline_at: datetime | None = None  # opened: when the reaper may settle it
    tenant: str
    user_id: str | None = None
    experiment_id: int | None = None
    arm: str | None = None
    strategy: str | None = None
    confidence: str | None = None
    provider: str | None = None
    model: str | None = None  # "provider/model"
    outcome: Outcome | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cost_nano_usd: int | None = None  # None: unpriced. opened: expected, not owed
    pricing: Pricing | None = None
    price_version: int | None = None
    baseline_cost_nano_usd: int | None = None
    latency_ms: float = 0
    time_to_first_token_ms: float | None = None  # None: not streamed
    cache_hit: bool = False
    streamed: bool = False
    estimated: bool = False
    fallbacks: int = 0
    provider_response_id: str | None = None
    details: Mapping[str, Any] | None = None


def guess(opened: Row, *, recorded_at: datetime) -> Row:
    """Settle an attempt of which nobody knows what became: at the expected cost, flagged."""
    return replace(
        opened,
        kind=Kind.SETTLED,
        recorded_at=recorded_at,
        deadline_at=None,
        outcome="unknown",
        pricing="unpriced" if opened.cost_nano_usd is None else "priced",
        estimated=True,
    )


def correction(settled: Row, truth: Row) -> Row | None:
    """
    Return the difference between a guess and the truth; None when nothing is to be corrected.

    Only a guess is ever corrected: of two that know, the first counts.
    """
    if settled.outcome != "unknown" or _facts(settled) == _facts(truth):
        return None
    return replace(
        truth,
        kind=Kind.CORRECTED,
        revision=1,  # a guess is corrected once, whoever comes with the truth
        input_tokens=truth.input_tokens - settled.input_tokens,
        output_tokens=truth.output_tokens - settled.output_tokens,
        cached_input_tokens=truth.cached_input_tokens - settled.cached_input_tokens,
        cost_nano_usd=_difference(settled.cost_nano_usd, truth.cost_nano_usd),
    )


def total(rows: Sequence[Row]) -> tuple[int | None, Pricing]:
    """Sum what settled and corrected rows cost; None as soon as one attempt is unpriced."""
    latest = {r.attempt_id: r.pricing for r in sorted(rows, key=lambda r: r.kind)}
    if "unpriced" in latest.values():
        return None, "unpriced"
    return sum(r.cost_nano_usd or 0 for r in rows), "priced"


def abandoned(attempts: Sequence[Row], *, recorded_at: datetime) -> Row:
    """
    Close a request that nobody closed.

    Args:
        attempts: Its settled and corrected rows, in order; at least one.
        recorded_at: Now.
    """
    cost, pricing = total(attempts)
    last = attempts[-1]
    return replace(
        last,
        kind=Kind.CLOSED,
        attempt_id=last.request_id,
        revision=0,
        recorded_at=recorded_at,
        outcome="unknown",
        input_tokens=sum(r.input_tokens for r in attempts),
        output_tokens=sum(r.output_tokens for r in attempts),
        cached_input_tokens=sum(r.cached_input_tokens for r in attempts),
        cost_nano_usd=cost,
        pricing=pricing,
        baseline_cost_nano_usd=0 if cost else None,  # no whole answer left: all of it is a loss
        estimated=any(r.estimated for r in attempts),
        latency_ms=sum(r.latency_ms for r in attempts if r.kind == Kind.SETTLED),
        provider_response_id=None,
        details=None,
    )


def finish(rows: Sequence[Row], *, recorded_at: datetime) -> list[Row]:
    """
    Return what is missing of a request whose deadline has passed.

    Args:
        rows: All there is of it: opened, settled, corrected, closed.
        recorded_at: Now.
    """
    settled = [r for r in rows if r.kind in (Kind.SETTLED, Kind.CORRECTED)]
    known = {r.attempt_id for r in settled}
    missing = [
        guess(r, recorded_at=recorded_at)
        for r in rows
        if r.kind == Kind.OPENED and r.attempt_id not in known
    ]
    attempts = sorted([*settled, *missing], key=lambda r: (r.attempt_id, r.kind))
    if attempts and not any(r.kind == Kind.CLOSED for r in rows):
        missing.append(abandoned(attempts, recorded_at=recorded_at))
    return missing


def clean_text(text: str | None, limit: int = MOST_TEXT) -> str | None:
    """Return *text* as a database can hold it: no NUL, no lone surrogate, not too long."""
    if text is None:
        return None
    text = text[:limit]
    if text.isascii():
        return text.replace("\0", _REPLACEMENT) if "\0" in text else text
    return text.replace("\0", _REPLACEMENT).encode("utf-8", "replace").decode()


def clean_ms(duration_ms: float | None) -> float | None:
    """Return a duration that can be summed: what is not finite or negative is not known."""
    if duration_ms is None or not isfinite(duration_ms) or duration_ms < 0:
        return None
    return duration_ms


def _facts(row: Row) -> tuple[object, ...]:
    return (
        row.outcome,
        row.input_tokens,
        row.output_tokens,
        row.cached_input_tokens,
        row.cost_nano_usd,
    )


def _difference(guessed: int | None, true: int | None) -> int | None:
    """Return what must be added; pricing on the corrected row says whether the sum is priced."""
    if guessed is None:
        return true
    return (true or 0) - guessed
