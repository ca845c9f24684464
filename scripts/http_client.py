"""
The least client that can measure a server: one connection, one request at a time.

A general HTTP client costs more CPU a request than some of what is measured here, on the same two
cores. This one writes a prepared request and parses the answer in C.
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and what stands in a request before its body."""

    address: str
    port: int
    tls: bool
    head: bytes

    @classmethod
    def of(cls, url: str, path: str, method: str, headers: dict[str, str]) -> "Target":
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected http://host:port, got {url!r}")
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        fields = {"host": parts.netloc, "content-type": "application/json", **headers}
        lines = [f"{method} {parts.path.rstrip('/')}{path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return cls(parts.hostname, port, tls, "\r\n".join(lines).encode())

    def request(self, body: bytes) -> bytes:
        return b"%b\r\ncontent-length: %d\r\n\r\n%b" % (self.head, len(body), body)


class Connection(asyncio.Protocol):
    """Reconnects by itself; an exchange that breaks is an error and never repeated."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: asyncio.Future[int] | None = None
        self._body: list[bytes] = []
        self._streamed = False

    async def send(self, body: bytes) -> int:
        """
        Send one request and return the status of its whole answer.

        Raises:
            OSError: the connection could not be made, or broke.
        """
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            await loop.create_connection(
                lambda: self,
                self._target.address,
                self._target.port,
                ssl=ssl.create_default_context() if self._target.tls else None,
            )
        assert self._transport is not None  # noqa: S101  connection_made was called
        self._parser = httptools.HttpResponseParser(self)
        self._body = []
        self._streamed = False
        self._answer = loop.create_future()
        self._transport.write(self._target.request(body))
        return await self._answer

    def answered_fully(self) -> bool:
        """Tell whether a stream came to its end; an answer in one piece always has."""
        return not self._streamed or b"data: [DONE]" in b"".join(self._body[-3:])[-200:]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        try:
            assert self._parser is not None  # noqa: S101  set before anything is sent
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(exc if isinstance(exc, OSError) else ConnectionError("closed by the server"))

    # the parser's side

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._streamed = value.startswith(b"text/event-stream")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        assert self._parser is not None  # noqa: S101  it is calling
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._parser.get_status_code())

    def _fail(self, error: OSError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
