"""What looks have found, in Postgres. Every query on the tables `looks` and `series` lives here."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from common.postgres import Connection, Pool, connection
from services.experiments.domain.experiment import Experiment
from services.experiments.domain.looks import Looks
from services.experiments.domain.totals import ArmTotals, dumps, loads
from services.experiments.store import users
from services.experiments.store.experiments import COLUMNS, FROM, experiment_of

_STATE = f"{COLUMNS}, looks.totals, looks.looks"


@dataclass(slots=True)
class Held:
    """An experiment that this transaction alone may change."""

    experiment: Experiment
    totals: dict[str, ArmTotals]  # of each arm
    looks: Looks

    def counting(self) -> list[tuple[int, str]]:
        """Return the arms whose results count: a frozen verdict and a stopped arm take no more."""
        if not self.experiment.running:
            return []
        return [
            (self.experiment.id, arm.name)
            for arm in self.experiment.arms
            if arm.name not in self.looks.stopped
        ]


@dataclass(frozen=True, slots=True)
class Point:
    """The interval of an arm's lift at one look."""

    arm: str
    results: int
    at: datetime
    lift: float
    low: float | None
    high: float | None
    p_value: float | None


async def hold(conn: Connection, experiment_ids: Collection[int]) -> dict[int, Held]:
    """
    Lock those experiments that exist, until the transaction ends, always in one order.

    Both rows are locked: whoever had to wait must read what was found meanwhile, in both.
    """
    if not experiment_ids:
        return {}
    rows = await conn.fetch(
        f"""
        SELECT {_STATE} FROM {FROM} WHERE id = ANY ($1::bigint[])
        ORDER BY id FOR NO KEY UPDATE
        """,  # noqa: S608
        list(experiment_ids),
    )
    return {row["id"]: await _held(conn, row) for row in rows}


async def keep(conn: Connection, held: Held) -> None:
    await conn.execute(
        """
        UPDATE experiments.looks SET totals = $2::jsonb, looks = $3::jsonb
        WHERE experiment_id = $1
        """,
        held.experiment.id,
        dumps(held.totals),
        orjson.dumps(held.looks.dump()).decode(),
    )


async def add_points(conn: Connection, experiment_id: int, points: Sequence[Point]) -> None:
    await conn.execute(
        """
        INSERT INTO experiments.series
            (experiment_id, arm, results, at, lift, low, high, p_value)
        SELECT $1, *
        FROM unnest($2::text[], $3::bigint[], $4::timestamptz[], $5::float8[], $6::float8[],
                    $7::float8[], $8::float8[])
        ON CONFLICT (experiment_id, arm, results) DO NOTHING
        """,
        experiment_id,
        [point.arm for point in points],
        [point.results for point in points],
        [point.at for point in points],
        [point.lift for point in points],
        [point.low for point in points],
        [point.high for point in points],
        [point.p_value for point in points],
    )


class LookStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, experiment_id: int) -> tuple[Held, list[Point]] | None:
        """Return what is known of an experiment at one moment, without holding it."""
        async with (
            connection(self._pool) as conn,
            conn.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await conn.fetchrow(
                f"SELECT {_STATE} FROM {FROM} WHERE id = $1",  # noqa: S608
                experiment_id,
            )
            if row is None:
                return None
            points = await conn.fetch(
                """
                SELECT arm, results, at, lift, low, high, p_value
                FROM experiments.series WHERE experiment_id = $1 ORDER BY results, arm
                """,
                experiment_id,
            )
            return await _held(conn, row), [Point(**point) for point in points]


async def _held(conn: Connection, row: Any) -> Held:
    experiment = experiment_of(row)
    kept = row["totals"]
    known = loads(kept) if kept else await users.summed(conn, experiment.id)
    return Held(
        experiment,
        {arm.name: known.get(arm.name) or ArmTotals() for arm in experiment.arms},
        Looks.load(orjson.loads(row["looks"])),
    )
