"""
From the journal back into Postgres, as soon as it answers; ours, and that of replicas that died.

Replaying is adding, and adding twice changes nothing, so a crash at any step is harmless. The
first record is the probe: Postgres counts as back when it has committed one in time.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import orjson
import structlog

from common.errors import Unavailable
from common.postgres import Pool, connection
from services.router.domain.entries import Row
from services.router.store import ledger_table
from services.router.store.journal import Journal, JournalFile
from services.router.store.ledger_table import RowRefusedError

ADOPT_EVERY_S = 30.0
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 1.0
CHUNK_BYTES = 512 * 1024
CHUNK_LIMIT_S = 10.0

log = structlog.get_logger()


class Replay:
    """
    Args:
        pool: Where to.
        journal: Where from.
        limit_s: How long Postgres may take for the first record, to count as back.
        on_answer: Called when it is back.
        on_grown: Called after each commit.
    """

    def __init__(
        self,
        pool: Pool,
        journal: Journal,
        *,
        limit_s: float,
        on_answer: Callable[[], None],
        on_grown: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._journal = journal
        self._limit_s = limit_s
        self._on_answer = on_answer
        self._on_grown = on_grown
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._woken.set()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    def wake(self) -> None:
        """There is something to replay, or to find out whether Postgres is back."""
        self._woken.set()

    async def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ADOPT_EVERY_S):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self._replay_everything()
            except Exception as error:  # noqa: BLE001 - whatever it is, trying again is the answer
                if retry_s == FIRST_RETRY_S:
                    log.warning("journal_not_replayed", reason=repr(error))
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
                self._woken.set()
            else:
                retry_s = FIRST_RETRY_S

    async def _replay_everything(self) -> None:
        if self._journal.waiting_bytes:
            await self._drain(await self._journal.open())
        else:
            await self._probe()
        self._on_answer()
        with suppress(Unavailable):  # a folder that cannot be read has been complained of
            for orphan in await self._journal.orphans():
                try:
                    await self._drain(orphan)
                finally:
                    await self._journal.do(orphan.close)

    async def _probe(self) -> None:
        async with connection(self._pool, timeout_s=self._limit_s) as conn:
            with ledger_table.cut_after(conn, self._limit_s):
                await ledger_table.check_writable(conn)

    async def _drain(self, file: JournalFile) -> None:
        most_bytes, limit_s, began_with = 1, self._limit_s, file.waiting_bytes
        while file.waiting_bytes:
            payloads, position = await self._journal.do(file.read, most_bytes)
            await self._add(file, payloads, limit_s)
            await self._journal.do(file.advance, position)
            if payloads and most_bytes == 1:
                self._on_answer()
                most_bytes, limit_s = CHUNK_BYTES, CHUNK_LIMIT_S
        log.info("journal_replayed", path=str(file.path), bytes=began_with)

    async def _add(self, file: JournalFile, payloads: Sequence[bytes], limit_s: float) -> None:
        """Add records in one commit; if a row is wrong, in smaller and smaller ones without it."""
        if not payloads:
            return
        try:
            await self._commit(b"[" + b",".join(p[1:-1] for p in payloads) + b"]", limit_s)
        except RowRefusedError as error:
            if len(payloads) > 1:
                for payload in payloads:
                    await self._add(file, [payload], limit_s)
            elif rows := _several(payloads[0]):
                for row in rows:
                    await self._add(file, [ledger_table.encode([row])], limit_s)
            else:
                log.error("journal_row_refused", reason=str(error))  # noqa: TRY400 - no bug of ours
                await self._journal.do(file.set_aside, payloads[0], "refused")

    async def _commit(self, payload: bytes, limit_s: float) -> None:
        async with connection(self._pool, timeout_s=limit_s) as conn:
            with ledger_table.cut_after(conn, limit_s):
                await ledger_table.add(conn, payload)
        self._on_grown()


def _several(payload: bytes) -> list[Row]:
    """Return the rows of a record if there are several that can be told apart."""
    try:
        rows = ledger_table.decode(payload)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return []
    return rows if len(rows) > 1 else []
