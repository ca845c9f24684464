"""
Derives something from the ledger, exactly once, whatever restarts.

Effects and cursor are stored in one transaction, which first moves the cursor from where it was
read: of two replicas that pulled the same rows, one applies them and the other starts over.
The cursor is the row `ledger` of `<schema>.cursor (name text primary key, position text not null)`.
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

import grpc
import structlog
from optimizer.router.v1.ledger_pb2 import LedgerRow, ReadLedgerRequest, ReadLedgerResponse
from optimizer.router.v1.router_pb2_grpc import RouterServiceStub
from prometheus_client import Counter, Gauge

from common.errors import Failure, Invalid
from common.grpc_client import call
from common.postgres import Connection, Pool, connection, transaction

log = structlog.get_logger()

Read: TypeAlias = Callable[[str, int], Awaitable[ReadLedgerResponse]]
Apply: TypeAlias = Callable[[Connection, Sequence[LedgerRow]], Awaitable[None]]

CURSOR = "ledger"
READ_S = 5.0
PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
HELD_BACK_S = 0.02  # for an open transaction to end that holds back the tail
BETWEEN_PULLS_S = 0.2  # under load a wake-up comes with every commit: batches cost less

_LAG = Gauge(
    "optimizer_ledger_follower_lag_seconds", "Since all of the ledger was applied.", ["consumer"]
)
_ROWS = Counter("optimizer_ledger_follower_rows_total", "Rows applied.", ["consumer"])


def reader(channel: grpc.aio.Channel, consumer: str) -> Read:
    """Read the router's ledger over *channel*; retention there waits for *consumer* by name."""
    stub = RouterServiceStub(channel)

    async def read(cursor: str, limit: int) -> ReadLedgerResponse:
        request = ReadLedgerRequest(consumer=consumer, cursor=cursor, limit=limit)
        response: ReadLedgerResponse = await call(stub.ReadLedger, request, timeout_s=READ_S)
        return response

    return read


class LedgerFollower:
    """
    Follows the ledger for one schema.

    Args:
        schema: Where the cursor is, and the consumer's name.
        pool: Of that schema's role.
        read: Asks the router: (cursor, limit) to the rows behind the cursor.
        apply: Stores the effects of rows within the given transaction. It may run again with the
            same rows when the transaction failed; it must not commit anything by itself.
        wake: Set when the ledger grew; then nothing waits for *poll_s*.
        limit: Rows in one transaction.
        poll_s: How long to wait without a wake-up.
        after_apply: Called after each commit, to publish say. Its failures are logged only.
    """

    def __init__(
        self,
        *,
        schema: str,
        pool: Pool,
        read: Read,
        apply: Apply,
        wake: asyncio.Event | None = None,
        limit: int = 1000,
        poll_s: float = 1.0,
        after_apply: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", schema):
            raise Invalid(f"{schema!r} is no name for a schema")
        self._schema = schema
        self._pool = pool
        self._read = read
        self._apply = apply
        self._wake = wake or asyncio.Event()
        self._limit = limit
        self._poll_s = poll_s
        self._after_apply = after_apply
        self._turn = asyncio.Lock()  # one pull at a time in this process
        self._pulls = 0  # begun so far
        self._complete_pull = 0  # the last that left nothing behind
        self._complete_at = time.monotonic()
        self._lost = False
        _LAG.labels(schema).set_function(self._lag_s)

    async def run(self) -> None:
        """Follow for ever. Postgres or the router being away is waited out."""
        pause_s = PAUSE_S
        while True:
            self._wake.clear()
            try:
                complete = await self._pull_in_turn()
            except Exception as error:  # noqa: BLE001 - one bad row must not end the following
                self._note(error)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            if self._lost:
                self._lost = False
                log.info("following the ledger again", consumer=self._schema)
            pause_s = PAUSE_S
            if complete:
                await self._rest()

    async def catch_up(self, timeout_s: float) -> bool:
        """
        Apply everything the ledger has at the moment of the call, now.

        Returns:
            False when that took longer than *timeout_s*, or a neighbour is silent.
        """
        needed = self._pulls + 1  # a pull that has begun may have read before this moment
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._complete_pull < needed:
                    try:
                        if not await self._pull_in_turn(needed):
                            continue
                    except Failure:
                        await asyncio.sleep(HELD_BACK_S)
                    except Exception:
                        log.exception("cannot apply the ledger", consumer=self._schema)
                        return False
                return True
        return False

    async def _rest(self) -> None:
        await asyncio.sleep(min(BETWEEN_PULLS_S, self._poll_s))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_s):
                await self._wake.wait()

    async def _pull_in_turn(self, needed: int | None = None) -> bool:
        """Pull once, unless another did it for us meanwhile. True: nothing was left behind."""
        async with self._turn:
            if needed is not None and self._complete_pull >= needed:
                return True
            self._pulls += 1
            complete = await self._pull()
            if complete:
                self._complete_pull = self._pulls
                self._complete_at = time.monotonic()
        return complete

    async def _pull(self) -> bool:
        cursor = await self._cursor()
        answer = await self._read(cursor, self._limit)
        if not answer.rows:
            if answer.more:  # rows exist that may not be read yet
                await asyncio.sleep(HELD_BACK_S)
            return not answer.more
        async with transaction(self._pool) as conn:
            if not await self._move(conn, cursor, answer.next_cursor):
                return False  # another replica has applied them: read again from where it is now
            await self._apply(conn, answer.rows)
        _ROWS.labels(self._schema).inc(len(answer.rows))
        await self._tell()
        return not answer.more

    async def _cursor(self) -> str:
        async with connection(self._pool) as conn:
            position = await conn.fetchval(
                f"SELECT position FROM {self._schema}.cursor WHERE name = $1",  # noqa: S608
                CURSOR,
            )
        return position or ""

    async def _move(self, conn: Connection, before: str, after: str) -> bool:
        """Compare and swap. A second replica waits here for the first one's commit, then loses."""
        moved = await conn.fetchval(
            f"""
            INSERT INTO {self._schema}.cursor AS known (name, position) VALUES ($1, $3)
            ON CONFLICT (name) DO UPDATE SET position = excluded.position
                WHERE known.position = $2
            RETURNING true
            """,  # noqa: S608
            CURSOR,
            before,
            after,
        )
        return bool(moved)

    async def _tell(self) -> None:
        if self._after_apply is None:
            return
        try:
            await self._after_apply()
        except Exception:
            log.exception("what follows an apply failed", consumer=self._schema)

    def _note(self, error: Exception) -> None:
        """Log once until it works again; a bug always with its traceback."""
        if self._lost:
            return
        self._lost = True
        if isinstance(error, Failure):
            log.warning("cannot follow the ledger", consumer=self._schema, reason=error.message)
        else:
            log.error("cannot follow the ledger", consumer=self._schema, exc_info=error)

    def _lag_s(self) -> float:
        return time.monotonic() - self._complete_at
