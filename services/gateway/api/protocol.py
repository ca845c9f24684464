"""The parsers' own answers: what never reaches the application is refused in our shape too."""

import asyncio
import logging
from http import HTTPStatus
from typing import Any

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import Request

from common.ids import new_id
from common.labels import OTHER
from services.gateway.api.body import TOO_SLOW
from services.gateway.domain.openai_wire import error_body
from services.gateway.figures import count

MAX_HEADER_BYTES = 64 * 1024
NOT_HTTP = "This is not a valid HTTP request; check its first line and its headers."
NOT_A_HANDSHAKE = "This is not a valid WebSocket handshake; check its headers."


def _is_ours(record: logging.LogRecord) -> bool:
    """
    Tell whether a line is about a failure of ours.

    What strangers can cause, a line a try, is none: a log that they can fill tells nothing. The
    edge counts it.
    """
    return record.levelno >= logging.ERROR and record.msg not in (
        "ASGI callable returned without completing handshake.",  # it was refused
        "Invalid UTF-8 sequence received from client.",
    )


log = logging.getLogger("uvicorn.error.connections")
log.addFilter(_is_ours)


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with a bound on headers, and with ids on what the parser refuses."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        wait_s: float,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = log
        self._wait_s = wait_s  # for a whole head
        self._head_bytes = 0  # of the request whose head is being read
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()  # uvicorn's own timer ends with the first byte
        if self._in_head:
            self._head_bytes += len(data)
            # What is read at once may hold body as well: only a head that spans reads is bounded
            # here, a head within one read by the size of a read.
            if self._head_bytes > MAX_HEADER_BYTES + len(data):
                self.send_400_response(NOT_HTTP)
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._wait_s, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        if self.transport.is_closing():
            return
        if self._in_head and self.headers is not None:  # or there is no request to answer
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, TOO_SLOW, code="request_timeout")
        self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - its words are not ours
        if not self.transport.is_closing():
            self._refuse(HTTPStatus.BAD_REQUEST, NOT_HTTP)
            self.transport.close()

    def _refuse(self, status: HTTPStatus, message: str, *, code: str = "bad_request") -> None:
        openai = getattr(self, "url", b"").startswith(b"/v1/")
        self.transport.write(refusal(status, message, openai=openai, code=code))


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol of live sockets; handshakes that fail are refused in our shape."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.logger = self.conn.logger = log
        self.conn.debug = False  # or it would spell out every header, keys and all

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            self._refuse(HTTPStatus.BAD_REQUEST)  # its head is longer than a handshake needs

    def handle_connect(self, event: Request) -> None:
        answer = self.conn.accept(event)
        if answer.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            super().handle_connect(event)
        else:
            self._refuse(HTTPStatus(answer.status_code))

    def keepalive_timeout(self) -> None:
        """Part from who is silent: a close would wait, for ever, until the unsent is read."""
        super().keepalive_timeout()
        self.transport.abort()

    def _refuse(self, status: HTTPStatus) -> None:
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.write(refusal(status, NOT_A_HANDSHAKE, openai=False))
        self.transport.close()


def refusal(status: HTTPStatus, message: str, *, openai: bool, code: str = "bad_request") -> bytes:
    """Write a whole answer, after which the connection is closed."""
    body = orjson.dumps(
        error_body(message, status=status, param=None, code=code)
        if openai
        else {"detail": message, "code": code}
    )
    request_id = str(new_id()).encode()
    count(OTHER, "client_error")  # it never comes to the edge
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\n"
        b"x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
        b"x-request-id: %b\r\nrequest-id: %b\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b"
        % (status, status.phrase.encode(), request_id, request_id, len(body), body)
    )
