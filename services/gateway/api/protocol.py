"""The parsers' own answers: what never reaches the application is refused in our shape too."""

from http import HTTPStatus

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from common.ids import new_id
from services.gateway.domain.openai_wire import error_body

MAX_HEADER_BYTES = 64 * 1024
NOT_HTTP = "This is not a valid HTTP request; check its first line and its headers."
NOT_A_HANDSHAKE = "This is not a valid WebSocket handshake; check its headers."


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with a bound on headers, and with ids on what the parser refuses."""

    _head_bytes = 0  # of the request whose head is being read
    _in_head = True

    def data_received(self, data: bytes) -> None:
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
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - its words are not ours
        if self.transport.is_closing():
            return
        openai = getattr(self, "url", b"").startswith(b"/v1/")
        self.transport.write(refusal(HTTPStatus.BAD_REQUEST, NOT_HTTP, openai=openai))
        self.transport.close()


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol of live sockets; handshakes that fail are refused in our shape."""

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

    def _refuse(self, status: HTTPStatus) -> None:
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.write(refusal(status, NOT_A_HANDSHAKE, openai=False))
        self.transport.close()


def refusal(status: HTTPStatus, message: str, *, openai: bool) -> bytes:
    """Write a whole answer, after which the connection is closed."""
    code = "bad_request"
    body = orjson.dumps(
        error_body(message, status=status, param=None, code=code)
        if openai
        else {"detail": message, "code": code}
    )
    request_id = str(new_id()).encode()
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\n"
        b"x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
        b"x-request-id: %b\r\nrequest-id: %b\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b"
        % (status, status.phrase.encode(), request_id, request_id, len(body), body)
    )
