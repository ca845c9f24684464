"""
One HTTP exchange, with a hand on the connection beneath it.

The sandbox is measured against, so it is a bare ASGI application on uvicorn's own protocol class;
the transport is handed along because a fault must be able to reset it, and a bill must know
whether the client is still there.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.refusal import Refusal

Message = MutableMapping[str, Any]
Headers = Sequence[tuple[bytes, bytes]]

JSON = b"application/json"
MOST_BODY_BYTES = 64 * 1024 * 1024
_HEARTBEAT_S = 1.0
_LOOK_S = 1.0  # how often a silent client is looked after
_BLINK_S = 0.05  # for so short a pause nobody is looked after
_LONGEST_PAUSE_S = 600.0
_LABEL = (b"x-sandbox", b"simulated")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close with RST


class Protocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["transport"] = self.transport  # type: ignore[typeddict-unknown-key]


class Exchange:
    def __init__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self._headers: Headers = scope["headers"]
        self._transport: asyncio.Transport = scope["transport"]
        self._receive = receive
        self._send = send

    @property
    def gone(self) -> bool:
        """True when the client hung up."""
        return self._transport.is_closing()

    def header(self, name: bytes) -> str | None:
        for key, value in self._headers:
            if key == name:
                return value.decode("latin-1")
        return None

    @property
    def headers(self) -> dict[bytes, bytes]:
        """By lower-case name; of equal names the last."""
        return dict(self._headers)

    def all_of(self, name: bytes) -> list[bytes]:
        return [value for key, value in self._headers if key == name]

    async def body(self) -> bytes:
        """
        Read the request's body.

        Raises:
            Refusal: it is too large.
        """
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return body
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await self._receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MOST_BODY_BYTES:
                raise Refusal(413, "The body is too large", code="request_too_large")
        return b"".join(parts)

    async def answer(
        self, body: bytes, *, status: int = 200, kind: bytes = JSON, headers: Headers = ()
    ) -> None:
        await self._start(status, kind, [(b"content-length", b"%d" % len(body)), *headers])
        await self._send({"type": "http.response.body", "body": body})

    async def answer_json(self, value: Any, *, status: int = 200, headers: Headers = ()) -> None:
        await self.answer(orjson.dumps(value), status=status, headers=headers)

    async def refuse(self, refusal: Refusal) -> None:
        await self.answer_json(refusal.body, status=refusal.status, headers=refusal.headers)

    async def start_stream(self, kind: bytes = b"text/event-stream") -> None:
        await self._start(200, kind, [(b"cache-control", b"no-cache")])

    async def push(self, data: bytes) -> None:
        """Send a part of a stream."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def answer_partly(self, body: bytes, sent: int) -> None:
        """Promise *body* and send only its first *sent* bytes."""
        await self._start(200, JSON, [(b"content-length", b"%d" % len(body))])
        await self.push(body[:sent])

    async def pause(self, seconds: float) -> None:
        """Let time pass, but none for a client that has gone."""
        if seconds <= _BLINK_S:
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, _LONGEST_PAUSE_S)):
                await self.wait_until_gone()

    async def wait_until_gone(self) -> None:
        # Receiving resumes reading, without which a hang-up behind a request that was sent too
        # early is never noticed; so it begins anew now and then.
        while not self.gone:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    if (await self._receive())["type"] == "http.disconnect":
                        return

    async def beat_until_gone(self, beat: bytes) -> None:
        """Keep the connection warm and say nothing."""
        while not self.gone:
            await self.push(beat)
            await self.pause(_HEARTBEAT_S)

    async def reset(self) -> None:
        """Cut the connection with a TCP reset, after what was sent has left."""
        await asyncio.sleep(0)
        if (connection := self._transport.get_extra_info("socket")) is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def hang_up(self) -> None:
        """Close the connection cleanly, wherever the answer stands."""
        self._transport.close()

    async def _start(self, status: int, kind: bytes, headers: Headers) -> None:
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", kind), _LABEL, *headers],
            }
        )
