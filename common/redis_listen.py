"""Listening to a channel of Redis for as long as the process lives, whatever Redis does."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = structlog.get_logger()

SILENCE_S = 5.0  # then we ask for a sign of life; after as much again the line is dead
PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0


async def listen(
    url: str | None,
    channel: str,
    on_message: Callable[[bytes], None],
    *,
    on_connect: Callable[[], None] | None = None,
    silence_s: float = SILENCE_S,
) -> None:
    """
    Hand every message of *channel* to *on_message*, for ever; a lost line is taken up again.

    What is published while the line is down is missed: `on_connect` is the moment to look.
    """
    if url is None:
        await asyncio.Event().wait()
        return
    pause_s, lost = PAUSE_S, False
    while True:
        try:
            async with aclosing(_messages(url, channel, silence_s)) as messages:
                async for message in messages:
                    if message is not None:
                        _hand_over(on_message, message, channel)
                        continue
                    if lost:
                        log.info("listening again", channel=channel)
                    pause_s, lost = PAUSE_S, False
                    if on_connect:
                        on_connect()
        except (RedisError, OSError, TimeoutError) as error:
            if not lost:
                log.warning("not listening", channel=channel, reason=type(error).__name__)
            lost = True
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _messages(url: str, channel: str, silence_s: float) -> AsyncGenerator[bytes | None]:
    """Yield None once subscribed, then every message; raise when the line is dead."""
    client = Redis.from_url(
        url, socket_connect_timeout=silence_s, retry=Retry(NoBackoff(), 0), protocol=2
    )
    pubsub = client.pubsub()
    try:
        async with asyncio.timeout(silence_s):
            await pubsub.subscribe(channel)
        asked = False
        while True:
            message = await pubsub.get_message(timeout=silence_s)
            if message is None:
                if asked:
                    raise TimeoutError
                asked = True
                async with asyncio.timeout(silence_s):
                    await pubsub.ping()
                continue
            asked = False
            if message["type"] == "subscribe":
                yield None
            elif message["type"] == "message":
                yield message["data"]
    finally:
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(1):
                await pubsub.aclose()  # type: ignore[no-untyped-call]
                await client.aclose()


def _hand_over(on_message: Callable[[bytes], None], message: bytes, channel: str) -> None:
    try:
        on_message(message)
    except Exception:
        log.exception("a listener failed", channel=channel)
