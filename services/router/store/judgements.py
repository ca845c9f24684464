"""Outcomes of requests, and the evidence that they add up to: `router.judgements`, in batches."""

from base64 import b64decode
from binascii import Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from optimizer.router.v1.ledger_pb2 import LedgerRow

from common.ids import time_of
from common.ledger_rows import Skips
from common.postgres import Connection
from services.router.domain.beliefs import FAULTS, LENGTHS, VERDICTS, length_outcome
from services.router.domain.entries import Kind
from services.router.domain.outcome import SAID, SAID_WEIGHT, SEEN, SIGNS, Source, outcome_of
from services.router.domain.vector import Floats, unpacked
from services.router.domain.verifier import NAMES, vector_of, wrong_outcome
from services.router.store.evidence import FINE, Evidences, Judgement
from services.router.store.last_asked import LastAsked, Question

ROLES = ("plain", "treated", "control", "explored")
AGAIN_WITHIN = timedelta(minutes=10)
MOST_FAILED = 20  # models that one request can have tried


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What the closed row of a request keeps for learning."""

    phi: Floats
    packed: bytes
    role: str
    pattern: str
    sign: Source | None
    failed: Sequence[str]
    checks: Mapping[str, float] | None
    escalated: bool
    agreed: bool

    @classmethod
    def read(cls, learning: Any) -> "Kept | None":
        """Trust nothing: None without a φ, and what makes no sense is not there."""
        if not isinstance(learning, Mapping):
            return None
        try:
            packed = b64decode(learning.get("features") or "", validate=True)
        except (Error, ValueError, TypeError):
            return None
        phi = unpacked(packed)
        if phi is None:
            return None
        signs, failed = _list(learning.get("signs")), _list(learning.get("failed"))
        role, pattern = learning.get("role"), learning.get("pattern")
        return cls(
            phi,
            packed,
            role if role in ROLES else "plain",
            pattern[:50] if isinstance(pattern, str) and pattern else "other",
            next((sign for sign in signs if sign in SIGNS), None),
            [name for name in failed if isinstance(name, str)][:MOST_FAILED],
            _checks(learning.get("checks")),
            learning.get("escalated") is True,
            learning.get("agreed") is True,
        )


class Batch:
    """Applies the rows of one page, in their order, within one transaction."""

    def __init__(self, conn: Connection, skips: Skips) -> None:
        self._conn = conn
        self._skips = skips
        self._evidence = Evidences(conn)
        self._asked = LastAsked(conn)

    async def apply(self, rows: Sequence[LedgerRow]) -> None:
        await self._asked.load({(row.tenant, row.user_id) for row in rows if _may_repeat(row)})
        for row in rows:
            if row.kind == LedgerRow.KIND_CLOSED:
                await self._closed(row)
            elif row.kind == LedgerRow.KIND_FEEDBACK:
                await self._feedback(row)
        await self._evidence.save()
        await self._asked.save()

    async def _closed(self, row: LedgerRow) -> None:
        kept = Kept.read(_json(row.details_json))
        if kept is None or row.cache_hit:
            return  # nothing was asked of anyone, or before learning kept anything
        for model in kept.failed:
            await self._see(row, kept, model, "failed")
        if row.outcome != "ok" or not row.model:
            return
        if kept.sign:
            await self._see(row, kept, row.model, kept.sign)
        else:
            await self._evidence.learn(FAULTS + row.model, kept.phi, FINE)
        if row.output_tokens:
            length = length_outcome(row.output_tokens)
            await self._evidence.learn(LENGTHS, kept.phi, length)
        if row.user_id:
            await self._asked_again(row, kept)

    async def _asked_again(self, row: LedgerRow, kept: Kept) -> None:
        """Hold it against the last answer if its user asks the same once more."""
        asked_at = time_of(UUID(row.request_id))
        before = self._asked.of(row.tenant, row.user_id)
        if (
            before is not None
            and before.features == kept.packed
            and timedelta(0) <= asked_at - before.asked_at <= AGAIN_WITHIN
            and await self._evidence.judged(before.request_id, before.model) is None
        ):
            phi = unpacked(before.features)
            if phi is not None:
                outcome, weight = SEEN["regenerated"]
                await self._evidence.judge(
                    Judgement(
                        request_id=before.request_id,
                        model=before.model,
                        source="regenerated",
                        revision=0,
                        outcome=outcome,
                        weight=weight,
                        features=before.features,
                        role=before.role,
                        pattern=before.pattern,
                        who=_who(row),
                    ),
                    phi,
                )
        self._asked.put(
            row.tenant,
            row.user_id,
            Question(
                UUID(row.request_id), row.model, kept.packed, kept.role, kept.pattern, asked_at
            ),
        )

    async def _see(self, row: LedgerRow, kept: Kept, model: str, source: Source) -> None:
        judgement = _judgement(row, kept, model, source, SEEN[source])
        await self._evidence.judge(judgement, kept.phi)

    async def _feedback(self, row: LedgerRow) -> None:
        said = outcome_of(_json(row.details_json) or {})
        if said is None or not row.model:
            self._skips.add(row, "no_score")
            return
        kept = await self._kept(UUID(row.request_id))
        if kept is None:
            self._skips.add(row, "no_features")
            return
        source, outcome = said
        before = await self._evidence.judged(UUID(row.request_id), row.model)
        if before is not None and before.revision >= row.revision:
            return
        first = before is None or before.source not in SAID
        judgement = _judgement(row, kept, row.model, source, (outcome, SAID_WEIGHT))
        await self._evidence.judge(judgement, kept.phi)
        if first and kept.checks is not None:
            wrong = wrong_outcome(outcome, escalated=kept.escalated, agreed=kept.agreed)
            if wrong is not None:
                checks = {**dict.fromkeys(NAMES, 0.0), **kept.checks}
                await self._evidence.learn(VERDICTS, vector_of(checks), wrong)

    async def _kept(self, request_id: UUID) -> Kept | None:
        """Return what the closed row of a request keeps."""
        details = await self._conn.fetchval(
            "SELECT details->'learning' FROM router.ledger WHERE attempt_id = $1 AND kind = $2",
            request_id,
            Kind.CLOSED,
        )
        return Kept.read(_json(details.encode())) if details else None


def _judgement(
    row: LedgerRow, kept: Kept, model: str, source: Source, outcome: tuple[float, float]
) -> Judgement:
    """Args: outcome: With its weight."""
    return Judgement(
        request_id=UUID(row.request_id),
        model=model,
        source=source,
        revision=row.revision,
        outcome=outcome[0],
        weight=outcome[1],
        features=kept.packed,
        role=kept.role,
        pattern=kept.pattern,
        who=_who(row),
    )


def _who(row: LedgerRow) -> str | None:
    """Hash the user; None: nobody was named, so nobody can be told apart."""
    if not row.user_id:
        return None
    return sha256(f"{row.tenant}\0{row.user_id}".encode()).hexdigest()[:32]


def _may_repeat(row: LedgerRow) -> bool:
    return row.kind == LedgerRow.KIND_CLOSED and bool(row.user_id) and not row.cache_hit


def _checks(found: Any) -> Mapping[str, float] | None:
    if not isinstance(found, Mapping):
        return None
    return {
        name: min(max(float(value), 0.0), 1.0)
        for name, value in found.items()
        if name in NAMES and isinstance(value, int | float)
    }


def _list(found: Any) -> Sequence[Any]:
    return found if isinstance(found, list) else ()


def _json(details: bytes) -> Mapping[str, Any] | None:
    try:
        found = orjson.loads(details) if details else None
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
