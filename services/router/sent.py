"""One attempt on its way: how it ends is told to the ledger, the breaker and Prometheus, once."""

import time
from dataclasses import dataclass, field, replace

import structlog

from services.router.domain.catalog import Model
from services.router.domain.entries import Outcome
from services.router.domain.provider_failure import ProviderFailure
from services.router.domain.reply import Naming, Reply
from services.router.domain.request import Ask, Usage
from services.router.domain.usage import estimated_usage
from services.router.providers.breaker import Breakers
from services.router.providers.metrics import ATTEMPTS, DURATION
from services.router.providers.stream import StreamFacts
from services.router.store.entry import Attempt, Entry

log = structlog.get_logger()


@dataclass(slots=True)
class Sent:
    ask: Ask
    entry: Entry
    attempt: Attempt
    breakers: Breakers
    began: float = field(default_factory=time.monotonic)
    ttft_ms: float | None = None
    _ended: bool = False

    @property
    def model(self) -> Model:
        return self.attempt.candidate.model

    @property
    def elapsed_ms(self) -> float:
        return (time.monotonic() - self.began) * 1000

    def answered(self, reply: Reply, *, caller_gone: bool) -> Usage:
        """Settle a plain answer; return what it used."""
        usage = reply.usage or estimated_usage(self.ask.body, written_bytes=reply.written_bytes)
        self._settle(
            "cancelled" if caller_gone else "ok",
            usage=usage,
            answered=reply.answered,
            response_id=reply.response_id,
        )
        self._count("ok")
        self.breakers.succeeded(self.model)
        return usage

    def streamed(self, facts: StreamFacts, naming: Naming, *, caller_gone: bool) -> Usage:
        """Settle a stream that came to its end; return what it used."""
        usage = facts.usage or self._counted(facts)
        self._settle(
            "cancelled" if caller_gone else "ok",
            usage=usage,
            answered=naming.answered(facts.answered_word),
            response_id=facts.response_id,
        )
        self._count("ok")
        self.breakers.succeeded(self.model)
        return usage

    def failed(self, failure: ProviderFailure, facts: StreamFacts | None = None) -> None:
        """Settle a failure; *facts* are those of the stream that broke, if one had begun."""
        if facts is not None and (facts.response_id or facts.pieces):
            self._settle(
                "truncated",
                usage=self._known(facts),
                response_id=facts.response_id,
                error=failure.kind,
            )
        else:
            outcome, usage = _owed(failure)
            self._settle(outcome, usage=usage, response_id=failure.response_id, error=failure.kind)
        self._count(failure.kind)
        self.breakers.failed(self.model, failure)
        log.warning(
            "attempt_failed",
            attempt_id=str(self.attempt.attempt_id),
            model=self.model.name,
            kind=failure.kind,
            how=failure.brief,
            elapsed_ms=round(self.elapsed_ms),
        )

    def abandoned(
        self, facts: StreamFacts | None = None, *, why: str = "caller_gone"
    ) -> Usage | None:
        """Settle an attempt that we broke off, because nobody waits for it any more."""
        begun = facts is not None and (facts.response_id or facts.pieces)
        usage = self._known(facts) if facts is not None and begun else None
        self._settle(
            "cancelled",
            usage=usage,
            response_id=facts.response_id if facts else None,
            error=why,
        )
        self._count("cancelled")
        self.breakers.undecided(self.model)
        return usage

    def _known(self, facts: StreamFacts) -> Usage:
        """Return what a stream used that broke off: what was told, and at least what arrived."""
        counted = self._counted(facts)
        if facts.usage is None:
            return counted
        written = max(facts.usage.output_tokens, counted.output_tokens)
        return replace(facts.usage, output_tokens=written, estimated=True)

    def _counted(self, facts: StreamFacts) -> Usage:
        return estimated_usage(
            self.ask.body, written_bytes=facts.written_bytes, pieces=facts.pieces
        )

    def _settle(
        self,
        outcome: Outcome,
        *,
        usage: Usage | None,
        answered: Model | None = None,
        response_id: str | None = None,
        error: str | None = None,
    ) -> None:
        self.entry.settle(
            self.attempt,
            outcome=outcome,
            usage=usage,
            answered=answered,
            response_id=response_id or None,
            latency_ms=self.elapsed_ms,
            ttft_ms=self.ttft_ms,
            error=error,
        )

    def _count(self, outcome: str) -> None:
        if not self._ended:
            self._ended = True
            ATTEMPTS.labels(self.model.provider, self.model.name, outcome).inc()
            DURATION.labels(self.model.provider, self.model.name).observe(self.elapsed_ms / 1000)


def _owed(failure: ProviderFailure) -> tuple[Outcome, Usage | None]:
    """
    Return what a failure settles as.

    A provider that answers 500 says that it failed and hardly ever bills. Should it bill all the
    same, the entry on its bill finds an `unknown` row here; until then nothing is put down for it.
    """
    if failure.usage is not None:
        return "failed", failure.usage
    if failure.maybe_billed:
        return "unknown", None
    if failure.doubtful:
        return "unknown", Usage(0, 0, estimated=True)
    return "failed", None
