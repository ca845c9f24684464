"""
A gRPC server that strangers cannot use, that says what failed, and that stops gracefully.

One interceptor does it all, and wraps each method once: at 600 requests a second on two cores,
every further layer of an interceptor chain would be felt.
"""

import asyncio
import hmac
import inspect
import socket
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from prometheus_client import Counter, Histogram

from common import trace
from common.errors import Failure, Invalid, Unavailable
from common.settings import ServiceSettings
from common.telemetry import Span
from common.wire_errors import INTERNAL_MESSAGE, grpc_status

log = structlog.get_logger()

HEALTH_PREFIX = "/grpc.health.v1.Health/"
KEPT_RATIO = 0.1  # of the caller's time, to say what was slow
LONGEST_CALL_S = 600.0
USUAL_CALL_S = 60.0  # for callers that set no deadline
SOCKET_PATH_BYTES = 107  # sun_path of Linux, less its NUL; macOS has 103

# Clients come back to a new address of ours only when their connection ends now and then.
CONNECTION_AGE_S = 300

# Of these a server is to blame, by OpenTelemetry's conventions; others are the caller's business.
FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

_DURATION = Histogram(
    "optimizer_rpc_duration_seconds",
    "Time in a gRPC method of this server, streams until their end.",
    ["method", "code"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600),
)
_REFUSED = Counter("optimizer_rpc_refused_total", "Calls of strangers: no or a wrong token.")


