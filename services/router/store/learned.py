"""
What was learned from feedback, in Postgres and in memory.

Feedback is applied from the ledger, by whichever replica comes first, exactly once; every replica
reads the sums again every few seconds. While Postgres is silent, the last known ones stand.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import structlog
from optimizer.router.v1.ledger_pb2 import LedgerRow, ReadLedgerResponse
from prometheus_client import Gauge

from common.errors import Failure
from common.ledger_follower import LedgerFollower
from common.ledger_rows import Skips
from common.postgres import Connection, Pool, connection
from services.router.domain.catalog import Catalog, Tier
from services.router.domain.complexity import TIERS
from services.router.domain.entries import Kind
from services.router.domain.learning import NOTHING_LEARNED, Beliefs, Evidence, quality
from services.router.domain.outcome import WEIGHT, outcome_of
from services.router.store.ledger_reader import LedgerReader

REFRESH_EVERY_S = 5.0
LENGTHS_EVERY_S = 60.0
LENGTHS_FROM = 3_000  # settled attempts, the newest
CONSUMER = "router"

log = structlog.get_logger()
_REFUSED = Gauge("optimizer_learning_cells_refused", "Absurd sums; the prior stands in for them.")


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of one model on prompts of one difficulty."""

    model: str
    difficulty: Tier
    quality: float
    evidence: float  # weight of the outcomes behind it, the prior's left out


class Learned:
    """Every query on `router.learned` and `router.outcomes` lives here."""

    def __init__(self, pool: Pool, *, refresh_every_s: float = REFRESH_EVERY_S) -> None:
        self._pool = pool
        self._reader = LedgerReader(pool)
        self._refresh_every_s = refresh_every_s
        self._lengths_at = -LENGTHS_EVERY_S
        self._troubled = False
        self.current: Beliefs = NOTHING_LEARNED
        self.follower = LedgerFollower(
            schema=CONSUMER,
            pool=pool,
            read=self.read,
            apply=self.apply,
            poll_s=refresh_every_s,
            after_apply=self.refresh,
        )

    async def run(self) -> None:
        """Apply feedback and follow what others applied, for ever; trouble is waited out."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.follower.run())
            group.create_task(self._keep_fresh())

    def status(self, catalog: Catalog) -> list[Belief]:
        """Say what is believed of each model that answers chats, as routing sees it now."""
        beliefs = self.current
        return [
            Belief(model.name, tier, quality(model, tier, evidence), evidence.weight)
            for model in catalog.models.values()
            if "embeddings" not in model.capabilities
            for tier in TIERS
            for evidence in [beliefs.of(model, tier)]
        ]

    async def read(self, cursor: str, limit: int) -> ReadLedgerResponse:
        """Return the feedback behind *cursor*; the rest of the ledger is not looked at."""
        return await self._reader.read_feedback(cursor, limit)

    async def apply(self, conn: Connection, rows: Sequence[LedgerRow]) -> None:
        """Add the outcomes of feedback rows; of a later revision only the difference."""
        skips = Skips(CONSUMER)
        for row in rows:
            outcome = outcome_of(_json(row.details_json))
            if outcome is None or not row.model:
                skips.add(row, "no_score")
            elif (difficulty := await _difficulty(conn, UUID(row.request_id))) is None:
                skips.add(row, "no_difficulty")
            else:
                await _apply(conn, row, difficulty, outcome)
        skips.report()

    async def refresh(self) -> None:
        """
        Read the sums again.

        Raises:
            Unavailable, TimedOut: Postgres is silent; what was known stays.
        """
        async with connection(self._pool) as conn:
            cells = await conn.fetch("SELECT model, difficulty, weight, total FROM router.learned")
            lengths = dict(self.current.output_tokens)
            if time.monotonic() - self._lengths_at >= LENGTHS_EVERY_S:
                lengths |= await _answer_lengths(conn)
                self._lengths_at = time.monotonic()
        evidence = {(c["model"], c["difficulty"]): Evidence(c["weight"], c["total"]) for c in cells}
        sane = {cell: found for cell, found in evidence.items() if found.sane}
        _REFUSED.set(len(evidence) - len(sane))
        self.current = Beliefs(sane, lengths)

    async def _keep_fresh(self) -> None:
        while True:
            try:
                await self.refresh()
                self._troubled = False
            except Failure as failure:
                if not self._troubled:
                    log.warning("learning goes on with what it knows", reason=failure.message)
                self._troubled = True
            await asyncio.sleep(self._refresh_every_s)


def _json(details: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(details)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


async def _difficulty(conn: Connection, request_id: UUID) -> Tier | None:
    """Return how hard the request was judged when it was decided; its closed row says."""
    tier = await conn.fetchval(
        "SELECT details #>> '{complexity,tier}' FROM router.ledger"
        " WHERE attempt_id = $1 AND kind = $2",
        request_id,
        Kind.CLOSED,
    )
    return next((known for known in TIERS if known == tier), None)


async def _apply(conn: Connection, row: LedgerRow, difficulty: Tier, outcome: float) -> None:
    request_id = UUID(row.request_id)
    before = await conn.fetchrow(
        "SELECT revision, model, difficulty, outcome, weight FROM router.outcomes"
        " WHERE request_id = $1",
        request_id,
    )
    if before is not None:
        if before["revision"] >= row.revision:
            return
        took = -before["weight"]
        await _add(conn, before["model"], before["difficulty"], took, took * before["outcome"])
    await conn.execute(
        """
        INSERT INTO router.outcomes (request_id, revision, model, difficulty, outcome, weight)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (request_id) DO UPDATE
           SET revision = excluded.revision, model = excluded.model,
               difficulty = excluded.difficulty, outcome = excluded.outcome,
               weight = excluded.weight, applied_at = now()
        """,
        request_id,
        row.revision,
        row.model,
        difficulty,
        outcome,
        WEIGHT,
    )
    await _add(conn, row.model, difficulty, WEIGHT, WEIGHT * outcome)


async def _add(conn: Connection, model: str, difficulty: str, weight: float, total: float) -> None:
    await conn.execute(
        """
        INSERT INTO router.learned AS known (model, difficulty, weight, total)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (model, difficulty) DO UPDATE
           SET weight = known.weight + excluded.weight, total = known.total + excluded.total,
               updated_at = now()
        """,
        model,
        difficulty,
        weight,
        total,
    )


async def _answer_lengths(conn: Connection) -> dict[str, float]:
    """Return the mean output tokens of each model's newest answers."""
    found = await conn.fetch(
        f"""
        SELECT model, avg(output_tokens)::double precision AS tokens
          FROM (SELECT model, output_tokens
                  FROM router.ledger
                 WHERE kind = {Kind.SETTLED:d} AND outcome = 'ok' AND NOT estimated
                 ORDER BY epoch DESC, xact_id DESC, seq DESC
                 LIMIT {LENGTHS_FROM}) AS newest
         GROUP BY model
        """  # noqa: S608 - constants only
    )
    return {row["model"]: row["tokens"] for row in found if row["model"]}
