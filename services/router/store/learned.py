"""
What was learned from feedback, in Postgres and in memory.

Feedback is applied from the ledger, by whichever replica comes first, exactly once; every replica
reads the sums again every few seconds. While Postgres is silent, the last known ones stand.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import structlog
from optimizer.router.v1.ledger_pb2 import LedgerRow, ReadLedgerResponse
from prometheus_client import Gauge

from common.errors import Failure
from common.ledger_follower import LedgerFollower
from common.ledger_rows import Skips
from common.postgres import Connection, Pool, connection, transaction
from services.router.domain.beliefs import LENGTHS, NOTHING_LEARNED, Beliefs
from services.router.domain.catalog import Catalog, Tier
from services.router.domain.complexity import TIERS, thresholds_of
from services.router.domain.gate import Comparison
from services.router.domain.learning import NO_EVIDENCE, Evidence, fits
from services.router.domain.outcome import WEIGHT, outcome_of
from services.router.domain.vector import SIZE, Floats
from services.router.store import outcomes, recent
from services.router.store.ledger_reader import LedgerReader
from services.router.store.refits import refit_if_due

REFRESH_EVERY_S = 5.0
RECENT_EVERY_S = 60.0
CONSUMER = "router"
UNITS: Mapping[Tier, float] = {"simple": -1.0, "moderate": 0.0, "complex": 1.0}  # of difficulty

log = structlog.get_logger()
_REFUSED = Gauge("optimizer_learning_cells_refused", "Absurd sums; the prior stands in for them.")
_FALLEN_BACK = Gauge(
    "optimizer_hybrid_fallen_back", "1: hybrid did worse than complexity, which decides now."
)


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of one model on prompts of one difficulty that resemble no known kind."""

    model: str
    difficulty: Tier
    quality: float
    evidence: float  # weight of the outcomes behind it, the prior's left out


class Learned:
    """
    Args:
        pool: Of the router's schema.
        catalog: Says the declared capability that a re-fit starts from.
        refresh_every_s: How old what is believed may be.
    """

    def __init__(
        self,
        pool: Pool,
        catalog: Callable[[], Catalog] | None = None,
        *,
        refresh_every_s: float = REFRESH_EVERY_S,
    ) -> None:
        self._pool = pool
        self._catalog = catalog
        self._reader = LedgerReader(pool)
        self._refresh_every_s = refresh_every_s
        self._recent_at = -RECENT_EVERY_S
        self._troubled = False
        self.current: Beliefs = NOTHING_LEARNED
        self.follower = LedgerFollower(
            schema=CONSUMER,
            pool=pool,
            read=self.read,
            apply=self.apply,
            poll_s=refresh_every_s,
            after_apply=self._after_apply,
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
            Belief(model.name, tier, max(0.0, min(quality, 1.0)), believed.evidence)
            for model in catalog.models.values()
            if "embeddings" not in model.capabilities
            for believed in [beliefs.of(model)]
            for tier in TIERS
            for quality, _ in [believed.expect(_usual(tier))]
        ]

    async def read(self, cursor: str, limit: int) -> ReadLedgerResponse:
        """Return the feedback behind *cursor*; the rest of the ledger is not looked at."""
        return await self._reader.read_feedback(cursor, limit)

    async def apply(self, conn: Connection, rows: Sequence[LedgerRow]) -> None:
        """Learn the outcomes of feedback rows; of a later revision only the difference."""
        skips = Skips(CONSUMER)
        for row in rows:
            outcome = outcome_of(_json(row.details_json))
            if outcome is None or not row.model:
                skips.add(row, "no_score")
                continue
            prompt = await outcomes.prompt_of(conn, UUID(row.request_id))
            if prompt is None:
                skips.add(row, "no_features")
            else:
                await outcomes.apply(conn, row, prompt, outcome, WEIGHT)
        skips.report()

    async def refresh(self) -> None:
        """
        Read the sums again.

        Raises:
            Unavailable, TimedOut: Postgres is silent; what was known stays.
        """
        async with connection(self._pool) as conn:
            cells = await conn.fetch("SELECT model, state FROM router.evidence")
            fitted = await conn.fetch("SELECT model, correction FROM router.corrections")
            compared = await recent.compared(conn)
            lengths, thresholds = self.current.output_tokens, self.current.thresholds
            usual = self.current.usual_cost_nano_usd
            if time.monotonic() - self._recent_at >= RECENT_EVERY_S:
                lengths = {**lengths, **await recent.answer_lengths(conn)}
                thresholds = thresholds_of(await recent.scores(conn))
                usual = await recent.usual_cost(conn)
                self._recent_at = time.monotonic()
        evidence = {cell["model"]: Evidence.unpack(cell["state"]) for cell in cells}
        corrections = {one["model"]: _correction(one["correction"]) for one in fitted}
        sane = {model: found for model, found in evidence.items() if found is not None}
        usable = {model: found for model, found in corrections.items() if found is not None}
        _REFUSED.set(len(evidence) - len(sane) + len(corrections) - len(usable))
        self.current = Beliefs(
            evidence=sane,
            lengths=sane.pop(LENGTHS, NO_EVIDENCE),
            usual_cost_nano_usd=usual,
            corrections=usable,
            output_tokens=lengths,
            thresholds=thresholds,
            fallen_back=self._judge(compared),
        )

    def _judge(self, compared: Comparison) -> bool:
        lost = compared.lost
        if lost and not self.current.fallen_back:
            log.warning("hybrid_fell_back", most=compared.most, treated=len(compared.treated))
        _FALLEN_BACK.set(lost)
        return lost

    async def _after_apply(self) -> None:
        if self._catalog is not None:
            models = self._catalog().models.values()
            capabilities = {model.name: model.capability for model in models}
            async with transaction(self._pool) as conn:
                await refit_if_due(conn, capabilities)
        await self.refresh()

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


def _usual(tier: Tier) -> Floats:
    phi = np.zeros(SIZE)
    phi[0], phi[1] = 1.0, UNITS[tier]
    return phi


def _json(details: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(details)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _correction(kept: bytes) -> Floats | None:
    try:
        found = np.frombuffer(kept, "<f8").astype(np.float64)
    except ValueError:
        return None
    return found if fits(found) else None
