"""One streamed answer: frames as they come, signs of life while they do not, an honest end."""

import asyncio

import orjson
from optimizer.router.v1 import router_pb2
from prometheus_client import Gauge
from starlette.types import Receive, Send

from common.errors import AllFailed, Failure
from services.gateway.api.context import Context
from services.gateway.api.failures import failure_body
from services.gateway.api.hangup import StopOnHangUp
from services.gateway.api.outcome import headers
from services.gateway.clients.router import Stream
from services.gateway.domain.openai_wire import DONE, HEARTBEAT, frames
from services.gateway.figures import first_token
from services.gateway.usecases import Completions, Placement

SSE = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no"))

_streams = Gauge("optimizer_open_streams", "Streamed answers under way.")


class StreamAnswer:
    """
    Turns the router's messages into server-sent events.

    The status and headers wait for the first token, so that a failure before it is a plain error
    answer; but not for longer than a heartbeat: then the stream begins, and failures go in it.
    """

    def __init__(
        self, send: Send, placement: Placement, context: Context, *, heartbeat_s: float
    ) -> None:
        self._send = send
        self._placement = placement
        self._context = context
        context.streamed = True
        self._heartbeat_s = heartbeat_s
        self._begun = False

    async def serve(self, completions: Completions, ask: router_pb2.Ask, receive: Receive) -> None:
        """
        Relay the answer to *ask* to its end.

        Raises:
            Failure: it failed before anything was sent.
            ClientGone: the client hung up; the router has been told.
        """
        stream: Stream | None = None
        try:
            with _streams.track_inprogress():
                async with StopOnHangUp(receive):
                    stream = await completions.stream(ask)
                    last = await self._relay(stream)
            completions.finished(ask.request_id, last.finished)
            self._context.outcome = last.finished
            await self._begin([])
            await self._write(frames(last.tail) + DONE, more=False)
        except Failure as failure:
            if not self._begun:
                raise
            self._context.broke = True
            body = orjson.dumps(failure_body(failure, openai=True))
            await self._write(frames([body]), more=False)
        finally:
            if stream is not None:
                stream.cancel()  # of no effect at its end
            completions.given_up(ask.request_id)  # neither, once it is finished

    async def _relay(self, stream: Stream) -> router_pb2.StreamCompleteResponse:
        """Pass on what comes; return the last message, which alone may say that all is well."""
        read = asyncio.ensure_future(stream.next())
        try:
            while True:
                done, _ = await asyncio.wait((read,), timeout=self._heartbeat_s)
                if not done:
                    await self._begin([])
                    await self._write(HEARTBEAT)
                    continue
                message = read.result()
                if message is None:
                    raise AllFailed("The answer broke off.", code="stream_cut", billed=True)
                event = message.WhichOneof("event")
                if event == "finished":
                    return message
                read = asyncio.ensure_future(stream.next())
                if event == "started":
                    first_token(self._context.began)
                    self._context.outcome = message.started
                    await self._begin(headers(message.started, self._placement))
                elif event == "chunks":
                    await self._begin([])
                    await self._write(frames(message.chunks.json))
        finally:
            read.cancel()

    async def _begin(self, told: list[tuple[bytes, bytes]]) -> None:
        if self._begun:
            return
        self._begun = True
        await self._send({"type": "http.response.start", "status": 200, "headers": [*SSE, *told]})

    async def _write(self, data: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
