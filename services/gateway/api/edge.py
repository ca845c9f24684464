"""The outermost layer: ids on every answer, who is asking, and no failure without its shape."""

import asyncio
import time
from urllib.parse import unquote_to_bytes

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import Invalid, NotFound, Unavailable
from common.ids import new_id
from common.labels import OTHER
from common.telemetry import Span
from common.trace import traced
from services.gateway.api.auth import Gate
from services.gateway.api.body import ClientGone, too_large
from services.gateway.api.context import KEY, Context, is_openai
from services.gateway.api.failures import Told, tell
from services.gateway.api.respond import send_json
from services.gateway.figures import Ending, count, spent_on_our_own, took

POLICY = b"content-security-policy"
SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (POLICY, b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
CLIENT_GONE = 499  # nobody sees it but our own metrics
CLIENT_ERRORS = 400
INTERNAL = 500
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_STARTS = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"},
)

log = structlog.get_logger()


class Edge:
    def __init__(self, app: ASGIApp, gate: Gate, *, max_body_bytes: int) -> None:
        self._app = app
        self._gate = gate
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        context = Context(str(new_id()), dict(scope["headers"]), is_openai(scope))
        scope[KEY] = context
        answer = _Answer(send, context.request_id.encode(), is_socket=scope["type"] == "websocket")
        given = context.headers.get(b"traceparent")
        with traced(context.request_id, given, method=_method(scope)) as span:
            await self._serve(scope, receive, answer, context)
        _count(scope, context, answer)
        if span is not None:
            _tell(span, scope, context, answer)

    async def _serve(
        self, scope: Scope, receive: Receive, answer: "_Answer", context: Context
    ) -> None:
        try:
            self._check(scope, context)
            context.caller = self._gate.admit(context, scope["path"])
            await self._app(scope, receive, answer.send)
        except ClientGone:
            answer.status = CLIENT_GONE
        except asyncio.CancelledError:  # the time to drain is over
            context.broke = scope["type"] == "http"
            if not answer.status:
                await answer.refuse(tell(_stopping(), openai=context.openai))
        except Exception as error:
            told = tell(error, openai=context.openai)
            if told.status == INTERNAL or answer.status:
                log.exception("request_broke")
                context.broke = True
            if not answer.status:
                await answer.refuse(told)
            # Otherwise returning without an end makes the server cut the connection: the client
            # must not take half an answer for a whole one.

    def _check(self, scope: Scope, context: Context) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) > 1 or (not hosts and scope.get("http_version") == "1.1"):
            raise Invalid("Send exactly one Host header.", code="bad_request")
        for part in ("raw_path", "query_string"):
            _check_utf8(scope[part])
        length = context.headers.get(b"content-length")
        if length is not None and int(length) > self._max_body_bytes:
            raise too_large(self._max_body_bytes)


class _Answer:
    """One answer on its way out."""

    def __init__(self, send: Send, request_id: bytes, *, is_socket: bool) -> None:
        self.status = 0  # 0: not begun
        self._send = send
        self._stamp = [(b"x-request-id", request_id), (b"request-id", request_id)]
        self._is_socket = is_socket

    async def send(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self.status = message.get("status", 101)
            headers = message.get("headers", ())
            # The page brings its own rules; of two policies a browser would keep to both.
            rules = () if any(name == POLICY for name, _ in headers) else SECURITY
            message["headers"] = [*headers, *self._stamp, *rules]
        elif message["type"] == "websocket.close" and not self.status:
            # Closing before accepting is how routers say that there is no such socket.
            await self.refuse(tell(NotFound("There is no such socket."), openai=False))
            return
        await self._send(message)

    async def refuse(self, told: Told) -> None:
        send = self._deny if self._is_socket else self.send
        await send_json(send, told.status, told.body, told.headers)

    async def _deny(self, message: Message) -> None:
        """Refuse a socket as one refuses a request."""
        await self.send({**message, "type": f"websocket.{message['type']}"})


def _check_utf8(address: bytes) -> None:
    if b"%" not in address and address.isascii():
        return
    try:
        unquote_to_bytes(address).decode()
    except UnicodeDecodeError:
        raise Invalid("The address is not UTF-8; encode it anew.", code="bad_request") from None


def _stopping() -> Unavailable:
    # What was asked may have reached a provider: a retry may pay twice.
    return Unavailable("The gateway is stopping.", code="stopping", billed=True)


def _count(scope: Scope, context: Context, answer: _Answer) -> None:
    """Tell Prometheus of a request that has ended."""
    route, outcome = _route(scope), context.outcome
    ending = _ending(INTERNAL if context.broke else answer.status)
    if outcome is None:
        count(route, ending)
    else:
        count(route, ending, model=outcome.model, provider=outcome.provider)
    if scope["type"] != "http":  # how long somebody watches says nothing about us
        return
    duration_s = time.perf_counter() - context.began
    took(route, duration_s)
    if outcome is not None and not context.streamed and ending == "ok":
        spent_on_our_own(duration_s, outcome)


def _tell(span: Span, scope: Scope, context: Context, answer: _Answer) -> None:
    """
    End the request's span, by OpenTelemetry's conventions for HTTP servers.

    Without `url.path`: a client may have typed anything there.
    """
    route, status = _route(scope), answer.status
    ending = _ending(INTERNAL if context.broke else status)
    about: dict[str, str | int] = {"url.scheme": scope["scheme"]}
    name, error = "", ""
    if route != OTHER:
        about["http.route"] = route
        name = f"{_method(scope)} {route}"
    if status and status != CLIENT_GONE:
        about["http.response.status_code"] = status
    if ending == "server_error":
        error = str(status) if status >= INTERNAL else "broke_off"
    elif ending == "cancelled":
        error = "client_gone"
    span.end(about, name=name, error=error, failed=ending == "server_error")


def _method(scope: Scope) -> str:
    """Name the request's method as conventions do; empty: it is a socket."""
    if scope["type"] != "http":
        return ""
    method: str = scope["method"]
    return method if method in METHODS else "_OTHER"


def _ending(status: int) -> Ending:
    if status == CLIENT_GONE:
        return "cancelled"
    if status >= INTERNAL or not status:
        return "server_error"
    return "client_error" if status >= CLIENT_ERRORS else "ok"


def _route(scope: Scope) -> str:
    """Return the route's pattern: a label must not grow with what clients type."""
    path = getattr(scope.get("route"), "path", None) or getattr(
        scope.get("endpoint"), "route_path", None
    )
    return str(path or OTHER)
