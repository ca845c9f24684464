"""A provider on a socket that does exactly what a test tells it, byte by byte."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Received:
    path: str
    headers: dict[str, str]  # names in lower case
    body: Any


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ScriptedProvider:
    """Plays its scripts in order, one for each request; the last one for all that follow."""

    def __init__(self) -> None:
        self.url = ""
        self.scripts: list[Script] = []
        self.received: list[Received] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.hung_up = asyncio.Event()  # a client closed its connection while a script ran

    def plays(self, *scripts: Script) -> None:
        self.scripts = list(scripts)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up.set()
        finally:
            writer.close()

    async def _answer(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first, *lines = head.decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines if x)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.received.append(Received(first.split()[1], headers, json.loads(body)))
        self.asked.set()
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        await script(reader, writer)


@asynccontextmanager
async def scripted_provider():
    provider = ScriptedProvider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        server.close()


def answers(
    body: Any, *, status: int = 200, kind: str = "application/json", **headers: str
) -> Script:
    """Answer with one document: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_head(status, kind, {"Content-Length": str(len(data)), **headers}) + data)
        await writer.drain()

    return script


def streams(
    *chunks: Any, ending: str = "\n\n", done: bool = True, packet: int | None = None
) -> Script:
    """Stream *chunks* as events and end properly, in packets of *packet* bytes."""
    data = b"".join(sse(c, ending) for c in chunks) + (sse("[DONE]", ending) if done else b"")

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(stream_head())
        step = packet or max(len(data), 1)
        for at in range(0, len(data), step):
            writer.write(in_chunks(data[at : at + step]))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    return script


def begins(*chunks: Any, then: Script) -> Script:
    """Stream *chunks*, then do something else."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(stream_head() + b"".join(in_chunks(sse(c)) for c in chunks))
        await writer.drain()
        await then(reader, writer)

    return script


def then(*scripts: Script) -> Script:
    """Do one after another."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for each in scripts:
            await each(reader, writer)

    return script


async def resets(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def hangs(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side gives up."""
    await reader.read()
    raise ConnectionResetError


async def heartbeats(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not (reader.at_eof() or writer.transport.is_closing()):
        writer.write(in_chunks(b": still here\n\n"))
        await asyncio.sleep(0.01)
    raise ConnectionResetError


def waits(event: asyncio.Event, then: Script) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await event.wait()
        await then(reader, writer)

    return script


def goes_on(*chunks: Any, event: asyncio.Event, then: Script | None = None) -> Script:
    """Stream the rest once *event* is set, in a stream that `begins`; end it, or do *then*."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await event.wait()
        end = b"" if then else b"0\r\n\r\n"
        writer.write(b"".join(in_chunks(sse(c)) for c in chunks) + end)
        await writer.drain()
        if then:
            await then(reader, writer)

    return script


def bomb(size: int) -> Script:
    return answers(gzip.compress(b" " * size), **{"Content-Encoding": "gzip"})


def sse(chunk: Any, ending: str = "\n\n") -> bytes:
    if isinstance(chunk, bytes):
        return chunk
    name = f"event: {chunk['type']}{ending[: len(ending) // 2]}" if _named(chunk) else ""
    text = chunk if isinstance(chunk, str) else json.dumps(chunk, ensure_ascii=False)
    return f"{name}data: {text}{ending}".encode()


def _named(chunk: Any) -> bool:
    return isinstance(chunk, dict) and "type" in chunk


def in_chunks(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream_head() -> bytes:
    return _head(200, "text/event-stream", {"Transfer-Encoding": "chunked"})


def _head(status: int, kind: str, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}"]
    return "\r\n".join([*lines, *(f"{k}: {v}" for k, v in headers.items()), "", ""]).encode()


def a_completion(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {
        "id": "r-1",
        "object": "chat.completion",
        "model": "large",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    } | fields


def pieces(
    texts: Sequence[str] = ("a", "b"), *, usage: Any = None, finish: str | None = "stop"
) -> list[dict[str, Any]]:
    """Make the chunks of a stream as OpenAI sends them."""

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {"id": "r-1", "model": "large", "choices": [choice]}

    made = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": t}) for t in texts)]
    if finish:
        made.append(chunk({}, finish))
    if usage is None and finish:
        usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return (
        [*made, {"id": "r-1", "model": "large", "choices": [], "usage": usage}] if usage else made
    )
