"""One stream from a provider: packets in, batches of regular chunks out, every wait bounded."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiohttp

from services.router.domain.catalog import Timeouts
from services.router.domain.provider_failure import ProviderFailure
from services.router.domain.sse import EventTooLarge, SseParser
from services.router.providers.adapter import ChunkReader
from services.router.providers.http import read_some
from services.router.providers.stream import ChunkNormaliser, StreamFacts

MOST_STREAM_BYTES = 256 * 1024 * 1024
LAST_WORD_S = 5.0  # after the finish_reason: only usage and [DONE] are still to come


class UpstreamStream:
    """
    Read with `next_batch` until it returns None; then `tail` is what was held back.

    Args:
        response: Open, status 200. Released or closed here.
        reader: Of the provider's wire.
        normaliser: Makes one shape of it.
        timeouts: The provider's.
        started: When the request was sent, on time.monotonic.
        first_by: When the first content must be here, so that others may still be asked.
        deadline: When the caller's time is up, on time.monotonic. May be moved while reading.
        release: Takes a response that still has a few bytes to come, so that its connection can
            be used again.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        reader: ChunkReader,
        normaliser: ChunkNormaliser,
        timeouts: Timeouts,
        *,
        started: float,
        first_by: float,
        deadline: float,
        release: Callable[[aiohttp.ClientResponse], None],
    ) -> None:
        self._response = response
        self._reader = reader
        self._normaliser = normaliser
        self._timeouts = timeouts
        self._release = release
        self._parser = SseParser()
        self._deadline = min(deadline, started + timeouts.total_s)
        self._first_by = min(first_by, started + timeouts.first_token_s)
        self._progress = started  # when the last chunk came; heartbeats are no progress
        self._timer: asyncio.Timeout | None = None
        self._bytes = 0
        self._over = False
        self._begun = False  # something has left
        self._broken: ProviderFailure | None = None  # raised once all that came before has left
        self.tail: list[bytes] = []

    @property
    def facts(self) -> StreamFacts:
        return self._normaliser.facts

    @property
    def received_bytes(self) -> int:
        return self._bytes

    def hurry(self, deadline: float) -> None:
        """Move the deadline nearer, also for the wait that is under way."""
        self._deadline = min(self._deadline, deadline)
        if self._timer is not None and (when := self._timer.when()) is not None:
            nearer = asyncio.get_running_loop().time() + max(self._deadline - time.monotonic(), 0)
            self._timer.reschedule(min(when, nearer))

    async def next_batch(self) -> list[bytes] | None:
        """
        Return the chunks that have arrived since, at least one; None when it has ended well.

        The first batch comes with the first content, so until then nobody has seen anything.

        Raises:
            ProviderFailure: it ended badly. What is known of usage is in `facts`.
        """
        if self._broken is not None:
            raise self._broken
        try:
            while not self._over:
                await self._advance()
                if batch := self._take_ready():
                    return batch
        except ProviderFailure as failure:
            self.close()
            if self._begun and (batch := self._take_ready()):
                self._broken = failure
                return batch
            raise
        except BaseException:
            self.close()
            raise
        return None

    def close(self) -> None:
        """Hang up."""
        self._response.close()

    def _take_ready(self) -> list[bytes]:
        batch = self._normaliser.take() if self._normaliser.has_content else []
        self._begun = self._begun or bool(batch)
        return batch

    async def _advance(self) -> None:
        if packet := await self._packet():
            self._bytes += len(packet)
            if self._bytes > MOST_STREAM_BYTES:
                raise ProviderFailure("garbage", "answer too large", maybe_billed=True)
            try:
                self._take(packet)
            except EventTooLarge as error:
                raise ProviderFailure(
                    "garbage", "unintelligible stream", maybe_billed=True
                ) from error
            if not self._reader.done:
                return
        else:
            self._take_rest()
        self.tail = self._normaliser.end()
        self._over = True
        self._release(self._response)

    def _take(self, packet: bytes) -> None:
        for event in self._parser.feed(packet):
            if self._reader.done:
                return
            for chunk, raw in self._reader.chunks(event):
                self._normaliser.add(chunk, raw)
                self._progress = time.monotonic()

    def _take_rest(self) -> None:
        """Take an event that lacks its empty line; a torn one means that the stream was cut."""
        try:
            for event in self._parser.end():
                for chunk, raw in self._reader.chunks(event):
                    self._normaliser.add(chunk, raw)
        except ProviderFailure as failure:
            if failure.kind != "garbage":
                raise
            if not self._normaliser.finished:
                raise ProviderFailure("truncated", "stream cut", maybe_billed=True) from failure

    async def _packet(self) -> bytes:
        """Wait for a packet; b"" when nothing more comes and nothing more is needed."""
        limit, why = self._limit()
        try:
            async with asyncio.timeout(max(limit - time.monotonic(), 0)) as self._timer:
                return await read_some(self._response)
        except (TimeoutError, ProviderFailure) as error:
            if self._normaliser.finished:
                self.close()  # complete, though it did not end as it should
                return b""
            if isinstance(error, ProviderFailure):
                raise
            raise ProviderFailure("timed_out", why, maybe_billed=True) from error
        finally:
            self._timer = None

    def _limit(self) -> tuple[float, str]:
        times = self._timeouts
        if self._normaliser.finished:
            limit, why = self._progress + min(times.idle_s, LAST_WORD_S), "stalled"
        elif self._normaliser.has_content:
            limit, why = self._progress + times.idle_s, "stalled"
        else:
            limit, why = self._first_by, "no first token in time"
        return (self._deadline, "timed out") if self._deadline < limit else (limit, why)


def content_type(response: aiohttp.ClientResponse) -> Any:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
