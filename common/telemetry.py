"""
What OpenTelemetry is told: spans and GenAI metrics, if OTEL_EXPORTER_OTLP_ENDPOINT is set.

Otherwise we import nothing of it, `listening` returns None, and that look is all a request pays.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, TypeAlias

from prometheus_client import Counter

from common.errors import Invalid
from common.settings import TelemetrySettings, from_environment

PROTOCOL = "http/protobuf"

Attributes: TypeAlias = Mapping[str, str | bool | int | float]

SPANS = Counter(
    "optimizer_otlp_spans_total",
    "Spans by what became of them: sent, refused by the collector, dropped as too many waited",
    ["result"],
)


class Span(Protocol):
    """Work of ours that has begun."""

    @property
    def trace_id(self) -> str: ...

    @property
    def traceparent(self) -> str:
        """Return what its children are told."""

    def end(
        self, attributes: Attributes, *, name: str = "", error: str = "", failed: bool = True
    ) -> None:
        """
        Say how it went.

        Args:
            attributes: Beside those that it began with.
            name: A better one than it began with.
            error: From a closed list; never a text. Empty: it went well.
            failed: False: the error is not ours, as when a caller hangs up.
        """


class Telemetry(Protocol):
    def begin(
        self, name: str, *, parent: str, attributes: Attributes, client: bool = False
    ) -> Span:
        """
        Begin a span.

        Args:
            name: From a closed set.
            parent: A valid `traceparent`, which also says whether the trace is kept; empty: a
                trace of its own.
            attributes: What is known by now.
            client: We ask somebody; else somebody asks us.
        """

    def observe(self, metric: str, value: float, attributes: Attributes) -> None:
        """Observe one of the GenAI metrics; values of attributes come from closed sets."""

    async def close(self) -> None:
        """Send what waits, for a bounded time."""


_listening: Telemetry | None = None


def listening() -> Telemetry | None:
    """Return whom to tell; None: nobody listens."""
    return _listening


@asynccontextmanager
async def exporting(service: str) -> AsyncIterator[None]:
    """
    Tell the collector within, as *service*, if one is set.

    Raises:
        Invalid: a collector is to be told in a way that we do not speak, or another `OTEL_`
            variable is wrong.
    """
    global _listening  # noqa: PLW0603 - one a process, like Prometheus' registry
    settings = from_environment(TelemetrySettings)
    if not settings.wanted:
        yield
        return
    if settings.exporter_otlp_protocol != PROTOCOL:
        raise Invalid(f"OTEL_EXPORTER_OTLP_PROTOCOL must be {PROTOCOL}, the only one that we speak")
    from common.otlp import Otlp  # noqa: PLC0415 - only for who asks for it

    _listening = telemetry = Otlp(service, settings)
    try:
        yield
    finally:
        _listening = None
        await telemetry.close()
