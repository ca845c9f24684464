"""
What was learned, in Postgres and in memory.

The ledger is followed by whichever replica comes first, each row exactly once; every replica reads
the sums again every few seconds. While Postgres is silent, the last known ones stand.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import structlog
from optimizer.router.v1.ledger_pb2 import LedgerRow, ReadLedgerResponse
from prometheus_client import Gauge

from common.errors import Conflict, Failure
from common.ledger_follower import LedgerFollower
from common.ledger_rows import Skips
from common.postgres import Connection, Pool, connection, transaction
from services.router.domain.beliefs import FAULTS, LENGTHS, NOTHING_LEARNED, VERDICTS, Beliefs
from services.router.domain.catalog import Catalog, Tier
from services.router.domain.complexity import TIERS, thresholds_of
from services.router.domain.gate import Comparison
from services.router.domain.learning import NO_EVIDENCE, Evidence, correction_of
from services.router.domain.refit import Refit
from services.router.domain.vector import SIZE, Floats
from services.router.store import learning_rows, recent, refits
from services.router.store.judgements import Batch
from services.router.store.ledger_reader import LedgerReader
from services.router.store.refits import LastRefit

REFRESH_EVERY_S = 5.0
RECENT_EVERY_S = 60.0
PAGE_ROWS = 500  # of the ledger at a time: applying them holds up completions for milliseconds
CONSUMER = "router"
UNITS = {"simple": -1.0, "moderate": 0.0, "complex": 1.0}  # of difficulty, by tier

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
    spread: float
    evidence: float  # weight of the outcomes behind it, the prior's left out
    outcomes: int  # ever


@dataclass(frozen=True, slots=True)
class Status:
    """How learning stands."""

    models: Sequence[Belief]
    outcomes: int  # of all models, ever
    comparison: Comparison
    last_refit: LastRefit | None
    refused: int  # kept states that were absurd
    beliefs: Beliefs


@dataclass(frozen=True, slots=True)
class Retrained:
    before: Sequence[Belief]
    after: Sequence[Belief]
    outcomes: int


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
        catalog: Callable[[], Catalog],
        *,
        refresh_every_s: float = REFRESH_EVERY_S,
    ) -> None:
        self._pool = pool
        self._catalog = catalog
        self._reader = LedgerReader(pool)
        self._refresh_every_s = refresh_every_s
        self._recent_at = -RECENT_EVERY_S
        self._troubled = False
        self._refused = 0
        self._comparison = Comparison([], [])
        self._last_refit: LastRefit | None = None
        self.current: Beliefs = NOTHING_LEARNED
        self.follower = LedgerFollower(
            schema=CONSUMER,
            pool=pool,
            read=self.read,
            apply=self.apply,
            limit=PAGE_ROWS,
            poll_s=refresh_every_s,
        )

    async def run(self) -> None:
        """Follow the ledger and what others made of it, for ever; trouble is waited out."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.follower.run())
            group.create_task(self._keep_fresh())

    def status(self) -> Status:
        """Say what is believed of each model that answers chats, as routing sees it now."""
        evidence = self.current.evidence.values()
        return Status(
            _believed(self.current, self._catalog()),
            sum(one.outcomes for one in evidence),
            self._comparison,
            self._last_refit,
            self._refused,
            self.current,
        )

    async def retrain(self, *, dry_run: bool) -> Retrained:
        """
        Fit the prior of every model anew to the outcomes that are kept.

        Raises:
            Conflict: another replica is at it.
            Unavailable, TimedOut: Postgres is silent.
        """
        await self.refresh()
        before = self.current
        async with transaction(self._pool) as conn:
            if not await refits.take_turn(conn):
                raise Conflict("another router is fitting the prior right now; try again")
            found = await refits.fit(conn, self._catalog())
            if not dry_run:
                await refits.keep(conn, found)
        if not dry_run:
            await self.refresh()
        catalog = self._catalog()
        after = _with(before, found)
        return Retrained(_believed(before, catalog), _believed(after, catalog), found.outcomes)

    async def read(self, cursor: str, limit: int) -> ReadLedgerResponse:
        """Return what learning needs of the rows behind *cursor*; retention waits for us."""
        page = await learning_rows.read(self._pool, cursor, limit)
        await self._reader.note(CONSUMER, cursor)
        return page

    async def apply(self, conn: Connection, rows: Sequence[LedgerRow]) -> None:
        """Learn what happened to requests, and what was said of them."""
        skips = Skips(CONSUMER)
        await Batch(conn, skips).apply(rows)
        skips.report()

    async def known(self) -> Beliefs:
        """
        Return what is learned now; read it first if nobody has, as just after a start.

        Raises:
            Unavailable, TimedOut: Postgres is silent, and was never read.
        """
        if self.current is NOTHING_LEARNED:
            await self.refresh()
        return self.current

    async def refresh(self) -> None:
        """
        Read the sums again.

        Raises:
            Unavailable, TimedOut: Postgres is silent; what was known stays.
        """
        async with connection(self._pool) as conn:
            cells = await conn.fetch("SELECT name, state FROM router.evidence")
            fitted = await conn.fetch("SELECT model, correction FROM router.corrections")
            self._last_refit = await refits.last(conn)
            compared = await recent.compared(conn)
            lengths, thresholds = self.current.output_tokens, self.current.thresholds
            usual = self.current.usual_cost_nano_usd
            if time.monotonic() - self._recent_at >= RECENT_EVERY_S:
                lengths = {**lengths, **await recent.answer_lengths(conn)}
                thresholds = thresholds_of(await recent.scores(conn))
                usual = await recent.usual_cost(conn)
                self._recent_at = time.monotonic()
        evidence = {cell["name"]: Evidence.unpack(cell["state"]) for cell in cells}
        corrections = {one["model"]: correction_of(one["correction"]) for one in fitted}
        sane = {model: found for model, found in evidence.items() if found is not None}
        usable = {model: found for model, found in corrections.items() if found is not None}
        self._refused = len(evidence) - len(sane) + len(corrections) - len(usable)
        _REFUSED.set(self._refused)
        self.current = Beliefs(
            lengths=sane.pop(LENGTHS, NO_EVIDENCE),
            verdicts=sane.pop(VERDICTS, NO_EVIDENCE),
            faults={
                name.removeprefix(FAULTS): sane.pop(name)
                for name in list(sane)
                if name.startswith(FAULTS)
            },
            evidence=sane,
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
        self._comparison = compared
        _FALLEN_BACK.set(lost)
        return lost

    async def _keep_fresh(self) -> None:
        checked_at = -RECENT_EVERY_S
        while True:
            try:
                await self.refresh()
                if time.monotonic() - checked_at >= RECENT_EVERY_S:
                    checked_at = time.monotonic()
                    with suppress(Conflict):  # another replica is at it
                        await self._refit_if_due()
                self._troubled = False
            except Failure as failure:
                if not self._troubled:
                    log.warning("learning goes on with what it knows", reason=failure.message)
                self._troubled = True
            await asyncio.sleep(self._refresh_every_s)

    async def _refit_if_due(self) -> None:
        async with connection(self._pool) as conn:
            due = await refits.due(conn)
        if due:
            retrained = await self.retrain(dry_run=False)
            log.info("prior_fitted_anew", outcomes=retrained.outcomes)


def _believed(beliefs: Beliefs, catalog: Catalog) -> list[Belief]:
    return [
        Belief(
            model.name,
            tier,
            max(0.0, min(quality, 1.0)) * (1 - beliefs.fault_ratio(model, _usual(tier))),
            spread,
            believed.evidence,
            beliefs.evidence.get(model.name, NO_EVIDENCE).outcomes,
        )
        for model in catalog.models.values()
        if "embeddings" not in model.capabilities
        for believed in [beliefs.of(model)]
        for tier in TIERS
        for quality, spread in [believed.expect(_usual(tier))]
    ]


def _with(beliefs: Beliefs, found: Refit) -> Beliefs:
    return Beliefs(
        evidence=beliefs.evidence,
        faults=beliefs.faults,
        corrections={**beliefs.corrections, **found.corrections},
    )


def _usual(tier: Tier) -> Floats:
    phi = np.zeros(SIZE)
    phi[0], phi[1] = 1.0, UNITS[tier]
    return phi
