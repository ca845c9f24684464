"""
The evidence while a batch is applied: read once, changed in memory, written once.

Tables: `router.evidence`, `router.evidence_shares`, `router.judgements`.
"""

from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog

from common.ids import time_of
from common.postgres import Connection
from services.router.domain.beliefs import FAULTS
from services.router.domain.learning import FADING, NO_EVIDENCE, Evidence
from services.router.domain.outcome import LEAST_WEIGHT, SAID, Source, capped
from services.router.domain.vector import Floats

FINE, FAULTY = 0.0, 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Judgement:
    """An outcome of one model on one request."""

    request_id: UUID
    model: str
    source: Source
    revision: int
    outcome: float
    weight: float
    features: bytes
    role: str
    pattern: str
    who: str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """As it was applied before."""

    source: str
    revision: int
    outcome: float
    weight: float
    place: int


@dataclass(slots=True, eq=False)
class _Cell:
    name: str
    evidence: Evidence
    shares: dict[str, tuple[float, int]] = field(default_factory=dict)  # weight, place; by user


class Evidences:
    """Args: conn: Within the transaction that moves the cursor."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._cells: dict[str, _Cell] = {}
        self._judged: dict[tuple[UUID, str], tuple[Judgement, int]] = {}  # with its place

    async def learn(self, name: str, phi: Floats, outcome: float, weight: float = 1.0) -> None:
        """Add an outcome that is nobody's judgement: a length, a verdict, a faultless answer."""
        cell = await self._cell(name)
        cell.evidence = cell.evidence.learn(phi, outcome, weight)

    async def judge(self, judgement: Judgement, phi: Floats) -> None:
        """Learn *judgement*; of one that was applied before, the difference."""
        before = await self.judged(judgement.request_id, judgement.model)
        if before is not None and before.source not in SAID and judgement.source in SAID:
            await self._take_back(judgement.model, phi, before)
            before = None
        said = judgement.source in SAID
        cell = await self._cell(judgement.model if said else FAULTS + judgement.model)
        weight = await self._allowed(cell, judgement, before)
        outcome = judgement.outcome if said else FAULTY - judgement.outcome
        if before is not None:
            was = (before.outcome if said else FAULTY - before.outcome, before.weight)
            later = cell.evidence.outcomes - before.place
            cell.evidence = cell.evidence.revise(phi, was, (outcome, weight), later=later)
            place = before.place
        else:
            if weight:
                cell.evidence = cell.evidence.learn(phi, outcome, weight)
            place = cell.evidence.outcomes
        key = (judgement.request_id, judgement.model)
        self._judged[key] = (replace(judgement, weight=weight), place)

    async def _take_back(self, model: str, phi: Floats, seen: Judged) -> None:
        """Call an answer fine in which a fault was seen: its reader knows better."""
        cell = await self._cell(FAULTS + model)
        was = (FAULTY - seen.outcome, seen.weight)
        later = cell.evidence.outcomes - seen.place
        cell.evidence = cell.evidence.revise(phi, was, (FINE, seen.weight), later=later)

    async def judged(self, request_id: UUID, model: str) -> Judged | None:
        """Return what was applied of one model's answer to one request."""
        if found := self._judged.get((request_id, model)):
            one, place = found
            return Judged(one.source, one.revision, one.outcome, one.weight, place)
        row = await self._conn.fetchrow(
            "SELECT source, revision, outcome, weight, place FROM router.judgements"
            " WHERE request_id = $1 AND model = $2",
            request_id,
            model,
        )
        return Judged(**row) if row else None

    async def save(self) -> None:
        cells = self._cells.values()
        await self._conn.executemany(
            """
            INSERT INTO router.evidence (name, state) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = now()
            """,
            [(cell.name, cell.evidence.pack()) for cell in cells],
        )
        await self._conn.executemany(
            """
            INSERT INTO router.evidence_shares (name, who, weight, place) VALUES ($1, $2, $3, $4)
            ON CONFLICT (name, who) DO UPDATE
               SET weight = excluded.weight, place = excluded.place, updated_at = now()
            """,
            [(cell.name, who, *own) for cell in cells for who, own in cell.shares.items()],
        )
        await self._conn.executemany(
            """
            INSERT INTO router.judgements
                   (request_id, model, source, revision, outcome, weight, features, role, pattern,
                    who, place, occurred_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            ON CONFLICT (request_id, model) DO UPDATE
               SET source = excluded.source, revision = excluded.revision,
                   outcome = excluded.outcome, weight = excluded.weight, applied_at = now()
            """,
            [
                (
                    one.request_id,
                    one.model,
                    one.source,
                    one.revision,
                    one.outcome,
                    one.weight,
                    one.features,
                    one.role,
                    one.pattern,
                    one.who,
                    place,
                    time_of(one.request_id),
                )
                for one, place in self._judged.values()
            ],
        )

    async def _allowed(self, cell: _Cell, judgement: Judgement, before: Judged | None) -> float:
        """Return the weight that *judgement* may have, and count it as its user's."""
        if judgement.who is None:
            return judgement.weight
        own = await self._own(cell, judgement.who)
        everyone = cell.evidence.weight
        if before is not None:  # it takes the place of what is there
            faded = before.weight * FADING ** max(cell.evidence.outcomes - before.place, 0)
            own, everyone = max(own - faded, 0.0), max(everyone - faded, 0.0)
        weight = capped(judgement.weight, own=own, everyone=everyone)
        weight = weight if weight >= LEAST_WEIGHT else 0.0
        after = cell.evidence.outcomes + (1 if weight and before is None else 0)
        cell.shares[judgement.who] = (own + weight, after)
        return weight

    async def _own(self, cell: _Cell, who: str) -> float:
        """Return what one user's outcomes weigh by now."""
        known = cell.shares.get(who)
        if known is None:
            row = await self._conn.fetchrow(
                "SELECT weight, place FROM router.evidence_shares WHERE name = $1 AND who = $2",
                cell.name,
                who,
            )
            known = (row["weight"], row["place"]) if row else (0.0, 0)
        weight, place = known
        return weight * FADING ** max(cell.evidence.outcomes - place, 0)

    async def _cell(self, name: str) -> _Cell:
        cell = self._cells.get(name)
        if cell is None:
            state = await self._conn.fetchval(
                "SELECT state FROM router.evidence WHERE name = $1", name
            )
            evidence = NO_EVIDENCE if state is None else Evidence.unpack(state)
            if evidence is None:
                log.warning("absurd_evidence_begins_again", name=name)
            cell = self._cells[name] = _Cell(name, evidence or NO_EVIDENCE)
        return cell
