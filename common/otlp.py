"""
The OpenTelemetry SDK, wired so that no collector can harm a request: its own threads, a bounded
queue, a bounded end, and one log line when the collector goes away and one when it is back.

Nothing is made global: libraries that look for a provider of their own find none, and stay silent.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from common.settings import TelemetrySettings
from common.telemetry import SPANS, Attributes

FLUSH_S = 2.0  # at the end, for everything
SECONDS = tuple(0.01 * 2**n for n in range(14))
TOKENS = tuple(4**n for n in range(14))
# Names, units and buckets are those of github.com/open-telemetry/semantic-conventions-genai.
METRICS = (
    ("gen_ai.client.operation.duration", "s", SECONDS),
    ("gen_ai.client.operation.time_to_first_chunk", "s", SECONDS),
    ("gen_ai.client.token.usage", "{token}", TOKENS),
)

log = structlog.get_logger()


class Otlp:
    """
    Args:
        service: Its name, if OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES name none.
        settings: Where to send; the SDK reads the rest from the environment.
    """

    def __init__(self, service: str, settings: TelemetrySettings) -> None:
        resource = Resource.create({"service.name": service}).merge(OTELResourceDetector().detect())
        spans = _BoundedQueue(_SpanExporter(), settings.bsp_max_queue_size)
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._traces.add_span_processor(spans)
        reader = PeriodicExportingMetricReader(
            _MetricExporter(), export_interval_millis=settings.metric_export_interval
        )
        self._metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._tracer = self._traces.get_tracer("optimizer")
        meter = self._metrics.get_meter("optimizer")
        self._histograms = {
            name: meter.create_histogram(
                name, unit=unit, explicit_bucket_boundaries_advisory=buckets
            )
            for name, unit, buckets in METRICS
        }
        _listen_to_the_sdk()

    def begin(
        self, name: str, *, parent: str, attributes: Attributes, client: bool = False
    ) -> "Begun":
        kind = SpanKind.CLIENT if client else SpanKind.SERVER
        return Begun(
            self._tracer.start_span(name, _context_of(parent), kind=kind, attributes=attributes)
        )

    def observe(self, metric: str, value: float, attributes: Attributes) -> None:
        self._histograms[metric].record(value, attributes)

    async def close(self) -> None:
        timeout_ms = FLUSH_S * 1000
        ends = (self._traces.shutdown, partial(self._metrics.shutdown, timeout_ms))
        await asyncio.wait([_aside(end) for end in ends], timeout=FLUSH_S)


def _aside(work: Callable[[], None]) -> asyncio.Future[None]:
    """Do *work* in a thread that nobody has to wait for, not even the interpreter's end."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def run() -> None:
        with suppress(Exception):  # what failed, the exporters have said
            work()
        with suppress(RuntimeError):  # too late: the loop is closed
            loop.call_soon_threadsafe(done.cancel)

    threading.Thread(target=run, daemon=True).start()
    return done


class Begun:
    """A span of ours."""

    __slots__ = ("_span", "trace_id", "traceparent")

    def __init__(self, span: Span) -> None:
        known = span.get_span_context()
        self._span = span
        self.trace_id = f"{known.trace_id:032x}"
        self.traceparent = f"00-{self.trace_id}-{known.span_id:016x}-{known.trace_flags:02x}"

    def end(
        self, attributes: Attributes, *, name: str = "", error: str = "", failed: bool = True
    ) -> None:
        span = self._span
        if span.is_recording():
            if name:
                span.update_name(name)
            span.set_attributes(attributes)
            if error:
                span.set_attribute("error.type", error)
                if failed:
                    span.set_status(StatusCode.ERROR)
        span.end()


def _context_of(parent: str) -> Context:
    """Return what the SDK takes the parent from; never whatever happens to be current."""
    if not parent:
        return Context()
    known = SpanContext(
        trace_id=int(parent[3:35], 16),
        span_id=int(parent[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(parent[53:55], 16)),
    )
    return set_span_in_context(NonRecordingSpan(known), Context())


class _BoundedQueue(BatchSpanProcessor):
    """Drops what is too much and counts it; the SDK would drop what waits longest, and not say."""

    def __init__(self, exporter: "_SpanExporter", most: int) -> None:
        super().__init__(exporter, max_queue_size=most)
        self._exporter = exporter
        self._most = most
        self._put = 0  # of this thread, as `taken` is of the exporter's

    def on_end(self, span: ReadableSpan) -> None:
        if self._put - self._exporter.taken >= self._most:
            SPANS.labels("dropped").inc()
            return
        self._put += 1
        super().on_end(span)


class _SpanExporter(OTLPSpanExporter):
    def __init__(self) -> None:
        super().__init__()
        self.taken = 0
        self._outage = _Outage("traces")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = super().export(spans)
        sent = result is SpanExportResult.SUCCESS
        SPANS.labels("sent" if sent else "refused").inc(len(spans))
        self._outage.tried(well=sent)
        return result


class _MetricExporter(OTLPMetricExporter):
    def __init__(self) -> None:
        super().__init__()
        self._outage = _Outage("metrics")

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **more: object
    ) -> MetricExportResult:
        result = super().export(metrics_data, timeout_millis, **more)
        self._outage.tried(well=result is MetricExportResult.SUCCESS)
        return result


class _Outage:
    """Says once that sending fails, and once that it works again."""

    def __init__(self, signal: str) -> None:
        self._signal = signal
        self._well = True

    def tried(self, *, well: bool) -> None:
        if well is not self._well:
            self._well = well
            if well:
                log.info("otlp_works_again", signal=self._signal)
            else:
                log.warning("otlp_fails", signal=self._signal, reason=" ".join(_sdk.said))


class _LastWords(logging.Handler):
    """Keeps what the SDK said last: it repeats itself for as long as a collector is away."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: deque[str] = deque(maxlen=2)  # what went wrong, and that it gave up

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


_sdk = _LastWords()


def _listen_to_the_sdk() -> None:
    """From here on; what it says of its settings before is in the log."""
    logger = logging.getLogger("opentelemetry")
    logger.handlers = [_sdk]
    logger.propagate = False
