"""Requests and usage as messages: what is kept of them, and nothing that only learning reads."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import asyncpg
import orjson
from optimizer.router.v1 import router_pb2 as pb

from common.errors import Invalid
from common.wire import unix_ms
from services.router.domain.entries import Kind, Row, total
from services.router.store.requests import Story, Wanted
from services.router.store.usage import Used

_HIDDEN = frozenset({"learning", "error"})  # features are for the machine; the error has a field


def wanted(request: pb.ListRequestsRequest) -> Wanted:
    return Wanted(
        tenant=request.tenant or None,
        model=request.model or None,
        strategy=request.strategy or None,
        outcome=request.outcome or None,
    )


def day(text: str) -> date:
    """Read a date as ISO 8601 writes it."""
    try:
        read = date.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or read.isoformat() != text:
        raise Invalid(f"day must be a date such as 2026-01-31, got {text[:20]!r}", param="day")
    return read


def listed(row: Mapping[str, Any] | asyncpg.Record) -> pb.Request:
    """Tell a row of a page, or one that was made of a `Row`."""
    return pb.Request(
        request_id=str(row["attempt_id"]),
        at_ms=unix_ms(row["recorded_at"]),
        user_id=row["user_id"],
        strategy=row["strategy"],
        model=row["model"],
        provider=row["provider"],
        outcome=row["outcome"],
        confidence=row["confidence"],
        cost_nano_usd=row["cost_nano_usd"],
        baseline_cost_nano_usd=row["baseline_cost_nano_usd"],
        latency_ms=row["latency_ms"],
        time_to_first_token_ms=row["time_to_first_token_ms"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cache_hit=row["cache_hit"],
        fallbacks=row["fallbacks"],
        experiment_id=row["experiment_id"],
        arm=row["arm"],
        estimated=row["estimated"],
    )


def story(found: Story) -> pb.GetRequestResponse:
    closed, details = found.closed, found.closed.details or {}
    request = listed({name: getattr(closed, name) for name in Row.__dataclass_fields__})
    request.error = _error(closed)
    told = pb.GetRequestResponse(
        request=request,
        decision_json=orjson.dumps({k: v for k, v in details.items() if k not in _HIDDEN}),
        attempts=[_attempt(rows) for rows in found.attempts],
    )
    if given := found.feedback:
        told.feedback.revision = given.revision
        told.feedback.at_ms = unix_ms(given.recorded_at)
        told.feedback.details_json = orjson.dumps(given.details or {})
    return told


def usage(start: datetime, used: Sequence[Used]) -> pb.ReadUsageResponse:
    return pb.ReadUsageResponse(
        from_ms=unix_ms(start),
        usage=[
            pb.ReadUsageResponse.Usage(
                provider=one.provider,
                model=one.model,
                tenant=one.tenant,
                attempts=one.attempts,
                input_tokens=one.input_tokens,
                output_tokens=one.output_tokens,
                cached_input_tokens=one.cached_input_tokens,
                cost_nano_usd=one.cost_nano_usd,
                estimated=one.estimated,
            )
            for one in used
        ],
    )


def _attempt(rows: Sequence[Row]) -> pb.Attempt:
    """Tell an attempt with the truth about it, if that came later."""
    last = rows[-1]
    cost, _ = total(rows)
    return pb.Attempt(
        attempt_id=str(last.attempt_id),
        model=last.model or "",
        provider=last.provider or "",
        outcome=last.outcome or "",
        cost_nano_usd=cost,
        latency_ms=last.latency_ms,
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        error=_error(last),
        corrected=last.kind == Kind.CORRECTED,
    )


def _error(row: Row) -> str:
    return str((row.details or {}).get("error") or "")
