"""Sums over stretches of time, out of the tables `rollups` and `durations`."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from common.postgres import Connection, Pool, connection
from services.metrics.domain.durations import (
    NO_PERCENTILES,
    NOT_TIMED,
    Measure,
    Percentiles,
    percentiles,
    value_of,
)
from services.metrics.domain.grains import starts
from services.metrics.domain.history import (
    FAILURES,
    MOST_SERIES,
    NOBODY,
    OTHER,
    By,
    Series,
    Totals,
    Window,
)
from services.metrics.store import histograms
from services.metrics.store.since import since

EVERYTHING = "all"
WORK_MEM = "32MB"  # a week of histograms by model is sorted in memory, not on disk

_COLUMNS: dict[By | None, str] = {
    None: f"'{EVERYTHING}'",
    "model": "model",
    "provider": "provider",
    "strategy": "strategy",
    "key": "tenant",
    "arm": "arm",
}

_ADDED = ", ".join(
    f"sum({name})::bigint AS {name}"
    for name in Totals.__dataclass_fields__
    if name not in ("since", "latency")
)


def _sums(failures: str) -> str:
    """Return the columns of `Totals`; *failures* is the parameter that holds what is one."""
    return f"""
        sum(requests)::bigint AS requests,
        coalesce(sum(compared) FILTER (WHERE NOT cache_hit), 0)::bigint AS compared,
        coalesce(sum(requests) FILTER (WHERE outcome = ANY ({failures}::text[])), 0)::bigint
            AS failures,
        coalesce(sum(requests) FILTER (WHERE cache_hit), 0)::bigint AS cache_hits,
        sum(requests - priced)::bigint AS unpriced,
        sum(input_tokens)::bigint AS input_tokens,
        sum(output_tokens)::bigint AS output_tokens,
        sum(cost_nano_usd)::bigint AS cost_nano_usd,
        coalesce(sum(compared_cost_nano_usd) FILTER (WHERE NOT cache_hit), 0)::bigint
            AS compared_cost_nano_usd,
        coalesce(sum(baseline_cost_nano_usd) FILTER (WHERE NOT cache_hit), 0)::bigint
            AS baseline_cost_nano_usd,
        coalesce(sum(compared) FILTER (WHERE cache_hit), 0)::bigint AS cache_compared,
        coalesce(sum(baseline_cost_nano_usd - compared_cost_nano_usd)
                     FILTER (WHERE cache_hit), 0)::bigint AS cache_saved_nano_usd
    """


class History:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def totals(self, moment: datetime, *, with_latency: bool) -> Totals:
        """Return the sums over everything since the minute *moment*."""
        async with (
            connection(self._pool) as conn,
            conn.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await conn.fetchrow(
                f"""
                SELECT {_sums("$5")}
                FROM ({since("rollups")}) AS kept JOIN metrics.labels ON id = labels_id
                """,  # noqa: S608 - the names are ours
                *starts(moment),
                FAILURES,
            )
            latency = (
                percentiles(await histograms.counts(conn, moment, Measure.LATENCY))
                if with_latency
                else NO_PERCENTILES
            )
        if row is None or row["requests"] is None:
            return Totals(moment)
        return Totals(moment, **row, latency=latency)

    async def series(self, window: Window, by: By | None) -> list[Series]:
        """Return the sums of the steps of *window*, of each of *by*: the busiest first."""
        async with (
            connection(self._pool) as conn,
            conn.transaction(isolation="repeatable_read", readonly=True),
        ):
            await conn.execute(f"SET LOCAL work_mem = '{WORK_MEM}'")
            found = await _steps(conn, window, by)
            busiest = _busiest(found) if by else [EVERYTHING]
            latency = await _latency(conn, window, by, busiest)
        steps: dict[str, list[Totals]] = defaultdict(list)
        for name, step in found:
            measured = latency.get((step.since, name), NO_PERCENTILES)
            steps[name].append(replace(step, latency=measured))
        names = [*busiest, OTHER] if OTHER in steps and OTHER not in busiest else busiest
        return [Series(name or NOBODY, window.fill(steps[name])) for name in names]


def _busiest(found: Sequence[tuple[str, Totals]]) -> list[str]:
    requests: Counter[str] = Counter()
    for name, step in found:
        requests[name] += step.requests
    rest = requests.pop(OTHER, None)  # those after the first, and whoever is called so
    named = sorted(requests, key=lambda name: (-requests[name], name))
    return named if rest is None else [*named, OTHER]


async def _steps(conn: Connection, window: Window, by: By | None) -> list[tuple[str, Totals]]:
    """Sum up once what there is, by step and name, and only then put names together."""
    rows = await conn.fetch(
        f"""
        WITH found AS MATERIALIZED (
            SELECT date_bin($2::interval, start, 'epoch') AS since, {_COLUMNS[by]} AS name,
                   {_sums("$1")}
            FROM metrics.rollups JOIN metrics.labels ON id = labels_id
            WHERE grain_s = {window.grain_s} AND start >= $3 AND start < $4
            GROUP BY 1, 2
        ), busiest AS (
            SELECT name FROM found GROUP BY name ORDER BY sum(requests) DESC, name LIMIT $5
        )
        SELECT since,
               CASE WHEN name IN (SELECT name FROM busiest) THEN name ELSE '{OTHER}' END AS told_as,
               {_ADDED}
        FROM found GROUP BY 1, 2 ORDER BY 1
        """,  # noqa: S608 - the names are ours
        FAILURES,
        timedelta(seconds=window.step_s),
        window.start,
        window.end,
        MOST_SERIES,
    )
    found = []
    for row in rows:
        fields = dict(row)
        found.append((fields.pop("told_as"), Totals(**fields)))
    return found


async def _latency(
    conn: Connection, window: Window, by: By | None, named: Sequence[str]
) -> dict[tuple[datetime, str], Percentiles]:
    """
    Find the buckets as `durations.percentile` does, but where they are: they are many.

    Names are told by their place in *named*: whole numbers are put in order far faster.
    """
    names = [*named, OTHER]
    rows = await conn.fetch(
        f"""
        WITH told AS MATERIALIZED (
            SELECT id, coalesce(array_position($4::text[], {_COLUMNS[by]}),
                                array_position($4::text[], '{OTHER}')) AS n
            FROM metrics.labels WHERE outcome <> ALL ($5::text[])
        ), counts AS (
            SELECT date_bin($3::interval, start, 'epoch') AS since, n, bucket,
                   sum(requests::double precision) AS requests  -- exact up to 2**53
            FROM metrics.durations JOIN told ON id = labels_id
            WHERE grain_s = {window.grain_s} AND start >= $1 AND start < $2
              AND measure = {Measure.LATENCY:d}
            GROUP BY 1, 2, 3
        ), seen AS (
            SELECT since, n, bucket,
                   100 * sum(requests) OVER (PARTITION BY since, n ORDER BY bucket) AS so_far,
                   sum(requests) OVER (PARTITION BY since, n) AS total
            FROM counts
        )
        SELECT since, n,
               min(bucket) FILTER (WHERE so_far >= 50 * total) AS p50,
               min(bucket) FILTER (WHERE so_far >= 95 * total) AS p95,
               min(bucket) FILTER (WHERE so_far >= 99 * total) AS p99
        FROM seen GROUP BY since, n
        """,  # noqa: S608 - the names are ours
        window.start,
        window.end,
        timedelta(seconds=window.step_s),
        names,
        NOT_TIMED,
    )
    return {
        (row["since"], names[row["n"] - 1]): Percentiles(
            value_of(row["p50"]), value_of(row["p95"]), value_of(row["p99"])
        )
        for row in rows
    }
