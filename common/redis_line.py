"""
The line to a Redis that may vanish at any moment: each trip is bounded, and when it is dead or
slow, nobody waits for it.

After a few failures in a row the breaker opens: trips are given up at once, but for one probe
every 2 s.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar
from weakref import WeakSet

import structlog
from prometheus_client import Counter, Gauge
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OPENED, OpenedState
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

log = structlog.get_logger()

T = TypeVar("T")

TIMEOUT_S = 0.1
FAILURES = 3
PAUSE_S = 2.0
CONNECTIONS = 32

_TROUBLE = Counter("optimizer_redis_trouble_total", "Trips to Redis that failed.", ["kind"])
_CONNECTIONS = Gauge(
    "optimizer_redis_connections", "Connections of this process's pools.", ["state"]
)
_POOLS: WeakSet[BlockingConnectionPool] = WeakSet()


class NoAnswerError(Exception):
    """Redis said nothing useful. Never leaves the module that asked."""


class RedisLine:
    """
    One process's line to one Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`; None: there is no Redis, every trip is given up.
        timeout_s: For a whole trip, waiting for a connection and connecting included.
        pause_s: Between two probes of a Redis that is dead.
    """

    def __init__(
        self, url: str | None, *, timeout_s: float = TIMEOUT_S, pause_s: float = PAUSE_S
    ) -> None:
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._client = _client(url, timeout_s) if url else None
        # A reply that says "error" is an answer: the line is fine. So is a caller that hung up.
        self._breakers = AsyncCircuitBreakerFactory(
            default_threshold=FAILURES,
            default_ttl=pause_s,
            exclude=[ResponseError, asyncio.CancelledError],
        )
        self._probing = False
        self._was_up = True

    async def trip(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        """
        Do *work*, which sends one command or one pipeline.

        Raises:
            NoAnswerError: whatever went wrong; it has been counted and, once, logged.
        """
        if self._client is None:
            raise NoAnswerError("no Redis is configured")
        breaker = await self._breakers.get_breaker("redis")
        state = breaker.context
        # Asked here rather than left to the breaker: it raises the same exception each time, and
        # with it a traceback that grows.
        opened = state.state == OPENED
        if self._probing or (opened and time.time() <= (state.opened_at or 0) + self._pause_s):
            raise NoAnswerError("the breaker is open")
        if opened:
            self._probing = True
        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            async with breaker, asyncio.timeout(self._timeout_s):
                done = await work(self._client)
        except OpenedState as error:  # the clock was set back
            raise NoAnswerError("the breaker is open") from error
        except (RedisError, OSError, TimeoutError) as error:
            self._note(error)
            raise NoAnswerError(type(error).__name__) from error
        finally:
            if opened:
                self._probing = False
        if not self._was_up:
            self._was_up = True
            log.info("redis is back")
        if task and task.cancelling() > cancelled:
            # redis-py sends with `wait_for`, which before Python 3.12 forgets that it was cancelled
            # if the sending is done at that very moment.
            raise asyncio.CancelledError
        return done

    async def close(self) -> None:
        if self._client is not None:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._client.aclose()
            except (RedisError, OSError, TimeoutError):
                return

    def _note(self, error: Exception) -> None:
        answered = isinstance(error, ResponseError)
        _TROUBLE.labels("refused" if answered else "silent").inc()
        if self._was_up:
            # What a server says of a command may quote the command: the class is enough.
            log.warning("redis trouble", reason=type(error).__name__)
            self._was_up = answered


def _client(url: str, timeout_s: float) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,  # saves two commands on every new connection
        protocol=2,
    )
    _POOLS.add(pool)
    return Redis(connection_pool=pool)


def _connections(place: int) -> int:
    return sum(pool.get_connection_count()[place][0] for pool in list(_POOLS))


for _place, _state in enumerate(("idle", "used")):
    _CONNECTIONS.labels(_state).set_function(partial(_connections, _place))
