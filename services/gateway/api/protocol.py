"""The HTTP parser's own answers: what never reaches the application is refused in our shape too."""

from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from common.ids import new_id
from services.gateway.domain.openai_wire import error_body

MAX_HEADER_BYTES = 64 * 1024
MESSAGE = "This is not a valid HTTP request; check its first line and its headers."


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
                self.send_400_response(MESSAGE)
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
        request_id = str(new_id()).encode()
        body = _body(getattr(self, "url", b""))
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
            b"x-request-id: %b\r\nrequest-id: %b\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b"
            % (request_id, request_id, len(body), body)
        )
        self.transport.close()


def _body(url: bytes) -> bytes:
    answer: dict[str, Any] = {"detail": MESSAGE, "code": "bad_request"}
    if url.startswith(b"/v1/"):
        answer = error_body(MESSAGE, status=400, param=None, code="bad_request")
    return orjson.dumps(answer)
