"""
The ledger's writing side: durable when `append` returns, in Postgres or in the journal.

    append ──▶ waiting ──▶ one commit at a time ──▶ Postgres
                                   │ over 500 ms, or cannot
                                   ▼
                                journal ──▶ replay ──▶ Postgres again

There is no timer: if no commit is running, commit now; what comes meanwhile is the next batch.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Gauge, Histogram

from common.errors import Failure, NotFound, Unavailable
from common.postgres import Connection, Pool, connection
from services.router.domain.catalog import Price
from services.router.domain.entries import Row
from services.router.domain.request import Ask
from services.router.store import feedback_rows, ledger_table
from services.router.store.entry import Entry
from services.router.store.journal import Journal
from services.router.store.ledger_table import RowRefusedError
from services.router.store.replay import Replay

COMMIT_LIMIT_S = 0.5
START_LIMIT_S = 3.0
MAX_BATCH_ROWS = 1000

log = structlog.get_logger()

_COMMIT = Histogram(
    "optimizer_ledger_commit_seconds",
    "One group commit.",
    ["into"],  # postgres, journal
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
_DIVERTED = Gauge("optimizer_ledger_diverted", "1 while the journal takes what Postgres cannot.")


_DEAD_CONNECTION = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)


@dataclass(frozen=True, slots=True)
class _Waiting:
    rows: Sequence[Row]
    done: asyncio.Future[None]


class Ledger:
    """
    Args:
        pool: One of its connections is ours for good.
        journal: Opened by `start`.
        commit_limit_s: How long Postgres may take for a commit before the journal takes it.
        on_grown: Called after each commit to Postgres; must not block.
    """

    def __init__(
        self,
        pool: Pool,
        journal: Journal,
        *,
        commit_limit_s: float = COMMIT_LIMIT_S,
        on_grown: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._journal = journal
        self._limit_s = commit_limit_s
        self._on_grown = on_grown
        self._queue: deque[_Waiting] = deque()
        self._committing: asyncio.Task[None] | None = None
        self._conn: Connection | None = None
        self._diverted_since: float | None = None
        self._replay = Replay(
            pool, journal, limit_s=commit_limit_s, on_answer=self._return, on_grown=on_grown
        )

    async def start(self) -> None:
        """Begin; Postgres need not be there. Replay what an earlier life left in the journal."""
        try:
            await self._journal.open()
        except Unavailable:
            log.warning("journal_unusable", so="while Postgres is down, nothing will be served")
        with suppress(Failure):
            async with connection(self._pool, timeout_s=self._limit_s) as conn:
                with ledger_table.cut_after(conn, START_LIMIT_S):
                    await ledger_table.begin_epoch(conn)
        self._replay.start()

    async def stop(self) -> None:
        """Finish what waits, then let go. The journal keeps what is not replayed."""
        while self._committing:
            await asyncio.wait([self._committing])
        await self._replay.stop()
        if self._conn:
            conn, self._conn = self._conn, None
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, OSError):
                await self._pool.release(conn, timeout=self._limit_s)
        await self._journal.close()

    @property
    def caught_up(self) -> bool:
        """True when Postgres holds everything that we ever acknowledged."""
        return self._diverted_since is None and not self._journal.waiting_bytes

    async def check(self) -> None:
        """
        Ask whether what happens can be recorded, in Postgres or in the journal.

        Raises:
            Unavailable: neither would take it, so nothing can be served.
        """
        if self._diverted_since is not None:
            await self._journal.check()

    def request(self, ask: Ask, *, deadline_s: float, baseline: Price | None = None) -> Entry:
        """
        Enter a request; use as a context manager.

        Args:
            ask: Its `request_id` is the key of everything recorded.
            deadline_s: By then every attempt is over, or the reaper settles it.
            baseline: Price of the model that savings are measured against.

        Raises:
            Invalid: the request_id is no fresh UUIDv7.
        """
        return Entry(ask, append=self.append, deadline_s=deadline_s, baseline=baseline)

    async def append(self, rows: Sequence[Row]) -> None:
        """
        Add rows, all or none. Durable on return, even if the caller is cancelled while waiting.

        Raises:
            Unavailable: neither Postgres nor the journal can hold them.
        """
        waiting = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        await waiting.done

    async def record_feedback(
        self, request_id: UUID, tenant: str, details: Mapping[str, Any]
    ) -> int:
        """
        Add a revision of a request's feedback and return its number.

        Raises:
            NotFound: no request of this tenant has ended under this id.
            Unavailable: Postgres is silent, or the request still waits in the journal.
        """
        async with connection(self._pool) as conn:
            try:
                revision = await feedback_rows.add(conn, request_id, tenant, details)
            except NotFound:
                if self.caught_up:
                    raise
                raise Unavailable("the ledger is catching up; try again", retry_after_s=1) from None
        self._on_grown()
        return revision

    async def _commit_all(self) -> None:
        try:
            while self._queue:
                batch = self._next_batch()
                try:
                    await self._commit(batch)
                except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
                    _finish(batch, error)
                else:
                    _finish(batch)
        finally:
            self._committing = None

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and (not batch or size + len(self._queue[0].rows) <= MAX_BATCH_ROWS):
            batch.append(self._queue.popleft())
            size += len(batch[-1].rows)
        return batch

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        rows = [row for waiting in batch for row in waiting.rows]
        began = time.perf_counter()
        try:
            payload = ledger_table.encode(rows)
            into = await self._keep(payload, len(rows))
        except RowRefusedError:
            if len(batch) == 1:
                raise
            await self._commit_one_by_one(batch)
        else:
            _COMMIT.labels(into).observe(time.perf_counter() - began)

    async def _keep(self, payload: bytes, size: int) -> str:
        """Make a batch durable; return where."""
        if self._diverted_since is None:
            try:
                await self._to_postgres(payload, size)
            except RowRefusedError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the rows must not be lost
                self._divert(error)
            else:
                self._on_grown()
                return "postgres"
        await self._journal.append(payload)
        self._replay.wake()
        return "journal"

    async def _commit_one_by_one(self, batch: Sequence[_Waiting]) -> None:
        """One request's rows are wrong: it alone must fail."""
        for waiting in batch:
            try:
                await self._commit([waiting])
            except Exception as error:
                log.exception("ledger_rows_refused")
                _finish([waiting], error)

    async def _to_postgres(self, payload: bytes, size: int) -> None:
        """
        Commit within the limit, or cut the connection: a silent server cannot be asked to stop.

        A connection that turns out to be dead is replaced, by one that may be dead, too: the server
        may be well. What it might still commit later is harmless: a row is only ever added once.
        """
        until = time.monotonic() + self._limit_s
        for tries_left in range(self._pool.get_max_size(), -1, -1):
            if self._conn is None:
                left_s = max(until - time.monotonic(), 0.01)
                self._conn = await self._pool.acquire(timeout=left_s)
            try:
                with ledger_table.cut_after(self._conn, until - time.monotonic()):
                    await ledger_table.add(self._conn, payload, size=size)
            except RowRefusedError:
                raise
            except Exception as error:
                await self._drop_connection()
                dead = isinstance(error, _DEAD_CONNECTION) and tries_left
                if not dead or time.monotonic() >= until:
                    raise
            else:
                return

    async def _drop_connection(self) -> None:
        conn, self._conn = self._conn, None
        if conn:
            ledger_table.cut(conn)
            await self._pool.release(conn)

    def _divert(self, error: Exception) -> None:
        log.warning("ledger_diverted", reason=repr(error))
        self._diverted_since = time.monotonic()
        _DIVERTED.set(1)
        self._replay.wake()

    def _return(self) -> None:
        """Postgres has just committed: batches go there again, while replay works off the rest."""
        if self._diverted_since is not None:
            log.info("ledger_returned", away_s=round(time.monotonic() - self._diverted_since, 1))
        self._diverted_since = None
        _DIVERTED.set(0)


def _finish(batch: Sequence[_Waiting], error: Exception | None = None) -> None:
    for waiting in batch:
        if waiting.done.done():
            continue  # its caller was cancelled, or it was refused by itself
        if error is None:
            waiting.done.set_result(None)
        else:
            waiting.done.set_exception(error)
