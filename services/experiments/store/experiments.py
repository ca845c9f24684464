"""Experiments in Postgres. Every query on `experiments` and `transitions` lives here."""

from dataclasses import asdict
from typing import Any

import orjson

from common.errors import Conflict
from common.postgres import Connection, Pool, connection, transaction
from services.experiments.domain.experiment import (
    Arm,
    Experiment,
    Plan,
    Status,
    Transition,
    Verdict,
)
from services.experiments.domain.options import Options

LAYERS_LOCK = 7_214_001  # one at a time looks for room in a layer
LEAST_ROOM = 1e-9  # what sums of shares are off by
COLUMNS = """
    experiment.id, name, description, arms, sample_size, options, status, verdict,
    created_at, completed_at, looks -> 'stopped' AS stopped"""
FROM = "experiments.experiments AS experiment JOIN experiments.looks ON experiment_id = id"


class ExperimentStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, plan: Plan, *, by: str) -> int:
        """
        Keep a new experiment, return its number; one that enrols gets its part of its layer.

        Raises:
            Conflict: the layer has no room for it.
        """
        async with transaction(self._pool) as conn:
            low, high = await _room(conn, plan.options) if plan.options.enrol else (None, None)
            id_: int = await conn.fetchval(
                """
                INSERT INTO experiments.experiments
                    (name, description, arms, sample_size, options, low, high)
                VALUES ($1, $2, $3::jsonb, $4, $5::jsonb, $6, $7)
                RETURNING id
                """,
                plan.name,
                plan.description,
                orjson.dumps([asdict(arm) for arm in plan.arms]).decode(),
                plan.sample_size,
                orjson.dumps(plan.options.dump()).decode(),
                low,
                high,
            )
            await conn.execute("INSERT INTO experiments.looks (experiment_id) VALUES ($1)", id_)
            await note(conn, id_, "running", by=by, reason=plan.options.hypothesis)
        return id_

    async def find(self, experiment_id: int) -> Experiment | None:
        async with connection(self._pool) as conn:
            row = await conn.fetchrow(
                f"SELECT {COLUMNS} FROM {FROM} WHERE id = $1",  # noqa: S608
                experiment_id,
            )
        return experiment_of(row) if row else None

    async def newest(self, *, limit: int, offset: int, status: Status | None) -> list[Experiment]:
        async with connection(self._pool) as conn:
            rows = await conn.fetch(
                f"""
                SELECT {COLUMNS} FROM {FROM}
                WHERE $3::text IS NULL OR status = $3
                ORDER BY id DESC LIMIT $1 OFFSET $2
                """,  # noqa: S608
                limit,
                offset,
                status,
            )
        return [experiment_of(row) for row in rows]

    async def history(self, experiment_id: int) -> list[Transition]:
        async with connection(self._pool) as conn:
            rows = await conn.fetch(
                """
                SELECT status, by, reason, at FROM experiments.transitions
                WHERE experiment_id = $1 ORDER BY id
                """,
                experiment_id,
            )
        return [Transition(**row) for row in rows]

    async def enrolling(self) -> list[tuple[Experiment, float, float]]:
        """Return the running experiments that enrol users, and their parts of their layers."""
        async with connection(self._pool) as conn:
            rows = await conn.fetch(
                f"""
                SELECT {COLUMNS}, low, high FROM {FROM}
                WHERE status = 'running' AND low IS NOT NULL ORDER BY id
                """  # noqa: S608
            )
        return [(experiment_of(row), row["low"], row["high"]) for row in rows]

    async def mismatched(self, below: float) -> int:
        """Return how many running experiments have a sample ratio less likely than *below*."""
        async with connection(self._pool) as conn:
            found: int = await conn.fetchval(
                """
                SELECT count(*) FROM experiments.experiments JOIN experiments.looks
                    ON experiment_id = id
                WHERE status = 'running' AND (looks -> 'srm')::float8 < $1
                """,
                below,
            )
        return found

    async def overdue(self) -> list[int]:
        """Return the running experiments whose time is up."""
        async with connection(self._pool) as conn:
            rows = await conn.fetch(
                """
                SELECT id FROM experiments.experiments
                WHERE status = 'running' AND (options -> 'max_duration_days')::int > 0
                  AND created_at + (options -> 'max_duration_days')::int * interval '1 day'
                      < clock_timestamp()
                """
            )
        return [row["id"] for row in rows]


async def end(
    conn: Connection, experiment_id: int, status: Status, verdict: Verdict | None
) -> None:
    """End an experiment that the caller holds and knows to run."""
    await conn.execute(
        """
        UPDATE experiments.experiments
        SET status = $2, completed_at = clock_timestamp(), verdict = $3::jsonb
        WHERE id = $1 AND status = 'running'
        """,
        experiment_id,
        status,
        orjson.dumps(verdict.dump()).decode() if verdict else None,
    )


async def note(
    conn: Connection, experiment_id: int, status: Status | str, *, by: str, reason: str
) -> None:
    """Write down that an experiment moved; others are told of it later."""
    await conn.execute(
        """
        INSERT INTO experiments.transitions (experiment_id, status, by, reason)
        VALUES ($1, $2, $3, $4)
        """,
        experiment_id,
        status,
        by or "unknown",
        reason,
    )


async def _room(conn: Connection, options: Options) -> tuple[float, float]:
    """
    Find the first part of a layer that is free and large enough.

    Raises:
        Conflict: there is none; or requests in scope join an experiment of another layer already.
    """
    await conn.execute("SELECT pg_advisory_xact_lock($1)", LAYERS_LOCK)
    rows = await conn.fetch(
        """
        SELECT id, options, low, high FROM experiments.experiments
        WHERE status = 'running' AND low IS NOT NULL ORDER BY low
        """
    )
    start, taken = 0.0, []
    for row in rows:
        other = Options.load(orjson.loads(row["options"]))
        if options.layer and other.layer == options.layer:
            taken.append((row["low"], row["high"]))
        elif other.scope.overlaps(options.scope):
            raise Conflict(
                f"requests in this scope join experiment {row['id']} already: give both one layer"
                " and a share of its users, or this one another scope",
                param="layer",
            )
    for low, high in [*taken, (1.0, 1.0)]:
        if low - start >= options.traffic_share - min(LEAST_ROOM, options.traffic_share / 2):
            return start, start + options.traffic_share
        start = max(start, high)
    raise Conflict(
        f"the layer {options.layer!r} has no room for another {options.traffic_share:.0%} of its"
        " users: end an experiment in it, ask for less, or choose another layer",
        param="layer",
    )


def experiment_of(row: Any) -> Experiment:
    """Read the columns `id` to `stopped`."""
    return Experiment(
        id=row["id"],
        plan=Plan(
            name=row["name"],
            description=row["description"],
            arms=tuple(Arm(**arm) for arm in orjson.loads(row["arms"])),
            sample_size=row["sample_size"],
            options=Options.load(orjson.loads(row["options"])),
        ),
        status=row["status"],
        created_at=row["created_at"],
        completed_at=row["completed_at"],
        verdict=Verdict.load(orjson.loads(row["verdict"])) if row["verdict"] else None,
        stopped=tuple(orjson.loads(row["stopped"] or "[]")),
    )
