"""A collector on a free port: it decodes what it gets, or behaves as badly as a test tells it."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

Answer = Callable[[], Awaitable[web.Response]]


@dataclass(frozen=True)
class Told:
    """A span as it arrived."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    kind: int
    failed: bool
    about: dict[str, Any]


@dataclass
class Receiver:
    url: str = ""
    spans: list[Told] = field(default_factory=list)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # labels, by name
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: Answer | None = None  # None: well
    stirred: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, condition: Callable[[], Any], *, within_s: float = 15) -> Any:
        async with asyncio.timeout(within_s), self.stirred:
            await self.stirred.wait_for(condition)
        return condition()

    def of(self, trace_id: str) -> list[Told]:
        return [span for span in self.spans if span.trace_id == trace_id]

    async def traces(self, request: web.Request) -> web.Response:
        return await self._take(request, self._keep_spans)

    async def measures(self, request: web.Request) -> web.Response:
        return await self._take(request, self._keep_metrics)

    async def _take(self, request: web.Request, keep: Callable[[bytes], None]) -> web.Response:
        body = await request.read()
        self.headers.append({k.lower(): v for k, v in request.headers.items()})
        if self.answer is None:
            keep(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        async with self.stirred:
            self.bodies.append(body)
            self.stirred.notify_all()
        return web.Response() if self.answer is None else await self.answer()

    def _keep_spans(self, body: bytes) -> None:
        for one in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _read(one.resource.attributes)["service.name"]
            for span in (span for scope in one.scope_spans for span in scope.spans):
                self.spans.append(
                    Told(
                        service,
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.kind,
                        span.status.code == Status.STATUS_CODE_ERROR,
                        _read(span.attributes),
                    )
                )

    def _keep_metrics(self, body: bytes) -> None:
        for one in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (metric for scope in one.scope_metrics for metric in scope.metrics):
                self.metrics[metric.name] = [
                    {**_read(p.attributes), "unit": metric.unit, "sum": p.sum}
                    for p in metric.histogram.data_points
                ]


def _read(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


@asynccontextmanager
async def otlp_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/v1/traces", receiver.traces)
    app.router.add_post("/v1/metrics", receiver.measures)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
