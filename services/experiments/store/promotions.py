"""Promotions in Postgres. Every query on the table `promotions` lives here."""

from typing import Any

import orjson

from common.errors import Conflict, NotFound
from common.postgres import Connection, Pool, connection, transaction
from services.experiments.domain.experiment import Arm, Promotion
from services.experiments.domain.options import Scope
from services.experiments.store import experiments

_COLUMNS = """
    id, tenant, tag, arm, experiment_id, promoted_at, by, reason, reverted_at, reverted_by"""


async def promote(
    conn: Connection, experiment_id: int, scope: Scope, arm: Arm, *, by: str, reason: str
) -> Promotion | None:
    """Make *arm* the default of *scope*; None if this experiment's winner is it already."""
    row = await conn.fetchrow(
        f"""
        INSERT INTO experiments.promotions (tenant, tag, experiment_id, arm, by, reason)
        VALUES ($1, $2, $3, $4::jsonb, $5, $6)
        ON CONFLICT (experiment_id) WHERE reverted_at IS NULL DO NOTHING
        RETURNING {_COLUMNS}
        """,  # noqa: S608
        scope.tenant,
        scope.tag,
        experiment_id,
        orjson.dumps(
            {"name": arm.name, "strategy": arm.strategy, "parameters": dict(arm.parameters)}
        ).decode(),
        by or "unknown",
        reason,
    )
    if row:
        await experiments.note(conn, experiment_id, "promoted", by=by, reason=reason)
    return _promotion(row) if row else None


class PromotionStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def newest(self, *, everything: bool) -> list[Promotion]:
        """Return what is in force, one for each scope; or everything there ever was."""
        async with connection(self._pool) as conn:
            if everything:
                rows = await conn.fetch(
                    f"SELECT {_COLUMNS} FROM experiments.promotions ORDER BY id DESC LIMIT 1000"  # noqa: S608
                )
            else:
                rows = await conn.fetch(
                    f"""
                    SELECT DISTINCT ON (tenant, tag) {_COLUMNS} FROM experiments.promotions
                    WHERE reverted_at IS NULL ORDER BY tenant, tag, id DESC
                    """  # noqa: S608
                )
        return [_promotion(row) for row in rows]

    async def revert(self, promotion_id: int, *, by: str, reason: str) -> Promotion:
        """
        Take a promotion back: the one before it is in force again.

        Raises:
            NotFound: there is none of that number.
            Conflict: it was taken back already.
        """
        async with transaction(self._pool) as conn:
            row = await conn.fetchrow(
                f"""
                UPDATE experiments.promotions
                SET reverted_at = clock_timestamp(), reverted_by = $2
                WHERE id = $1 AND reverted_at IS NULL
                RETURNING {_COLUMNS}
                """,  # noqa: S608
                promotion_id,
                by or "unknown",
            )
            if row is None:
                there = await conn.fetchval(
                    "SELECT id FROM experiments.promotions WHERE id = $1", promotion_id
                )
                if there is None:
                    raise NotFound("Promotion not found")
                raise Conflict(f"Promotion {promotion_id} was reverted already")
            found = _promotion(row)
            await experiments.note(
                conn, found.experiment_id, "promotion_reverted", by=by, reason=reason
            )
        return found


def _promotion(row: Any) -> Promotion:
    return Promotion(
        id=row["id"],
        scope=Scope(row["tenant"], row["tag"]),
        arm=Arm(**orjson.loads(row["arm"])),
        experiment_id=row["experiment_id"],
        promoted_at=row["promoted_at"],
        by=row["by"],
        reason=row["reason"],
        reverted_at=row["reverted_at"],
        reverted_by=row["reverted_by"],
    )
