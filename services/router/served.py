"""What the first candidate that answered gave: whole, or as it comes."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from common.errors import AllFailed, Failure, TimedOut
from services.router.agreement import Agreement, Disagreement
from services.router.background import Caller
from services.router.domain.catalog import Model
from services.router.domain.provider_failure import ProviderFailure
from services.router.domain.reply import Naming
from services.router.domain.request import Usage
from services.router.providers.stream import StreamFacts
from services.router.providers.upstream_stream import UpstreamStream
from services.router.round import NO_TIME_S
from services.router.sent import Sent


@dataclass(frozen=True, slots=True)
class Served:
    """A whole answer. Its attempt is settled, though not yet durably: close the entry first."""

    body: bytes  # an OpenAI chat.completion as JSON
    answered: Model
    usage: Usage
    finish_reason: str
    fallbacks: int  # other models that failed before
    provider_ms: float  # spent waiting for providers, failed attempts included
    outcome: Literal["ok", "cancelled"] = "ok"  # cancelled: nobody waits for it any more


@dataclass(frozen=True, slots=True)
class Leg:
    """One provider's stream whose first content is here."""

    sent: Sent
    upstream: UpstreamStream
    naming: Naming
    first: list[bytes]
    fallbacks: int  # other models that failed before

    @property
    def facts(self) -> StreamFacts:
        return self.upstream.facts

    @property
    def answered(self) -> Model:
        return self.naming.answered(self.facts.answered_word)

    def hang_up(self, why: str) -> Usage | None:
        self.upstream.close()
        return self.sent.abandoned(self.facts, why=why)


class ServedStream:
    """
    An answer whose first content is here. Iterate to the end, close the entry, send `tail`.

    Iterating yields batches of chat.completion.chunk JSON and settles the attempt. What carries
    the finish_reason is in `tail`, and must not leave before the entry is closed.

    If the stream breaks off, another candidate may start over. What it says is let through from
    where the first one broke off, if up to there it said the same; two answers are never mixed.

    If the caller leaves, the rest is read up to a bound, so that the provider says what it costs;
    then iteration ends all the same, with `outcome` "cancelled".

    Args:
        leg: The stream.
        caller: Says when nobody waits any more.
        deadline: When the caller's time is up, on time.monotonic.
        drain_bytes: How far to read on for nobody.
        resume: Starts over with another candidate; raises a Failure if there is none.
        provider_ms: Spent waiting for providers so far.

    Raises (while iterating):
        AllFailed: the answer broke off; `billed`.
        TimedOut: the caller's time is up; `billed`.
    """

    def __init__(
        self,
        leg: Leg,
        *,
        caller: Caller,
        deadline: float,
        drain_bytes: int,
        resume: Callable[[Leg, ProviderFailure], Awaitable[Leg]],
        provider_ms: float,
    ) -> None:
        self._leg = leg
        self._caller = caller
        self._deadline = deadline
        self._drain_bytes = drain_bytes
        self._resume = resume
        self._agreement: Agreement | None = None  # once a second candidate has started over
        self._failure: Failure = AllFailed("the answer broke off", billed=True)  # the first one
        self.provider_ms = provider_ms
        self.ttft_ms = leg.sent.ttft_ms or 0.0
        self.usage = Usage(0, 0, estimated=True)  # known at the end
        self.outcome: Literal["ok", "cancelled"] = "ok"
        self.tail: list[bytes] = []

    @property
    def answered(self) -> Model:
        return self._leg.answered

    @property
    def fallbacks(self) -> int:
        return self._leg.fallbacks

    @property
    def finish_reason(self) -> str:
        return self._leg.facts.finish_reason

    def read(self) -> Mapping[str, Any]:
        """Return what was said, as the whole answer it makes; {} unless it was text only."""
        facts = self._leg.facts
        if not facts.only_text or self.outcome != "ok":
            return {}
        said = {"message": {"content": "".join(facts.said)}, "finish_reason": facts.finish_reason}
        return {"choices": [said]}

    async def __aiter__(self) -> AsyncGenerator[list[bytes], None]:
        while True:
            try:
                async for batch in self._batches():
                    if fresh := self._agreement.beyond(batch) if self._agreement else batch:
                        yield fresh
                break
            except ProviderFailure as failure:
                if self._caller.gone:
                    self._abandon()
                    return
                self._leg.sent.failed(failure, self._leg.facts)
                await self._start_over(failure)
            except Disagreement:
                self._leg.hang_up("disagreed")
                raise self._failure from None
            except BaseException:  # closed, or cancelled at shutdown
                self._abandon()
                raise
        if self.outcome == "cancelled":
            return
        self._settle()
        self._finish()

    async def _batches(self) -> AsyncGenerator[list[bytes], None]:
        """Yield what comes, also for nobody; but then up to a bound."""
        batch: list[bytes] | None = self._leg.first
        allowance: int | None = None  # bytes to read at most, once the caller has gone
        while batch is not None:
            yield batch
            if self._caller.gone:
                received = self._leg.upstream.received_bytes
                allowance = received + self._drain_bytes if allowance is None else allowance
                if received > allowance:
                    self._abandon()
                    return
            batch = await self._next()

    async def _next(self) -> list[bytes] | None:
        began = time.monotonic()
        try:
            return await self._leg.upstream.next_batch()
        finally:
            self.provider_ms += (time.monotonic() - began) * 1000

    async def _start_over(self, failure: ProviderFailure) -> None:
        """
        Ask another candidate for the whole answer again.

        Raises:
            Failure: that of the first stream, if more than text has left or nobody else answers.
        """
        facts, before = self._leg.facts, self._agreement
        said, response_id = "".join(facts.said), facts.response_id
        if before is None:
            self._failure = self._broken(failure)
        else:  # this one may have broken off before it came to what was new
            said, response_id = max(said, before.said, key=len), before.response_id
        if not facts.only_text:
            raise self._failure from failure
        began = time.monotonic()
        try:
            self._leg = await self._resume(self._leg, failure)
        except Failure:
            raise self._failure from failure
        finally:
            self.provider_ms += (time.monotonic() - began) * 1000
        self._agreement = Agreement(said, response_id)

    def _settle(self) -> None:
        leg, gone = self._leg, self._caller.gone
        self.usage = leg.sent.streamed(leg.facts, leg.naming, caller_gone=gone)
        self.outcome = "cancelled" if gone else "ok"

    def _finish(self) -> None:
        """
        Make the tail, now that the stream has come to its end.

        Raises:
            Failure: a second answer ends before the first one broke off, so it is another one.
        """
        tail = self._leg.upstream.tail
        if self._agreement is None or self.outcome == "cancelled":
            self.tail = tail
        elif self._agreement.complete:
            self.tail = self._agreement.beyond(tail)
        else:
            raise self._failure

    def _abandon(self) -> None:
        self.usage = self._leg.hang_up("caller_gone") or self.usage
        self.outcome = "cancelled"

    def _broken(self, failure: ProviderFailure) -> Failure:
        told = f"the answer broke off: {self._leg.sent.model.name} ({failure.brief})"
        if time.monotonic() > self._deadline - NO_TIME_S:
            return TimedOut(told, billed=True)
        return AllFailed(told, code="answer_broke_off", billed=True)
