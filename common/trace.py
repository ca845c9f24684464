"""
Which request a log line belongs to, in every service that took part in it.

A caller's `traceparent` (W3C Trace Context, level 1) is taken in at the edge and sent along with
every call to a neighbour. Who sends none gets the request's own id as the id of its trace; with
OpenTelemetry a new one, whose every part is random, as samplers expect.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import structlog

from common import telemetry
from common.telemetry import Span

TRACEPARENT = "traceparent"
REQUEST_ID = "x-request-id"

# version-trace-parent-flags; a version of tomorrow may have more behind that
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LENGTH = 55
_LONGEST = 256

_sent: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("trace", default=())


@contextmanager
def traced(request_id: str, given: bytes | None, *, method: str = "") -> Iterator[Span | None]:
    """
    Log and call within as this request.

    Args:
        request_id: A UUID.
        given: The caller's `traceparent`; what is not one is as good as none.
        method: Of the HTTP request, if that is to have a span.

    Yields:
        The span, which the caller ends; None: nobody listens.
    """
    parent = given.decode("latin-1") if given else ""
    trace_id = trace_id_of(parent)
    # All we know is version 00; the rest may hold anything.
    parent = f"00-{parent[3:_LENGTH]}" if trace_id else ""
    span = None
    if method and (told := telemetry.listening()) is not None:
        about = {"http.request.method": method, "optimizer.request_id": request_id}
        span = told.begin(method, parent=parent, attributes=about)
        parent, trace_id = span.traceparent, span.trace_id
    elif not trace_id:
        trace_id = request_id.replace("-", "")
        parent = f"00-{trace_id}-{trace_id[16:]}-00"
    token = _sent.set(((TRACEPARENT, parent), (REQUEST_ID, request_id)))
    try:
        with structlog.contextvars.bound_contextvars(request_id=request_id, trace_id=trace_id):
            yield span
    finally:
        _sent.reset(token)


def trace_id_of(parent: str) -> str:
    """Return the trace's id; empty if *parent* is no `traceparent`."""
    found = _FORM.match(parent) if len(parent) <= _LONGEST else None
    if found is None:
        return ""
    more = parent[_LENGTH:]
    if more and (found[1] == "00" or not more.startswith("-")):
        return ""
    return found[2]


def metadata() -> tuple[tuple[str, str], ...]:
    """Return what a call to a neighbour carries; nothing outside of a request."""
    return _sent.get()


def traceparent() -> str:
    """Return the `traceparent` of what is done here; empty outside of a request."""
    return dict(_sent.get()).get(TRACEPARENT, "")


def answering(method: str) -> Span | None:
    """
    Begin the span of a neighbour's call, in this task: what it asks for is below that.

    None: nobody listens, or the call belongs to no request.
    """
    told = telemetry.listening()
    if told is None or not (given := traceparent()):
        return None
    about = {"rpc.system.name": "grpc", "rpc.method": method.removeprefix("/")}
    span = told.begin(about["rpc.method"], parent=given, attributes=about)
    _sent.set(tuple((dict(_sent.get()) | {TRACEPARENT: span.traceparent}).items()))
    return span


def resume(received: Iterable[tuple[str, str | bytes]]) -> None:
    """Log and call on, in this task, as the request that a neighbour named in its metadata."""
    known = {name: str(value) for name, value in received if name in (TRACEPARENT, REQUEST_ID)}
    trace_id = trace_id_of(known.get(TRACEPARENT, ""))
    if trace_id:
        _sent.set(tuple(known.items()))
        structlog.contextvars.bind_contextvars(
            request_id=known.get(REQUEST_ID, ""), trace_id=trace_id
        )
