"""WS /metrics/live: the newest snapshot, at once, in steady steps, and whenever it is asked for."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from math import floor
from urllib.parse import parse_qs

import orjson
from prometheus_client import Gauge
from starlette.types import Receive, Scope, Send

from common.errors import Denied, Invalid
from common.origins import is_own_page
from services.gateway.api.context import context_of
from services.gateway.live import Live

DEFAULT_INTERVAL_S = 5.0
FULL = 1013  # RFC 6455 and IANA: try again later
MAX_UNANSWERED_PINGS = 8  # a client that only asks and never reads gets no queue of answers

_clients = Gauge("optimizer_ws_clients", "Open live sockets.")


class LiveSocket:
    route_path = "/metrics/live"

    def __init__(self, live: Live, *, max_clients: int, allowed_origins: Collection[str]) -> None:
        self._live = live
        self._max_clients = max_clients
        self._allowed_origins = allowed_origins
        self._clients = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        interval_s = _interval(scope)
        # Without keys the gate has been stricter already.
        if not is_own_page(context_of(scope).headers, allowed=self._allowed_origins):
            raise Denied("This page may not open the live socket.", code="foreign_origin")
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        if self._clients >= self._max_clients:
            await send({"type": "websocket.close", "code": FULL, "reason": "too many clients"})
            return
        self._clients += 1
        try:
            with _clients.track_inprogress():
                await _Client(self._live, interval_s).serve(receive, send)
        finally:
            self._clients -= 1


class _Client:
    def __init__(self, live: Live, interval_s: float) -> None:
        self._live = live
        self._interval_s = interval_s
        self._pings = 0
        self._pinged = asyncio.Event()

    async def serve(self, receive: Receive, send: Send) -> None:
        """Talk and listen until either ends."""
        both = {
            asyncio.create_task(self._send(send)),
            asyncio.create_task(self._listen(receive)),
        }
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            with suppress(OSError):  # sent to somebody who is gone
                done.pop().result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _listen(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if _is_ping(message.get("text") or message.get("bytes")):
                self._pings = min(self._pings + 1, MAX_UNANSWERED_PINGS)
                self._pinged.set()

    async def _send(self, send: Send) -> None:
        """Only this task sends. It waits for a slow client, and then has the newest for it."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if loop.time() >= due:
                await self._show(send)
                due = next_due(due, self._interval_s, loop.time())
            while self._pings:
                self._pings -= 1
                await self._show(send)
            self._pinged.clear()
            try:
                async with asyncio.timeout_at(due):
                    await self._pinged.wait()
            except TimeoutError:
                continue

    async def _show(self, send: Send) -> None:
        snapshot = await self._live.newest()
        await send({"type": "websocket.send", "text": snapshot.decode()})


def next_due(due: float, interval_s: float, now: float) -> float:
    """
    Return the first step of *interval_s* from *due* that lies ahead.

    Counted from *now*, a moment in which everyone waits would bring all clients into step.
    """
    return due + interval_s * max(1, floor((now - due) / interval_s) + 1)


def _is_ping(message: str | bytes | None) -> bool:
    """Anything else is garbage, which is no reason to part."""
    try:
        said = orjson.loads(message or b"")
    except orjson.JSONDecodeError:
        return False
    return isinstance(said, dict) and said.get("action") == "ping"


def _interval(scope: Scope) -> float:
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    wanted = query.get("interval")
    if wanted is None:
        return DEFAULT_INTERVAL_S
    try:
        seconds = float(wanted[-1])
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= 60:  # noqa: PLR2004 - the contract's bounds; NaN fails too
        raise Invalid("interval: must be 1 to 60 seconds", code="invalid_value", param="interval")
    return seconds
