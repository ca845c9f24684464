"""
The first candidate that answers: tried in order, each attempt announced before and settled after.

Nothing is ever sent that the ledger does not hold, and no second answer is glued to a first one:
once content of a stream has left, its failure is the caller's to see.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from common.errors import Invalid
from services.router.background import Caller
from services.router.domain.decision import Candidate, Decision
from services.router.domain.provider_failure import ProviderFailure
from services.router.domain.request import Ask
from services.router.domain.tried import Tried, refusal
from services.router.providers.adapter import Call
from services.router.providers.breaker import Breakers
from services.router.providers.client import ProviderClient
from services.router.providers.metrics import FIRST_TOKEN
from services.router.providers.upstream_stream import UpstreamStream
from services.router.sent import Sent
from services.router.served import Served, ServedStream
from services.router.store.entry import Entry

LONGEST_WAIT_S = 2.0  # for a rate limit to pass, once, when there is nobody else to ask
RESERVE_RATIO = 0.5  # of the time that is left, kept for the candidates behind
RESERVE_S = 60.0  # and no more than this
NO_TIME_S = 0.05  # with less than this left, nothing is begun

T = TypeVar("T")


@dataclass(slots=True)
class _Round:
    """One request's way through its candidates."""

    ask: Ask
    decision: Decision
    entry: Entry
    deadline: float  # on time.monotonic
    caller: Caller
    tried: Tried = field(default_factory=Tried)
    provider_ms: float = 0

    def time_is_up(self) -> bool:
        return time.monotonic() > self.deadline - NO_TIME_S

    def share(self, *, last: bool) -> float:
        """Return when the next attempt must be over, so that those behind it get their turn."""
        left = self.deadline - time.monotonic()
        return self.deadline if last else self.deadline - min(left * RESERVE_RATIO, RESERVE_S)


