"""What OpenTelemetry is told of one call to a provider, in the words of its GenAI conventions."""

import time
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from common import telemetry, trace
from common.money import NANO_PER_USD
from common.telemetry import Attributes, Span, Telemetry
from services.router.domain.catalog import Model, Provider
from services.router.domain.entries import Row
from services.router.providers.adapter import Call
from services.router.store.entry import Attempt

KNOWN_AS = {"gemini": "gcp.gemini", "mistral": "mistral_ai"}  # others go by our names
PORTS = {"http": 80, "https": 443}


def follow(attempt: Attempt, call: Call) -> None:
    """Begin the span of a call that is about to be sent; its settlement ends it."""
    told = telemetry.listening()
    if told is None:
        return
    about = asked(attempt.candidate.model, call.provider)
    span = told.begin(
        f"{about['gen_ai.operation.name']} {about['gen_ai.request.model']}",
        parent=trace.traceparent(),
        attributes={
            **about,
            "gen_ai.request.stream": call.streamed,
            "optimizer.attempt_id": str(attempt.attempt_id),
        },
        client=True,
    )
    attempt.on_settled = _Followed(told, span, about).settled


@dataclass(frozen=True, slots=True)
class _Followed:
    told: Telemetry
    span: Span
    about: Attributes
    began: float = field(default_factory=time.monotonic)

    def settled(self, row: Row, model: Model) -> None:
        """End the span, and observe; *model* is who answered."""
        error = error_of(row)
        answered = {} if error else {"gen_ai.response.model": model.upstream}
        self.span.end({**answered, **used(row)}, error=error)
        labels = {**self.about, **answered}
        if not row.estimated:  # what we counted ourselves is not to be reported
            for kind, tokens in (("input", row.input_tokens), ("output", row.output_tokens)):
                if tokens:
                    self._observe("token.usage", tokens, labels | {"gen_ai.token.type": kind})
        if error:
            labels["error.type"] = error
        self._observe("operation.duration", time.monotonic() - self.began, labels)
        if row.time_to_first_token_ms is not None:
            first_s = row.time_to_first_token_ms / 1000
            self._observe("operation.time_to_first_chunk", first_s, labels)

    def _observe(self, metric: str, value: float, labels: Attributes) -> None:
        self.told.observe(f"gen_ai.client.{metric}", value, labels)


def asked(model: Model, provider: Provider) -> dict[str, str | int]:
    """Return what is known before: all from the catalog, so that metrics may have it as labels."""
    address, port = _server(provider.base_url)
    return {
        "gen_ai.operation.name": "embeddings" if "embeddings" in model.capabilities else "chat",
        "gen_ai.provider.name": KNOWN_AS.get(provider.name, provider.name),
        "gen_ai.request.model": model.upstream,
        "server.address": address,
        "server.port": port,
    }


def error_of(row: Row) -> str:
    """Name what went wrong; empty if the provider answered, even if nobody waited any more."""
    word = (row.details or {}).get("error", "")
    return str(word or ("" if row.outcome in ("ok", "cancelled") else row.outcome))


def used(row: Row) -> dict[str, str | bool | int | float]:
    """Return what a settled attempt used, as far as that is known, and what it costs."""
    found: dict[str, str | bool | int | float] = {}
    if row.input_tokens or row.output_tokens:
        found["gen_ai.usage.input_tokens"] = row.input_tokens
        found["gen_ai.usage.output_tokens"] = row.output_tokens
    if row.cached_input_tokens:
        found["gen_ai.usage.cache_read.input_tokens"] = row.cached_input_tokens
    if row.time_to_first_token_ms is not None:
        found["gen_ai.response.time_to_first_chunk"] = row.time_to_first_token_ms / 1000
    if row.estimated:
        found["optimizer.estimated"] = True
    if row.cost_nano_usd is not None:
        found["optimizer.cost_usd"] = row.cost_nano_usd / NANO_PER_USD
    return found


@lru_cache(maxsize=256)
def _server(base_url: str) -> tuple[str, int]:
    """Return the host, which is all of the address that holds no secret, and its port."""
    found = urlsplit(base_url)
    return found.hostname or "", found.port or PORTS.get(found.scheme, 0)
