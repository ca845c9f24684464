"""
One request's way through the ledger: each attempt opened and settled, the request closed.

What is durable when: `opened` before anything is sent to a provider; `settled` and `closed` in one
commit before the answer leaves. A failed attempt's `settled` rides with whatever comes next.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import structlog

from common.errors import Failure, Invalid, Unavailable
from common.ids import new_id, time_of
from services.router.domain.catalog import Model, Price
from services.router.domain.cost import cost_of, plausible
from services.router.domain.decision import Candidate, Decision, Explained
from services.router.domain.entries import (
    Kind,
    Outcome,
    Pricing,
    Row,
    clean_ms,
    clean_text,
    total,
)
from services.router.domain.provider_failure import BLAMED
from services.router.domain.request import Ask, Usage
from services.router.store.metrics import count_closed, count_settled

MOST_SKEW = timedelta(days=1)  # between the edge's clock and ours: partitions exist around today
UUID_VERSION = 7
UNANSWERED: tuple[Outcome, ...] = ("failed", "truncated")

Append = Callable[[Sequence[Row]], Awaitable[None]]

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Attempt:
    """One call to a provider, durably announced."""

    attempt_id: UUID
    candidate: Candidate
    opened: Row
    on_settled: Callable[[Row, Model], None] | None = None  # called once, with who answered


@dataclass(frozen=True, slots=True)
class Closed:
    """What a request came to, all attempts together."""

    outcome: Outcome
    cost_nano_usd: int | None  # None: unpriced
    pricing: Pricing
    baseline_cost_nano_usd: int | None
    usage: Usage
    fallbacks: int
    latency_ms: float


class Entry:
    """
    The ledger's side of one request; `Ledger.request` makes it.

    Leaving the context without `close` closes the request as failed (cancelled, if it was), and
    settles what was sent and not settled as unknown, at its expected cost.
    """

    def __init__(
        self, ask: Ask, *, append: Append, deadline_s: float, baseline: Price | None = None
    ) -> None:
        now = datetime.now(UTC)
        if ask.request_id.version != UUID_VERSION or abs(time_of(ask.request_id) - now) > MOST_SKEW:
            raise Invalid("request_id must be a UUIDv7 made just now", param="request_id")
        self._append = append
        self._ask = ask
        self._baseline = baseline
        self._began = time.monotonic()
        self._deadline_at = now + timedelta(seconds=deadline_s)
        self._sent: dict[UUID, Attempt] = {}  # not settled yet
        self._settled: list[Row] = []
        self._waiting: list[Row] = []  # settled, not yet durable
        self._closed = False
        self._shared: dict[str, Any] = {
            "request_id": ask.request_id,
            "tenant": clean_text(ask.tenant) or "",
            "user_id": clean_text(ask.user_id),
            "experiment_id": ask.experiment_id,
            "arm": clean_text(ask.arm),
            "streamed": ask.streamed,
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._closed:
            return
        cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
        try:
            await self.close(
                outcome="cancelled" if cancelled else "failed",
                error=error.code if isinstance(error, Failure) else type(error).__name__,
            )
        except Failure as unrecorded:
            if error is None:
                raise
            log.warning("request_not_closed", reason=unrecorded.message)  # the reaper will

    async def open(self, candidate: Candidate, decision: Decision) -> Attempt:
        """
        Announce a call to a provider. Durable on return; only then may anything be sent.

        Raises:
            Unavailable: the attempt cannot be recorded, so it must not be made.
        """
        attempt_id = new_id()
        model = candidate.model
        opened = Row(
            kind=Kind.OPENED,
            attempt_id=attempt_id,
            recorded_at=datetime.now(UTC),
            deadline_at=self._deadline_at,
            strategy=decision.strategy,
            confidence=decision.confidence,
            provider=model.provider,
            model=model.name,
            cost_nano_usd=candidate.expected_cost_nano_usd,
            pricing="priced" if model.price else "unpriced",
            price_version=model.price.version if model.price else None,
            estimated=True,
            **self._shared,
        )
        attempt = Attempt(attempt_id, candidate, opened)
        self._sent[attempt_id] = attempt
        try:
            await self._flush(opened)
        except BaseException:
            self.settle(attempt, outcome="failed", error="not_sent")
            raise
        return attempt

    def settle(
        self,
        attempt: Attempt,
        *,
        outcome: Outcome,
        usage: Usage | None = None,
        answered: Model | None = None,
        response_id: str | None = None,
        latency_ms: float = 0,
        ttft_ms: float | None = None,
        error: str | None = None,
    ) -> None:
        """
        Say what an attempt used; it becomes durable with the next `open` or `close`.

        Settling again changes nothing.

        Args:
            attempt: From `open`.
            outcome: `failed` means that nothing is owed unless *usage* says so; `unknown`, that it
                was sent and nobody knows what became of it.
            usage: None: the provider said nothing and nothing was counted; then everything but a
                failure is settled at the expected cost and flagged.
            answered: The model that answered, if it is another than was asked: its price counts.
            response_id: The provider's own, as on its bill.
            latency_ms: From sending to the last byte.
            ttft_ms: To the first token; None when not streamed.
            error: A word for what went wrong; never a provider's text, which may quote the prompt.
        """
        if self._sent.pop(attempt.attempt_id, None) is None:
            return
        model = answered or attempt.candidate.model
        used, cost, pricing = _bill(attempt.candidate, model.price, usage, outcome)
        row = Row(
            kind=Kind.SETTLED,
            attempt_id=attempt.attempt_id,
            recorded_at=datetime.now(UTC),
            strategy=attempt.opened.strategy,
            confidence=attempt.opened.confidence,
            provider=model.provider,
            model=model.name,
            outcome=outcome,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            cached_input_tokens=used.cached_input_tokens,
            cost_nano_usd=cost,
            pricing=pricing,
            price_version=model.price.version if model.price else None,
            latency_ms=clean_ms(latency_ms) or 0,
            time_to_first_token_ms=clean_ms(ttft_ms),
            estimated=used.estimated,
            provider_response_id=clean_text(response_id),
            details={"error": clean_text(error)} if error else None,
            **self._shared,
        )
        self._settled.append(row)
        self._waiting.append(row)
        count_settled(model, used, cost)
        if attempt.on_settled is not None:
            attempt.on_settled(row, model)

    async def close(
        self,
        *,
        outcome: Outcome = "ok",
        decision: Explained | None = None,
        cache_hit: bool = False,
        usage: Usage | None = None,
        provider: str | None = None,
        model: str | None = None,
        fallbacks: int | None = None,
        latency_ms: float | None = None,
        ttft_ms: float | None = None,
        error: str | None = None,
    ) -> Closed:
        """
        End the request. Durable on return, with every attempt's settlement; only then answer.

        Args:
            outcome: Of the request.
            decision: Its explanation is kept; None when none was made. Of a hit: the one that
                once led to the answer.
            cache_hit: Nothing was called: it cost 0, whatever the answer cost once.
            usage: Only for a hit or a shared answer: the tokens of the answer that was given.
            provider: Of the answer; default: that of the attempt that answered, else of the last.
            model: Likewise.
            fallbacks: Default: how many other models failed before.
            latency_ms: Default: since the entry was made.
            ttft_ms: To the first token; None when not streamed.
            error: A word for what went wrong.

        Raises:
            Unavailable: it cannot be recorded, so nothing must be answered.
        """
        for attempt in list(self._sent.values()):
            self.settle(attempt, outcome="unknown", error=error)
        self._closed = True
        closed = self._sum_up(
            outcome,
            cache_hit=cache_hit,
            usage=usage,
            fallbacks=fallbacks,
            latency_ms=latency_ms,
        )
        last = self._answer() or (self._settled[-1] if self._settled else None)
        details: dict[str, Any] = dict(decision.explanation) if decision else {}
        if decision and decision.learning:
            details["learning"] = {**decision.learning, **self._blamed(last)}
        closed_row = Row(
            kind=Kind.CLOSED,
            attempt_id=self._ask.request_id,
            recorded_at=datetime.now(UTC),
            strategy=decision.strategy if decision else clean_text(self._ask.strategy.name),
            confidence=decision.confidence if decision else None,
            provider=clean_text(provider) or (last.provider if last else None),
            model=clean_text(model) or (last.model if last else None),
            outcome=outcome,
            input_tokens=closed.usage.input_tokens,
            output_tokens=closed.usage.output_tokens,
            cached_input_tokens=closed.usage.cached_input_tokens,
            cost_nano_usd=closed.cost_nano_usd,
            pricing=closed.pricing,
            price_version=last.price_version if last else None,
            baseline_cost_nano_usd=closed.baseline_cost_nano_usd,
            latency_ms=closed.latency_ms,
            time_to_first_token_ms=clean_ms(ttft_ms),
            cache_hit=cache_hit,
            estimated=closed.usage.estimated,
            fallbacks=closed.fallbacks,
            details={**details, "error": clean_text(error)} if error else details or None,
            **self._shared,
        )
        await self._flush(closed_row)
        count_closed(
            cost_nano_usd=closed.cost_nano_usd,
            baseline_nano_usd=closed.baseline_cost_nano_usd,
            cache_hit=cache_hit,
        )
        return closed

    def _sum_up(
        self,
        outcome: Outcome,
        *,
        cache_hit: bool,
        usage: Usage | None,
        fallbacks: int | None,
        latency_ms: float | None,
    ) -> Closed:
        cost, pricing = (0, "cached") if cache_hit else total(self._settled)
        answer = self._answer()
        served = usage or (_usage_of([answer]) if answer else None)
        failed = {r.model for r in self._settled if r.outcome in ("failed", "unknown")}
        return Closed(
            outcome=outcome,
            cost_nano_usd=cost,
            pricing=pricing,
            baseline_cost_nano_usd=self._instead(outcome, served, cost),
            usage=_usage_of(self._settled) if self._settled else usage or Usage(0, 0),
            fallbacks=len(failed - {answer and answer.model}) if fallbacks is None else fallbacks,
            latency_ms=(time.monotonic() - self._began) * 1000
            if latency_ms is None
            else clean_ms(latency_ms) or 0,
        )

    def _instead(self, outcome: Outcome, served: Usage | None, cost: int | None) -> int | None:
        """Return what the baseline would have cost; None: there is nothing to compare."""
        if outcome in UNANSWERED:  # what was paid for no whole answer is a loss
            return 0 if cost and self._baseline else None
        return cost_of(served, self._baseline) if served else None

    def _blamed(self, answer: Row | None) -> dict[str, list[str]]:
        """Name the models that failed by their own fault, for learning; not who answered then."""
        blamed = {
            row.model
            for row in self._settled
            if row.model and row.details and row.details.get("error") in BLAMED
        }
        if answer and answer.outcome == "ok":
            blamed.discard(answer.model)
        return {"failed": sorted(blamed)} if blamed else {}

    def _answer(self) -> Row | None:
        """
        Return the attempt that was answered with; None if none was.

        It need not be the last one settled: one that it overtook is called off after it.
        """
        answers = [row for row in self._settled if row.outcome == "ok"]
        others = [row for row in self._settled if row.outcome != "failed"]
        return next(reversed(answers or others), None)

    async def _flush(self, row: Row) -> None:
        """Make *row* durable, with what waits. What cannot be recorded goes on waiting."""
        waiting, self._waiting = self._waiting, []
        try:
            await self._append([*waiting, row])
        except BaseException as error:
            self._waiting[:0] = waiting  # appending a row again changes nothing
            if isinstance(error, Unavailable) and self._perhaps_paid:
                raise Unavailable(error.message, code=error.code, billed=True) from error
            raise

    @property
    def _perhaps_paid(self) -> bool:
        return any(row.cost_nano_usd != 0 for row in self._settled)


def _bill(
    candidate: Candidate, price: Price | None, usage: Usage | None, outcome: Outcome
) -> tuple[Usage, int | None, Pricing]:
    """Return (tokens, cost, pricing) of one attempt."""
    if usage is not None:
        used = plausible(usage)
        cost = cost_of(used, price)
    elif outcome == "failed":
        return Usage(0, 0), 0, "priced"  # nothing is owed, whatever the price
    else:
        used, cost = Usage(0, 0, estimated=True), candidate.expected_cost_nano_usd
    return used, cost, "unpriced" if cost is None else "priced"


def _usage_of(rows: Sequence[Row]) -> Usage:
    return Usage(
        input_tokens=sum(r.input_tokens for r in rows),
        output_tokens=sum(r.output_tokens for r in rows),
        cached_input_tokens=sum(r.cached_input_tokens for r in rows),
        estimated=any(r.estimated for r in rows),
    )
