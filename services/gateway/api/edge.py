"""The outermost layer: ids on every answer, who is asking, and no failure without its shape."""

import asyncio
import time
from urllib.parse import unquote_to_bytes

import structlog
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import Invalid, NotFound, Unavailable
from common.ids import new_id
from services.gateway.api.auth import Gate
from services.gateway.api.body import ClientGone, too_large
from services.gateway.api.context import KEY, Context, is_openai
from services.gateway.api.failures import Told, tell
from services.gateway.api.respond import send_json

SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
CLIENT_GONE = 499  # nobody sees it but our own metrics
INTERNAL = 500
_STARTS = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"},
)

log = structlog.get_logger()
_requests = Counter(
    "optimizer_http_requests_total", "Requests answered.", ["route", "method", "status"]
)
_duration = Histogram(
    "optimizer_http_request_duration_seconds",
    "From the request's headers to the answer's last byte.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600),
)


class Edge:
    def __init__(self, app: ASGIApp, gate: Gate, *, max_body_bytes: int) -> None:
        self._app = app
        self._gate = gate
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        context = Context(str(new_id()), dict(scope["headers"]), is_openai(scope))
        scope[KEY] = context
        answer = _Answer(send, context.request_id.encode(), is_socket=scope["type"] == "websocket")
        with structlog.contextvars.bound_contextvars(request_id=context.request_id):
            await self._serve(scope, receive, answer, context)
        route = _route(scope)
        _requests.labels(route, scope.get("method", "WS"), str(answer.status)).inc()
        if scope["type"] == "http":
            _duration.labels(route).observe(time.perf_counter() - began)

    async def _serve(
        self, scope: Scope, receive: Receive, answer: "_Answer", context: Context
    ) -> None:
        try:
            self._check(scope, context)
            context.caller = self._gate.admit(context, scope["path"])
            await self._app(scope, receive, answer.send)
        except ClientGone:
            answer.status = answer.status or CLIENT_GONE
        except asyncio.CancelledError:  # the time to drain is over
            if not answer.status:
                await answer.refuse(tell(_stopping(), openai=context.openai))
        except Exception as error:
            told = tell(error, openai=context.openai)
            if told.status == INTERNAL or answer.status:
                log.exception("request_broke")
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
        self._stamp = [(b"x-request-id", request_id), (b"request-id", request_id), *SECURITY]
        self._is_socket = is_socket

    async def send(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self.status = message.get("status", 101)
            message["headers"] = [*message.get("headers", ()), *self._stamp]
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


def _route(scope: Scope) -> str:
    """Return the route's pattern: a label must not grow with what clients type."""
    path = getattr(scope.get("route"), "path", None) or getattr(
        scope.get("endpoint"), "route_path", None
    )
    return str(path or "other")
