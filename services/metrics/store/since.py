"""Reading everything since some minute, out of as few rows as there can be."""

from services.metrics.domain.grains import GRAINS_S

_COLUMNS = {
    "rollups": "labels_id, requests, priced, compared, cost_nano_usd, compared_cost_nano_usd,"
    " baseline_cost_nano_usd, input_tokens, output_tokens, fell_back",
    "durations": "labels_id, measure, bucket, requests",
}


def since(table: str) -> str:
    """
    Return the SQL of the rows of *table*; its parameters $1 to $4 are `grains.starts`.

    The grains stand there as numbers: the planner then knows how few rows they are.
    """
    bounds = [
        f"SELECT {_COLUMNS[table]} FROM metrics.{table}"  # noqa: S608
        f" WHERE grain_s = {grain_s} AND start >= ${n}"
        for n, grain_s in enumerate(GRAINS_S, start=1)
    ]
    ends = [f" AND start < ${n + 2}" for n in range(len(GRAINS_S) - 1)]
    return " UNION ALL ".join(map(str.__add__, bounds, [*ends, ""]))
