"""
States of what was learned, kept under a name: each is taken once, for every replica and for good.

A decision waits for one only for a moment. While Postgres is silent, what is learned now stands in.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import structlog
from prometheus_client import Counter

from common.errors import Failure
from common.postgres import Pool, connection
from services.router.domain.beliefs import Beliefs
from services.router.store.snapshot_format import pack, unpack

PATIENCE_S = 0.1  # of a decision
LOADING_S = 5.0  # longest, while nobody waits
RETRY_AFTER_S = 1.0  # until then nobody waits again for a Postgres that failed
MOST_KEPT = 32  # in memory: with twenty models, about a megabyte each

_READ = "SELECT state FROM router.learned_snapshots WHERE name = $1"
_TAKE = (
    "INSERT INTO router.learned_snapshots (name, state) VALUES ($1, $2)"
    " ON CONFLICT (name) DO NOTHING"
)

log = structlog.get_logger()
_MISSED = Counter(
    "optimizer_snapshots_missed", "Decisions taken with what is learned now in a snapshot's place."
)


@dataclass(frozen=True, slots=True)
class _Loading:
    """One snapshot on its way, for all who ask for it."""

    task: asyncio.Task[Beliefs]
    until: float  # by the loop's clock; then nobody waits for it any more


class Snapshots:
    """
    Args:
        pool: Of the router's schema.
        known: Gives what is learned now: a name that is new stands for that.
    """

    def __init__(self, pool: Pool, known: Callable[[], Awaitable[Beliefs]]) -> None:
        self._pool = pool
        self._known = known
        self._kept: OrderedDict[str, Beliefs] = OrderedDict()  # the one used last at the end
        self._loading: dict[str, _Loading] = {}
        self._troubled = False

    async def at(self, name: str) -> Beliefs | None:
        """Return what was learned when *name* was first asked for; None: nobody says so in time."""
        if (kept := self._kept.get(name)) is not None:
            self._kept.move_to_end(name)
            return kept
        loading = self._loading.get(name) or self._load(name)
        try:
            async with asyncio.timeout_at(loading.until):
                return await asyncio.shield(loading.task)
        except (Failure, TimeoutError, asyncpg.PostgresError) as error:
            self._miss(name, str(error) or "it takes too long")
            return None

    def _load(self, name: str) -> _Loading:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._read_or_take(name))
        self._loading[name] = loading = _Loading(task, loop.time() + PATIENCE_S)
        task.add_done_callback(lambda done: self._loaded(name, done))
        return loading

    def _loaded(self, name: str, done: "asyncio.Task[Beliefs]") -> None:
        if done.cancelled() or done.exception():
            loop = asyncio.get_running_loop()
            loop.call_later(RETRY_AFTER_S, self._loading.pop, name, None)
            return
        self._troubled = False
        self._kept[name] = done.result()
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        del self._loading[name]

    async def _read_or_take(self, name: str) -> Beliefs:
        async with asyncio.timeout(LOADING_S):
            async with connection(self._pool) as conn:
                state = await conn.fetchval(_READ, name)
            if state is None:
                now = await asyncio.to_thread(pack, await self._known())
                async with connection(self._pool) as conn:
                    await conn.execute(_TAKE, name, now)
                    state = await conn.fetchval(_READ, name) or now
        beliefs, refused = await asyncio.to_thread(unpack, state)  # checking sums takes its time
        if refused:
            log.error("snapshot_refused", snapshot=name, parts=refused)  # the prior stands in
        return beliefs

    def _miss(self, name: str, reason: str) -> None:
        _MISSED.inc()
        if not self._troubled:
            log.warning("snapshot_missed", snapshot=name, reason=reason)
        self._troubled = True
