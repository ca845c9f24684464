"""What is known of each user, in Postgres. Every query on the `users` table lives here."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from common.postgres import Connection
from services.experiments.domain.totals import (
    NAMES,
    NOTHING,
    PAIRS,
    PRESENT,
    ArmTotals,
    UserTotals,
    values_of,
)

_COLUMNS = ", ".join(NAMES)
_NEW = ", ".join(f"${index}::bigint[]" for index in range(4, 4 + len(NAMES)))
_SET = ", ".join(f"{name} = excluded.{name}" for name in NAMES)
SUMS = ", ".join(
    (
        *(f"sum({name}) AS {name}" for name in NAMES),
        *(f'sum({a}::numeric * {b}) AS "{a}*{b}"' for a, b in PAIRS),
        *(f'count(*) FILTER (WHERE {name} > 0) AS "any {name}"' for name in PRESENT),
    )
)


class User(NamedTuple):
    experiment_id: int
    arm: str
    user_id: str


async def find(conn: Connection, users: Iterable[User]) -> dict[User, UserTotals]:
    """Return what is known of *users*; of who is new, nothing."""
    wanted = list(users)
    rows = await conn.fetch(
        f"""
        SELECT experiment_id, arm, user_id, {_COLUMNS}
        FROM experiments.users
             JOIN unnest($1::bigint[], $2::text[], $3::text[])
                  AS wanted (experiment_id, arm, user_id) USING (experiment_id, arm, user_id)
        """,  # noqa: S608
        *_keys(wanted),
    )
    found = {
        User(row["experiment_id"], row["arm"], row["user_id"]): UserTotals(
            *(row[name] for name in NAMES)
        )
        for row in rows
    }
    return {user: found.get(user, NOTHING) for user in wanted}


async def keep(conn: Connection, users: Mapping[User, UserTotals]) -> None:
    """Write what is known of *users* now."""
    values = [values_of(totals) for totals in users.values()]
    await conn.execute(
        f"""
        INSERT INTO experiments.users (experiment_id, arm, user_id, {_COLUMNS})
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], {_NEW})
        ON CONFLICT (experiment_id, arm, user_id) DO UPDATE SET {_SET}
        """,  # noqa: S608
        *_keys(list(users)),
        *([value[index] for value in values] for index in range(len(NAMES))),
    )


async def summed(conn: Connection, experiment_id: int) -> dict[str, ArmTotals]:
    """Sum the users of each arm up anew, as exactly as they are kept up."""
    rows = await conn.fetch(
        f"SELECT arm, {SUMS} FROM experiments.users WHERE experiment_id = $1 GROUP BY arm",  # noqa: S608
        experiment_id,
    )
    return {row["arm"]: totals_of(row) for row in rows}


def totals_of(row: Any) -> ArmTotals:
    """Read what was selected as `SUMS`; of nobody they are NULL."""
    return ArmTotals(
        {name: int(row[name] or 0) for name in NAMES},
        {(a, b): int(row[f"{a}*{b}"] or 0) for a, b in PAIRS},
        {name: int(row[f"any {name}"]) for name in PRESENT},
    )


def _keys(users: list[User]) -> tuple[list[int], list[str], list[str]]:
    return (
        [user.experiment_id for user in users],
        [user.arm for user in users],
        [user.user_id for user in users],
    )
