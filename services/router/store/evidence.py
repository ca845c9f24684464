"""
The evidence on each model while a batch is applied: read once, changed in memory, written once.

Tables: `router.evidence`, `router.evidence_shares`, `router.judgements`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog

from common.ids import time_of
from common.postgres import Connection
from services.router.domain.learning import FADING, NO_EVIDENCE, Evidence
from services.router.domain.outcome import LEAST_WEIGHT, Source, capped, rated_share
from services.router.domain.vector import Floats

MOST_COUNTED = 5_000  # answers: beyond it both counts are halved, so that they follow change

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
    evidence: Evidence
    answered: float
    rated: float
    shares: dict[str, tuple[float, int]] = field(default_factory=dict)  # weight, place; by user


class Evidences:
    """Args: conn: Within the transaction that moves the cursor."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._cells: dict[str, _Cell] = {}
        self._judged: dict[tuple[UUID, str], tuple[Judgement, int]] = {}  # with its place

    async def answered(self, model: str) -> None:
        """Count an answer that showed no fault."""
        cell = await self._cell(model)
        cell.answered += 1
        if cell.answered > MOST_COUNTED:
            cell.answered, cell.rated = cell.answered / 2, cell.rated / 2

    async def was_rated(self, model: str) -> None:
        """Count that somebody rated such an answer."""
        cell = await self._cell(model)
        cell.rated += 1

    async def rated_share(self, model: str) -> float:
        cell = await self._cell(model)
        return rated_share(cell.answered, cell.rated)

    async def learn(self, name: str, phi: Floats, outcome: float, weight: float) -> None:
        """Add an outcome that is nobody's judgement: a length, a verdict."""
        cell = await self._cell(name)
        cell.evidence = cell.evidence.learn(phi, outcome, weight)

    async def judge(self, judgement: Judgement, phi: Floats) -> None:
        """Learn *judgement*; of one that was applied before, the difference."""
        cell = await self._cell(judgement.model)
        before = await self.judged(judgement.request_id, judgement.model)
        weight = await self._allowed(cell, judgement, before)
        outcome = (judgement.outcome, weight)
        if before is not None:
            later = cell.evidence.outcomes - before.place
            was = (before.outcome, before.weight)
            cell.evidence = cell.evidence.revise(phi, was, outcome, later=later)
            place = before.place
        else:
            if weight:
                cell.evidence = cell.evidence.learn(phi, *outcome)
            place = cell.evidence.outcomes
        key = (judgement.request_id, judgement.model)
        self._judged[key] = (replace(judgement, weight=weight), place)

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
        await self._conn.executemany(
            """
            INSERT INTO router.evidence (model, state, answered, rated) VALUES ($1, $2, $3, $4)
            ON CONFLICT (model) DO UPDATE
               SET state = excluded.state, answered = excluded.answered, rated = excluded.rated,
                   updated_at = now()
            """,
            [(m, c.evidence.pack(), c.answered, c.rated) for m, c in self._cells.items()],
        )
        await self._conn.executemany(
            """
            INSERT INTO router.evidence_shares (model, who, weight, place) VALUES ($1, $2, $3, $4)
            ON CONFLICT (model, who) DO UPDATE
               SET weight = excluded.weight, place = excluded.place
            """,
            [(m, who, *own) for m, c in self._cells.items() for who, own in c.shares.items()],
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
        own = await self._own(cell, judgement.model, judgement.who)
        everyone = cell.evidence.weight
        if before is not None:  # it takes the place of what is there
            faded = before.weight * FADING ** max(cell.evidence.outcomes - before.place, 0)
            own, everyone = max(own - faded, 0.0), max(everyone - faded, 0.0)
        weight = capped(judgement.weight, own=own, everyone=everyone)
        weight = weight if weight >= LEAST_WEIGHT else 0.0
        after = cell.evidence.outcomes + (1 if weight and before is None else 0)
        cell.shares[judgement.who] = (own + weight, after)
        return weight

    async def _own(self, cell: _Cell, model: str, who: str) -> float:
        """Return what one user's outcomes of *model* weigh by now."""
        known = cell.shares.get(who)
        if known is None:
            row = await self._conn.fetchrow(
                "SELECT weight, place FROM router.evidence_shares WHERE model = $1 AND who = $2",
                model,
                who,
            )
            known = (row["weight"], row["place"]) if row else (0.0, 0)
        weight, place = known
        return weight * FADING ** max(cell.evidence.outcomes - place, 0)

    async def _cell(self, model: str) -> _Cell:
        cell = self._cells.get(model)
        if cell is None:
            row = await self._conn.fetchrow(
                "SELECT state, answered, rated FROM router.evidence WHERE model = $1", model
            )
            cell = self._cells[model] = _read(model, row)
        return cell


def _read(model: str, row: Mapping[str, object] | None) -> _Cell:
    """Read what is kept; where it is absurd, begin again."""
    if row is None:
        return _Cell(NO_EVIDENCE, 0.0, 0.0)
    state, answered, rated = row["state"], row["answered"], row["rated"]
    evidence = Evidence.unpack(state) if isinstance(state, bytes) else None
    counts = isinstance(answered, float) and isinstance(rated, float) and 0 <= rated <= answered
    if evidence is None:
        log.warning("absurd_evidence_begins_again", model=model)
        return _Cell(NO_EVIDENCE, 0.0, 0.0)
    if not counts:
        return _Cell(evidence, 0.0, 0.0)
    return _Cell(evidence, float(str(answered)), float(str(rated)))
