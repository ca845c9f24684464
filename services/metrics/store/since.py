"""Reading everything since some minute, out of as few rows as there can be."""

from services.metrics.domain.grains import GRAINS_S


def since(table: str) -> str:
    """
    Return the SQL of the rows of *table*; its parameters $1 to $4 are `grains.starts`.

    The grains stand there as numbers: the planner then knows how few rows they are.
    """
    bounds = [
        f"SELECT * FROM metrics.{table} WHERE grain_s = {grain_s} AND start >= ${n}"  # noqa: S608
        for n, grain_s in enumerate(GRAINS_S, start=1)
    ]
    ends = [f" AND start < ${n + 2}" for n in range(len(GRAINS_S) - 1)]
    return " UNION ALL ".join(map(str.__add__, bounds, [*ends, ""]))
