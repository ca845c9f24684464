"""
The first candidate that answers: tried in order, each attempt announced before and settled after.

Nothing is ever sent that the ledger does not hold. Who stumbles is asked once more, as far as the
retry budget goes; who is merely slow goes on while the next one is asked as well.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from common.errors import Invalid
from services.router.background import Caller
from services.router.domain.catalog import Model
from services.router.domain.decision import Candidate, Decision
from services.router.domain.provider_failure import ProviderFailure
from services.router.domain.request import Ask
from services.router.domain.tried import refusal
from services.router.provider_span import follow
from services.router.providers.adapter import Call
from services.router.providers.breaker import Breakers
from services.router.providers.client import ProviderClient
from services.router.providers.metrics import FIRST_TOKEN
from services.router.providers.patience import Patience
from services.router.providers.retry_budget import RetryBudget
from services.router.providers.stream import StreamFacts
from services.router.providers.upstream_stream import UpstreamStream
from services.router.race import Race, Turn
from services.router.round import NO_TIME_S, Round
from services.router.sent import Sent
from services.router.served import Leg, Served, ServedStream
from services.router.store.entry import Entry

LONGEST_WAIT_S = 2.0  # for a rate limit to pass, once
WAIT_SPREAD = 0.1  # of a wait, on top: those who were refused together must not come back together

T = TypeVar("T")
Try = Callable[[Round, Candidate, Call, float], Awaitable[T]]


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
        self._budget = RetryBudget()
        self._patience = Patience()
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
        way = Round(ask, decision, entry, deadline, caller or Caller(), self._breakers)
        return await self._first(way, self._answer, discard=lambda _: None)

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
        way = Round(ask, decision, entry, deadline, caller or Caller(), self._breakers)
        leg = await self._first_leg(way)
        return ServedStream(
            leg,
            caller=way.caller,
            deadline=deadline,
            drain_bytes=self._drain_bytes,
            resume=partial(self._resume, way),
            provider_ms=way.provider_ms,
        )

    async def _first_leg(self, way: Round) -> Leg:
        return await self._first(way, self._stream, discard=lambda leg: leg.hang_up("overtaken"))

    async def _resume(self, way: Round, broken: Leg, failure: ProviderFailure) -> Leg:
        """Start over with those who were not asked yet, after a stream broke off."""
        way.tried.add(broken.sent.model, failure)
        way.decided = False
        return await self._first_leg(way)

    async def _first(self, way: Round, attempt: Try[T], *, discard: Callable[[T], object]) -> T:
        found = await Race(
            first=partial(self._next_turn, way, attempt),
            beside=partial(self._turn_beside, way, attempt),
            discard=discard,
        ).run()
        if found is None:
            raise way.tried.verdict(time_is_up=way.time_is_up())
        return found

    def _next_turn(self, way: Round, attempt: Try[T]) -> Turn[T] | None:
        candidate = way.next_candidate() or way.last_resort()
        return self._turn(way, candidate, attempt) if candidate else None

    def _turn_beside(self, way: Round, attempt: Try[T]) -> Turn[T] | None:
        """
        Let the next one try as well.

        At the provider that is slow this is a repeat, unless the slow model is known to be the one
        that fails.
        """
        upcoming = way.upcoming()
        if upcoming is None or way.caller.gone:
            return None
        provider = upcoming.model.provider
        trusted = [m for m in way.slow_models if self._breakers.trusts(m)]
        if any(m.provider == provider for m in trusted) and not self._budget.take(provider):
            return None
        candidate = way.next_candidate()
        return self._turn(way, candidate, attempt) if candidate else None

    def _turn(self, way: Round, candidate: Candidate, attempt: Try[T]) -> Turn[T]:
        last = way.upcoming() is None
        timeouts = self._client.timeouts(candidate.model)
        patience_s = self._patience.limit_s(candidate.model, timeouts, streamed=way.ask.streamed)
        return Turn(
            work=self._with_retry(way, candidate, attempt, last=last),
            patience_s=None if last else patience_s,
            on_slow=partial(way.is_slow, candidate),
        )

    async def _with_retry(
        self, way: Round, candidate: Candidate, attempt: Try[T], *, last: bool
    ) -> T | None:
        """Ask one candidate, once more if that may help; None if it failed."""
        model = candidate.model
        try:
            call = self._client.prepare(model, way.ask.body, streamed=way.ask.streamed)
        except Invalid as inexpressible:
            way.tried.inexpressible.append(inexpressible)
            self._breakers.undecided(model)
            return None
        except ProviderFailure as failure:
            way.tried.add(model, failure)
            self._breakers.failed(model, failure)
            return None
        self._budget.called(model.provider)
        for again in (False, True):
            try:
                found = await attempt(way, candidate, call, way.share(last=last))
            except ProviderFailure as failure:
                if failure.caller_fault and not way.tried.accepted:
                    raise refusal(model, failure) from failure
                way.tried.add(model, failure)
                if again or not await self._may_repeat(way, failure, model):
                    return None
            else:
                way.decided = True
                return found
        return None

    async def _may_repeat(self, way: Round, failure: ProviderFailure, model: Model) -> bool:
        """Return whether the same candidate deserves a second try; wait out a short rate limit."""
        wait_s = 0.0
        if failure.kind == "rate_limited" and failure.retry_after_s is not None:
            wait_s = failure.retry_after_s
        elif not (failure.worth_one_retry and self._breakers.trusts(model)):
            return False
        if way.caller.gone or wait_s > min(LONGEST_WAIT_S, way.left_s - NO_TIME_S):
            return False
        if not self._budget.take(model.provider):
            return False
        if wait_s:
            await asyncio.sleep(wait_s * (1 + random.random() * WAIT_SPREAD))  # noqa: S311
        return not way.caller.gone

    async def _answer(self, way: Round, candidate: Candidate, call: Call, until: float) -> Served:
        sent = await self._announce(way, candidate, call)
        try:
            reply = await self._client.complete(call, sent.attempt.attempt_id, deadline=until)
        except ProviderFailure as failure:
            sent.failed(failure)
            raise
        except BaseException:
            self._called_off(way, sent)
            raise
        finally:
            way.provider_ms += sent.elapsed_ms
        self._patience.answered(sent.model, streamed=False, waited_s=sent.elapsed_ms / 1000)
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

    async def _stream(self, way: Round, candidate: Candidate, call: Call, until: float) -> Leg:
        sent = await self._announce(way, candidate, call)
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
        except BaseException:
            self._called_off(way, sent, upstream.facts if upstream else None)
            raise
        finally:
            way.provider_ms += sent.elapsed_ms
        sent.ttft_ms = sent.elapsed_ms
        self._patience.answered(sent.model, streamed=True, waited_s=sent.ttft_ms / 1000)
        FIRST_TOKEN.labels(sent.model.provider, sent.model.name).observe(sent.ttft_ms / 1000)
        return Leg(sent, upstream, call.naming, first or [], way.tried.fallbacks(candidate.model))

    def _called_off(self, way: Round, sent: Sent, facts: StreamFacts | None = None) -> None:
        """Settle what was cancelled: it was slower than another one, or we shut down."""
        if failure := way.slow.get(sent.model.name):
            sent.failed(failure, facts)
        else:
            sent.abandoned(facts, why="overtaken" if way.decided else "caller_gone")

    def _hurry(self, upstream: UpstreamStream) -> None:
        upstream.hurry(time.monotonic() + self._drain_s)

    async def _announce(self, way: Round, candidate: Candidate, call: Call) -> Sent:
        try:
            attempt = await way.entry.open(candidate, way.decision)
        except BaseException:  # not sent, so nothing was learnt
            self._breakers.undecided(candidate.model)
            raise
        follow(attempt, call)
        return Sent(way.ask, way.entry, attempt, self._breakers)
