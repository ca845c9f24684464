"""Experiments in Postgres. Every query on the `experiments` table lives here."""

from dataclasses import asdict
from typing import Any

import orjson

from common.postgres import Pool, connection
from services.experiments.domain.experiment import Arm, Experiment, Plan, Status

_COLUMNS = "id, name, description, arms, sample_size, status, created_at, completed_at"


class ExperimentStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, plan: Plan) -> Experiment:
        async with connection(self._pool) as conn:
            row = await conn.fetchrow(
                f"""
                INSERT INTO experiments.experiments (name, description, arms, sample_size)
                VALUES ($1, $2, $3::jsonb, $4)
                RETURNING {_COLUMNS}
                """,  # noqa: S608
                plan.name,
                plan.description,
                orjson.dumps([asdict(arm) for arm in plan.arms]).decode(),
                plan.sample_size,
            )
        return _experiment(row)

    async def find(self, experiment_id: int) -> Experiment | None:
        async with connection(self._pool) as conn:
            row = await conn.fetchrow(
                f"SELECT {_COLUMNS} FROM experiments.experiments WHERE id = $1",  # noqa: S608
                experiment_id,
            )
        return _experiment(row) if row else None

    async def newest(self, *, limit: int, offset: int, status: Status | None) -> list[Experiment]:
        async with connection(self._pool) as conn:
            rows = await conn.fetch(
                f"""
                SELECT {_COLUMNS} FROM experiments.experiments
                WHERE $3::text IS NULL OR status = $3
                ORDER BY id DESC LIMIT $1 OFFSET $2
                """,  # noqa: S608
                limit,
                offset,
                status,
            )
        return [_experiment(row) for row in rows]

    async def end(self, experiment_id: int, status: Status) -> Experiment | None:
        """End a running experiment; None if none of that number runs. Only one caller wins."""
        async with connection(self._pool) as conn:
            row = await conn.fetchrow(
                f"""
                UPDATE experiments.experiments
                SET status = $2, completed_at = clock_timestamp()
                WHERE id = $1 AND status = 'running'
                RETURNING {_COLUMNS}
                """,  # noqa: S608
                experiment_id,
                status,
            )
        return _experiment(row) if row else None


def _experiment(row: Any) -> Experiment:
    return Experiment(
        id=row["id"],
        plan=Plan(
            name=row["name"],
            description=row["description"],
            arms=tuple(Arm(**arm) for arm in orjson.loads(row["arms"])),
            sample_size=row["sample_size"],
        ),
        status=row["status"],
        created_at=row["created_at"],
        completed_at=row["completed_at"],
    )
