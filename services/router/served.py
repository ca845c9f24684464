"""What the first candidate that answered gave: whole, or as it comes."""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal

from common.errors import AllFailed, Failure, TimedOut
from services.router.background import Caller
from services.router.domain.catalog import Model
from services.router.domain.provider_failure import ProviderFailure
from services.router.domain.reply import Naming
from services.router.domain.request import Usage
from services.router.providers.upstream_stream import UpstreamStream
from services.router.sent import Sent

_NO_TIME_S = 0.05


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


class ServedStream:
    """
    An answer whose first content is here. Iterate to the end, close the entry, send `tail`.

    Iterating yields batches of chat.completion.chunk JSON and settles the attempt. What carries
    the finish_reason is in `tail`, and must not leave before the entry is closed.

    If the caller leaves, the rest is read up to a bound, so that the provider says what it costs;
    then iteration ends all the same, with `outcome` "cancelled".

    Raises (while iterating):
        AllFailed: the answer broke off; `billed`.
        TimedOut: the caller's time is up; `billed`.
    """

    def __init__(
        self,
        sent: Sent,
        upstream: UpstreamStream,
        naming: Naming,
        first: list[bytes],
        *,
        caller: Caller,
        deadline: float,
        drain_bytes: int,
        fallbacks: int,
        provider_ms: float,
    ) -> None:
        self._sent = sent
        self._upstream = upstream
        self._naming = naming
        self._first = first
        self._caller = caller
        self._deadline = deadline
        self._drain_bytes = drain_bytes
        self.answered = naming.answered(upstream.facts.answered_word)
        self.fallbacks = fallbacks
        self.provider_ms = provider_ms  # spent waiting for providers so far
        self.ttft_ms = sent.ttft_ms or 0.0
        self.usage = Usage(0, 0, estimated=True)  # known at the end
        self.outcome: Literal["ok", "cancelled"] = "ok"

    @property
    def tail(self) -> list[bytes]:
        return self._upstream.tail

    @property
    def finish_reason(self) -> str:
        return self._upstream.facts.finish_reason

    async def __aiter__(self) -> AsyncGenerator[list[bytes], None]:
        batch: list[bytes] | None = self._first
        allowance: int | None = None  # bytes to read at most, once the caller has gone
        try:
            while batch is not None:
                yield batch
                if self._caller.gone:
                    received = self._upstream.received_bytes
                    allowance = received + self._drain_bytes if allowance is None else allowance
                    if received > allowance:
                        self._abandon()
                        return
                batch = await self._next()
        except ProviderFailure as failure:
            if self._caller.gone:
                self._abandon()
                return
            self._sent.failed(failure, self._upstream.facts)
            raise self._broken(failure) from failure
        except BaseException:  # closed, or cancelled at shutdown
            self._abandon()
            raise
        gone = self._caller.gone
        self.usage = self._sent.streamed(self._upstream.facts, self._naming, caller_gone=gone)
        self.outcome = "cancelled" if gone else "ok"

    async def _next(self) -> list[bytes] | None:
        began = time.monotonic()
        try:
            return await self._upstream.next_batch()
        finally:
            self.provider_ms += (time.monotonic() - began) * 1000

    def _abandon(self) -> None:
        self._upstream.close()
        self.usage = self._sent.abandoned(self._upstream.facts) or self.usage
        self.outcome = "cancelled"

    def _broken(self, failure: ProviderFailure) -> Failure:
        told = f"the answer broke off: {self._sent.model.name} ({failure.brief})"
        if time.monotonic() > self._deadline - _NO_TIME_S:
            return TimedOut(told, billed=True)
        return AllFailed(told, code="answer_broke_off", billed=True)
