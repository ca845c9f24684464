"""Outcomes of rated requests, and the evidence that they add up to: `router.outcomes`."""

from base64 import b64decode
from binascii import Error
from dataclasses import dataclass
from uuid import UUID

from optimizer.router.v1.ledger_pb2 import LedgerRow

from common.postgres import Connection
from services.router.domain.beliefs import LENGTHS, length_outcome
from services.router.domain.entries import Kind
from services.router.domain.learning import NO_EVIDENCE, Evidence
from services.router.domain.vector import Floats, packed, unpacked

ROLES = ("plain", "treated", "control", "explored")


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What is kept of a prompt."""

    phi: Floats
    role: str  # why its model was chosen
    output_tokens: int  # of the answer


async def prompt_of(conn: Connection, request_id: UUID) -> Prompt | None:
    """Return what was kept when the request was decided; its closed row says."""
    found = await conn.fetchrow(
        "SELECT details #>> '{learning,features}' AS features,"
        "       details #>> '{learning,role}' AS role, output_tokens"
        "  FROM router.ledger WHERE attempt_id = $1 AND kind = $2",
        request_id,
        Kind.CLOSED,
    )
    if found is None or found["features"] is None:
        return None
    try:
        phi = unpacked(b64decode(found["features"], validate=True))
    except (Error, ValueError):
        return None
    role = found["role"] if found["role"] in ROLES else "plain"
    return None if phi is None else Prompt(phi, role, found["output_tokens"])


async def apply(
    conn: Connection, row: LedgerRow, prompt: Prompt, outcome: float, weight: float
) -> None:
    """Learn an outcome; of a revised one, the difference. An older revision changes nothing."""
    request_id = UUID(row.request_id)
    before = await conn.fetchrow(
        "SELECT revision, model, outcome, weight, features, place FROM router.outcomes"
        " WHERE request_id = $1",
        request_id,
    )
    if before is not None and before["revision"] >= row.revision:
        return
    evidence = await _evidence(conn, row.model)
    phi = unpacked(before["features"]) if before is not None and before["features"] else None
    if before is not None and phi is not None and before["model"] == row.model:
        change = before["weight"] * (outcome - before["outcome"])
        evidence = evidence.revise(phi, change, later=evidence.outcomes - before["place"])
        place = before["place"]
    else:
        evidence = evidence.learn(prompt.phi, outcome, weight)
        place = evidence.outcomes
        if prompt.output_tokens:
            lengths = await _evidence(conn, LENGTHS)
            length = length_outcome(prompt.output_tokens)
            await _keep(conn, LENGTHS, lengths.learn(prompt.phi, length))
    await _keep(conn, row.model, evidence)
    await conn.execute(
        """
        INSERT INTO router.outcomes
               (request_id, revision, model, outcome, weight, features, role, place)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (request_id) DO UPDATE
           SET revision = excluded.revision, model = excluded.model, outcome = excluded.outcome,
               weight = excluded.weight, features = excluded.features, role = excluded.role,
               place = excluded.place, applied_at = now()
        """,
        request_id,
        row.revision,
        row.model,
        outcome,
        weight,
        packed(prompt.phi),
        prompt.role,
        place,
    )


async def _evidence(conn: Connection, model: str) -> Evidence:
    """Return the evidence on *model*; none where what is kept is absurd: it starts again."""
    kept = await conn.fetchval("SELECT state FROM router.evidence WHERE model = $1", model)
    return (Evidence.unpack(kept) if kept else None) or NO_EVIDENCE


async def _keep(conn: Connection, model: str, evidence: Evidence) -> None:
    await conn.execute(
        """
        INSERT INTO router.evidence (model, state) VALUES ($1, $2)
        ON CONFLICT (model) DO UPDATE SET state = excluded.state, updated_at = now()
        """,
        model,
        evidence.pack(),
    )