class GrpcServer:
    """
    Serves what *add* registers, beside gRPC's health service.

    Args:
        settings: Where to listen, the token, certificates, limits.
        add: Such as `lambda server: add_RouterServiceServicer_to_server(servicer, server)`.
    """

    def __init__(
        self, settings: ServiceSettings, add: Sequence[Callable[[grpc.aio.Server], None]]
    ) -> None:
        self._settings = settings
        self._add = add
        self._health = HealthServicer()
        self._server: grpc.aio.Server | None = None
        self.target = settings.grpc_listen  # with port 0: the port that was free, once started

    async def start(self) -> None:
        """
        Listen, then say that we serve.

        Raises:
            Invalid: the address or the certificate cannot be used.
            Unavailable: the address is taken.
        """
        token = self._settings.internal_token.get_secret_value()
        self._server = server = grpc.aio.server(
            interceptors=[_Gate(token)], options=_options(self._settings.grpc_message_bytes)
        )
        for add in self._add:
            add(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self.target = self._bind(server)
        await server.start()
        _owner_only(self.target)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Say that we stop serving, take no more calls, and let the open ones end in time."""
        await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(self._settings.drain_s)

    def _bind(self, server: grpc.aio.Server) -> str:
        listen = self._settings.grpc_listen
        is_socket = listen.startswith("unix:")
        if is_socket:
            _free_socket(_socket_path(listen))
        try:
            if self._settings.grpc_tls_cert_path and not is_socket:
                port = server.add_secure_port(listen, self._credentials())
            else:
                port = server.add_insecure_port(listen)
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {listen}: taken, or not ours") from error
        return listen if is_socket else f"{listen.rpartition(':')[0]}:{port}"

    def _credentials(self) -> grpc.ServerCredentials:
        cert_path, key_path = self._settings.grpc_tls_cert_path, self._settings.grpc_tls_key_path
        try:
            if cert_path is None or key_path is None:
                raise FileNotFoundError
            pair = (key_path.read_bytes(), cert_path.read_bytes())
        except OSError as error:
            raise Invalid(f"cannot read the certificate or its key: {error}") from error
        return grpc.ssl_server_credentials([pair])


def remaining_s(context: Context) -> float:
    """
    Return how long this call may take: the caller's time less 10 %, to say what was slow.

    A caller that set no deadline gets 60 s; nobody gets more than 600 s.
    """
    left = context.time_remaining()
    if left is None:
        return USUAL_CALL_S
    return min(max(float(left), 0.0), LONGEST_CALL_S) * (1 - KEPT_RATIO)


class _Gate(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs only
    """Asks for the token, measures, and turns what is raised into a status."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method = handler_call_details.method
        if not (self._knows(handler_call_details) or method.startswith(HEALTH_PREFIX)):
            _REFUSED.inc()
            return _REFUSE
        trace.resume(handler_call_details.invocation_metadata or ())
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None  # UNIMPLEMENTED; not kept: strangers' words would fill the memory
            wrapped = self._wrapped[method] = _wrap(method, handler)
        return wrapped

    def _knows(self, details: grpc.HandlerCallDetails) -> bool:
        for key, value in details.invocation_metadata or ():
            if key == "authorization":
                given = value if isinstance(value, bytes) else value.encode()
                return hmac.compare_digest(given, self._expected)
        return False


async def _refuse(_: AsyncIterator[Any], context: Context) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")


# On the wire a method's arity does not show: a stream refuses before it reads anything.
_REFUSE = grpc.stream_stream_rpc_method_handler(_refuse)


def _wrap(method: str, handler: Any) -> Any:
    """Return *handler* with its behaviour measured and its failures answered."""
    measured = _Measured(method)
    if handler.request_streaming and handler.response_streaming:
        make, inner = grpc.stream_stream_rpc_method_handler, handler.stream_stream
    elif handler.request_streaming:
        make, inner = grpc.stream_unary_rpc_method_handler, handler.stream_unary
    elif handler.response_streaming:
        make, inner = grpc.unary_stream_rpc_method_handler, handler.unary_stream
    else:
        make, inner = grpc.unary_unary_rpc_method_handler, handler.unary_unary
    behaviour = measured.pieces(inner) if inspect.isasyncgenfunction(inner) else measured.one(inner)
    return make(
        behaviour,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


class _Measured:
    """Runs the behaviours of one method."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._by_code: dict[str, Any] = {}

    def one(self, inner: Callable[[Any, Context], Awaitable[Any]]) -> Any:
        async def behaviour(request: Any, context: Context) -> Any:
            started = time.perf_counter()
            span = trace.answering(self._method)
            code = "OK"
            try:
                return await inner(request, context)
            except BaseException as error:
                code, status = self._judge(error, context)
                if status is None:
                    raise
                await context.abort(*status)  # raises
            finally:
                self._observe(code, started, span)

        return behaviour

    def pieces(self, inner: Callable[[Any, Context], Any]) -> Any:
        async def behaviour(request: Any, context: Context) -> AsyncIterator[Any]:
            started = time.perf_counter()
            span = trace.answering(self._method)
            code = "OK"
            try:
                # Closed here, not whenever it is collected: its `finally` does the accounting.
                async with aclosing(inner(request, context)) as pieces:
                    async for piece in pieces:
                        yield piece
            except BaseException as error:
                code, status = self._judge(error, context)
                if status is None:
                    raise
                await context.abort(*status)  # raises
            finally:
                self._observe(code, started, span)

        return behaviour

    def _judge(self, error: BaseException, context: Context) -> tuple[str, Any]:
        """Return the code to count, and the status to abort with; None: let the error pass."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            return "CANCELLED", None
        if isinstance(error, grpc.aio.AbortError):
            return _name_of(context.code()), None
        if isinstance(error, Failure):
            code, trailing = grpc_status(error)
            if code is grpc.StatusCode.INTERNAL:
                log.error("unnamed failure", method=self._method, exc_info=error)
            return code.name, (code, error.message, trailing)
        if not isinstance(error, Exception):
            return "UNKNOWN", None
        log.error("bug", method=self._method, exc_info=error)
        return "INTERNAL", (grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE)

    def _observe(self, code: str, started: float, span: Span | None) -> None:
        child = self._by_code.get(code)
        if child is None:
            child = self._by_code[code] = _DURATION.labels(self._method, code)
        child.observe(time.perf_counter() - started)
        if span is not None:
            span.end({"rpc.response.status_code": code}, error=code if code in FAULTS else "")


def _name_of(code: Any) -> str:
    return str(getattr(code, "name", code)) if code else "OK"


def _options(message_bytes: int) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.max_send_message_length", message_bytes),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.so_reuseport", 0),  # a taken port is an error, not a lottery
        ("grpc.max_connection_age_ms", CONNECTION_AGE_S * 1000),
        ("grpc.max_connection_age_grace_ms", int(LONGEST_CALL_S * 1000)),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ]


def _socket_path(listen: str) -> Path:
    path = listen.removeprefix("unix:").replace("//", "/", 1) if "///" in listen else listen[5:]
    if len(path.encode()) > SOCKET_PATH_BYTES:
        raise Invalid(f"{path}: a socket's path has {SOCKET_PATH_BYTES} bytes at most")
    return Path(path)


def _free_socket(path: Path) -> None:
    """Remove the socket of a server that is gone; never that of one that lives, or another file."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise Invalid(f"{path.parent} does not exist") from None
        return
    if not stat.S_ISSOCK(mode):
        raise Invalid(f"{path} is in the way and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:
            pass  # a full backlog, a stopped process: somebody is there
    raise Unavailable(f"cannot listen on {path}: another process does")


def _owner_only(target: str) -> None:
    if target.startswith("unix:"):
        _socket_path(target).chmod(0o600)