class Candidates:
    """
    Asks providers, in the order of a decision.

    Args:
        client: Sends.
        breakers: Knows whom to leave alone.
        drain_s: How long a stream is read on when its caller has gone.
        drain_bytes: And how far.
    """

    def __init__(
        self,
        client: ProviderClient,
        breakers: Breakers | None = None,
        *,
        drain_s: float = 30,
        drain_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self._client = client
        self._breakers = breakers or Breakers()
        self._drain_s = drain_s
        self._drain_bytes = drain_bytes

    async def first_answer(
        self,
        ask: Ask,
        decision: Decision,
        entry: Entry,
        *,
        deadline: float,
        caller: Caller | None = None,
    ) -> Served:
        """
        Return the first whole answer; its attempt is settled.

        Args:
            ask: The request.
            decision: Whom to ask.
            entry: The request's side of the ledger.
            deadline: When the caller's time is up, on time.monotonic.
            caller: Says when nobody waits any more; then what is under way is finished and
                settled, and nothing new begun.

        Raises:
            Invalid: a provider refuses the request as it is written.
            OverBudget: every candidate is out of rate or credit.
            AllFailed: every candidate failed.
            TimedOut: the caller's time is up.
            Unavailable: the ledger cannot record an attempt, so none was made.
        """
        way = _Round(ask, decision, entry, deadline, caller or Caller())
        return await self._first(way, self._answer)

    async def first_stream(
        self,
        ask: Ask,
        decision: Decision,
        entry: Entry,
        *,
        deadline: float,
        caller: Caller | None = None,
    ) -> ServedStream:
        """
        Return the first stream that has content. Arguments and failures as in `first_answer`.

        If the caller leaves, the rest of the stream is read up to `drain_s` and `drain_bytes`.
        """
        way = _Round(ask, decision, entry, deadline, caller or Caller())
        return await self._first(way, self._stream)

    async def _first(
        self, way: _Round, attempt: Callable[[_Round, Candidate, Call, float], Awaitable[T]]
    ) -> T:
        candidates = way.decision.candidates
        for at, candidate in enumerate(candidates):
            if at and (way.caller.gone or way.time_is_up()):
                break
            if way.tried.too_small(candidate.model):
                continue
            if not self._breakers.allows(candidate.model):
                way.tried.resting.append(candidate.model)
                continue
            last = at == len(candidates) - 1
            if (found := await self._with_retry(way, candidate, attempt, last=last)) is not None:
                return found
        if way.tried.resting and not way.tried.failures:
            # everybody rests: asking the first of them beats refusing unasked
            first = way.tried.resting.pop(0)
            candidate = next(c for c in candidates if c.model is first)
            if (found := await self._with_retry(way, candidate, attempt, last=True)) is not None:
                return found
        raise way.tried.verdict(time_is_up=way.time_is_up())

    async def _with_retry(
        self,
        way: _Round,
        candidate: Candidate,
        attempt: Callable[[_Round, Candidate, Call, float], Awaitable[T]],
        *,
        last: bool,
    ) -> T | None:
        """Ask one candidate, once more if that may help; None if it failed."""
        try:
            call = self._client.prepare(candidate.model, way.ask.body, streamed=way.ask.streamed)
        except Invalid as inexpressible:
            way.tried.inexpressible.append(inexpressible)
            self._breakers.undecided(candidate.model)
            return None
        except ProviderFailure as failure:
            way.tried.add(candidate.model, failure)
            self._breakers.failed(candidate.model, failure)
            return None
        for again in (False, True):
            try:
                return await attempt(way, candidate, call, way.share(last=last))
            except ProviderFailure as failure:
                if failure.caller_fault:
                    raise refusal(candidate.model, failure) from failure
                way.tried.add(candidate.model, failure)
                if again or not await self._may_repeat(way, failure, last=last):
                    return None
        return None

    async def _may_repeat(self, way: _Round, failure: ProviderFailure, *, last: bool) -> bool:
        """Return whether the same candidate deserves a second try; wait out a short rate limit."""
        if way.caller.gone or way.time_is_up():
            return False
        wait_s = failure.retry_after_s
        if failure.kind == "rate_limited" and last and wait_s is not None:
            if wait_s > min(LONGEST_WAIT_S, way.deadline - time.monotonic() - NO_TIME_S):
                return False
            await asyncio.sleep(wait_s)
            return not way.caller.gone
        return failure.worth_one_retry

    async def _answer(self, way: _Round, candidate: Candidate, call: Call, until: float) -> Served:
        sent = await self._announce(way, candidate)
        try:
            reply = await self._client.complete(call, sent.attempt.attempt_id, deadline=until)
        except ProviderFailure as failure:
            sent.failed(failure)
            raise
        except BaseException:  # cancelled at shutdown
            sent.abandoned()
            raise
        finally:
            way.provider_ms += sent.elapsed_ms
        gone = way.caller.gone
        return Served(
            body=reply.body,
            answered=reply.answered,
            usage=sent.answered(reply, caller_gone=gone),
            finish_reason=reply.finish_reason,
            fallbacks=way.tried.fallbacks(candidate.model),
            provider_ms=way.provider_ms,
            outcome="cancelled" if gone else "ok",
        )

    async def _stream(
        self, way: _Round, candidate: Candidate, call: Call, until: float
    ) -> ServedStream:
        sent = await self._announce(way, candidate)
        upstream = None
        try:
            upstream = await self._client.stream(
                call, sent.attempt.attempt_id, first_by=until, deadline=way.deadline
            )
            way.caller.on_leaving(partial(self._hurry, upstream))
            first = await upstream.next_batch()
        except ProviderFailure as failure:
            facts = upstream.facts if upstream else None
            if way.caller.gone and failure.kind == "timed_out":
                sent.abandoned(facts)
            else:
                sent.failed(failure, facts)
            raise
        except BaseException:  # cancelled at shutdown
            sent.abandoned(upstream.facts if upstream else None)
            raise
        finally:
            way.provider_ms += sent.elapsed_ms
        sent.ttft_ms = sent.elapsed_ms
        FIRST_TOKEN.labels(sent.model.provider, sent.model.name).observe(sent.ttft_ms / 1000)
        return ServedStream(
            sent,
            upstream,
            call.naming,
            first or [],
            caller=way.caller,
            deadline=way.deadline,
            drain_bytes=self._drain_bytes,
            fallbacks=way.tried.fallbacks(candidate.model),
            provider_ms=way.provider_ms,
        )

    def _hurry(self, upstream: UpstreamStream) -> None:
        upstream.hurry(time.monotonic() + self._drain_s)

    async def _announce(self, way: _Round, candidate: Candidate) -> Sent:
        try:
            attempt = await way.entry.open(candidate, way.decision)
        except BaseException:  # not sent, so nothing was learnt
            self._breakers.undecided(candidate.model)
            raise
        return Sent(way.ask, way.entry, attempt, self._breakers)
