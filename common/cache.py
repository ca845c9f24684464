"""
Remember for a while, if Redis lets us: a cache that never raises and never makes anyone wait.

Any trouble reads as a miss (None) or as "not done" (False), but for those who `look_up`.
"""

import re
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from prometheus_client import Counter
from redis.asyncio import Redis

from common.errors import Unavailable
from common.redis_line import TIMEOUT_S, NoAnswerError, RedisLine

log = structlog.get_logger()

DEFAULT_TTL_S = 300
SCAN_COUNT = 500

_READS = Counter("optimizer_cache_reads_total", "Reads of the cache.", ["prefix", "result"])
_GLOB = re.compile(r"([*?\[\]\\^-])")


class Cache:
    """
    Keys under one prefix, with a lifetime.

    Args:
        url: None: there is no Redis, so every read is a miss.
        prefix: In front of every key; "" only for well-known keys of `redis_names`.
        timeout_s: For one trip; more than 100 ms would be felt.
    """

    def __init__(
        self,
        url: str | None,
        *,
        prefix: str,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._line = RedisLine(url, timeout_s=timeout_s)
        self._prefix = prefix
        self._results = {name: _READS.labels(prefix, name) for name in ("hit", "miss", "trouble")}

    async def get(self, key: str) -> Any | None:
        """Return what JSON was kept under *key*; None if nothing, or nothing readable."""
        raw = await self.get_bytes(key)
        if raw is None:
            return None
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            log.warning("unreadable cache entry", prefix=self._prefix)
            return None

    async def set(self, key: str, value: Any, ttl_s: float | None = None) -> bool:
        """Keep *value* as JSON. False: not kept."""
        try:
            raw = orjson.dumps(value)
        except (TypeError, ValueError):
            log.warning("not JSON: not cached", prefix=self._prefix, type=type(value).__name__)
            return False
        return await self.set_bytes(key, raw, ttl_s)

    async def get_bytes(self, key: str) -> bytes | None:
        try:
            raw: Any = await self._line.trip(lambda redis: redis.get(self._prefix + key))
        except NoAnswerError:
            self._results["trouble"].inc()
            return None
        self._results["miss" if raw is None else "hit"].inc()
        return raw if isinstance(raw, bytes) else None

    async def look_up(self, key: str) -> bytes | None:
        """
        Return what was kept under *key*, for those who must tell a miss from trouble.

        Raises:
            Unavailable: Redis is silent.
        """
        try:
            raw: Any = await self._line.trip(lambda redis: redis.get(self._prefix + key))
        except NoAnswerError:
            raise Unavailable("Redis is silent; try again", retry_after_s=1) from None
        return raw if isinstance(raw, bytes) else None

    async def set_bytes(self, key: str, value: bytes, ttl_s: float | None = None) -> bool:
        seconds = DEFAULT_TTL_S if ttl_s is None else ttl_s
        milliseconds = int(seconds * 1000)
        if milliseconds <= 0:
            return False  # dead before it is kept
        return await self._done(lambda redis: redis.set(self._prefix + key, value, px=milliseconds))

    async def delete(self, key: str) -> bool:
        """Forget *key*. True: it is not there any more, whether or not it was."""
        return await self._done(lambda redis: redis.unlink(self._prefix + key))

    async def flush(self) -> int | bool:
        """Forget what is under this prefix, nothing else. Return how many; False: trouble."""
        if not self._prefix:
            return False  # "own keys" would be everyone's
        pattern = _GLOB.sub(r"\\\1", self._prefix) + "*"
        cursor, forgotten = 0, 0
        try:
            while True:
                cursor, keys = await self._line.trip(
                    lambda redis, at=cursor: redis.scan(at, match=pattern, count=SCAN_COUNT)  # type: ignore[misc]
                )
                if keys:
                    forgotten += await self._line.trip(
                        lambda redis, some=keys: redis.unlink(*some)  # type: ignore[misc]
                    )
                if not cursor:
                    return forgotten
        except NoAnswerError:
            return False

    async def publish(self, channel: str, message: bytes) -> bool:
        """Tell whoever listens. *channel* is a well-known name: no prefix."""
        return await self._done(lambda redis: redis.publish(channel, message))

    async def ping(self) -> bool:
        return await self._done(lambda redis: redis.ping())

    async def close(self) -> None:
        await self._line.close()

    async def _done(self, work: Callable[[Redis], Any]) -> bool:
        try:
            await self._line.trip(work)
        except NoAnswerError:
            return False
        return True
