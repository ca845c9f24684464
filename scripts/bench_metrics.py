"""
`make bench-metrics`: how long figures take over thirty days with ten million requests.

The whole stack runs beside nothing; the rollups are written where the service would have written
them: eight models, each asked twenty-nine times a minute.
"""

import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import NamedTuple

import aiohttp
import asyncpg
import uvloop

from common.cache import Cache
from common.postgres import close_pool, open_pool
from scripts.bench_page import TARGET, Promise, facts, opening, table, write
from scripts.bench_stack import bench_stack, database_url
from services.metrics.settings import MetricsSettings
from services.metrics.store.history import History
from services.metrics.store.rollups import RollupStore
from services.metrics.usecases import Reporting

ASKED = 15
HISTORY_MS, MISS_MS = 200, 50
ANEW = "a snapshot made anew"
FORGOTTEN = "a day of minutes forgotten"
DAYS = 30
FILL_S = 600.0
WINDOWS = ("1h", "24h", "7d", "30d")
MODELS = 8
REQUESTS_A_MINUTE = 29  # of each model
# How many buckets a model's latencies of so many seconds fall into.
BUCKETS = {60: 14, 900: 35, 3600: 51, 21_600: 60}


Times = Mapping[str, list[float]]  # in ms, by what was asked


class Filled(NamedTuple):
    requests: int
    rows: int
    mib: int


async def run() -> tuple[Filled, Times]:
    """Return what there was, and how long what took."""
    async with (
        bench_stack() as stack,
        aiohttp.ClientSession(base_url=stack.base_url) as session,
    ):
        filled = await _fill(database_url(stack))

        async def get(path: str) -> None:
            async with session.get(path) as answer:
                answer.raise_for_status()
                await answer.read()

        paths = [
            f"/metrics/history?window={window}{by}"
            for window in WINDOWS
            for by in ("", "&by=model", "&by=key")
        ]
        times = {path: await _timed(lambda path=path: get(path)) for path in (*paths, "/stats")}  # type: ignore[misc]
        return filled, times | await _within(database_url(stack))


async def _within(url: str) -> dict[str, list[float]]:
    """Do what the service does of itself: make a snapshot when it has none, and forget."""
    settings = MetricsSettings(database_url=url, internal_token="unused")  # type: ignore[arg-type]  # noqa: S106
    pool = await open_pool(settings)
    store = RollupStore(pool)
    ages = iter(range(DAYS - 1, 0, -1))

    async def make() -> None:
        await Reporting(store, History(pool), Cache(None, prefix="")).snapshot()

    async def forget() -> None:
        began = datetime.now(UTC) - timedelta(days=DAYS + 1)
        minutes_before = datetime.now(UTC) - timedelta(days=next(ages))
        await store.forget(
            rollups_before=began, minutes_before=minutes_before, requests_before=began
        )

    try:
        return {ANEW: await _timed(make), FORGOTTEN: await _timed(forget)}
    finally:
        await close_pool(pool)


async def _timed(do: Callable[[], Awaitable[None]]) -> list[float]:
    times = []
    for _ in range(ASKED):
        began = perf_counter()
        await do()
        times.append(1000 * (perf_counter() - began))
    return times


def render(filled: Filled, times: Times, told: Mapping[str, str]) -> str:
    """Write the section of the page."""
    slowest = max((path for path in times if "history" in path), key=lambda p: _median(times[p]))
    promises = [
        Promise(
            f"`{slowest}`, the slowest: p50",
            f"< {HISTORY_MS} ms",
            f"{_median(times[slowest]):.0f} ms",
            _median(times[slowest]) < HISTORY_MS,
        ),
        Promise(
            f"{ANEW}: p50",
            f"< {MISS_MS} ms",
            f"{_median(times[ANEW]):.0f} ms",
            _median(times[ANEW]) < MISS_MS,
        ),
    ]
    rows = [
        (f"`{what}`" if what.startswith("/") else what, f"{_median(took):.1f}", f"{max(took):.1f}")
        for what, took in times.items()
    ]
    return "\n".join(
        [
            *opening(told, promises),
            f"{filled.requests:,} requests in thirty days, {MODELS} models: {filled.rows:,} rows,",
            f"{filled.mib:,} MiB with their indexes.",
            "One key, confidence and outcome: more of them multiply the rows that are read.",
            f"Each {ASKED} times, over HTTP; {ANEW} and {FORGOTTEN},",
            "within the process that does it.",
            "",
            *table(("", "p50 ms", "max ms"), rows),
        ]
    )


def _median(times: list[float]) -> float:
    return statistics.median(times)


async def _fill(url: str) -> Filled:
    conn = await asyncpg.connect(url)
    try:
        await conn.execute(
            f"""
            INSERT INTO metrics.labels
                (strategy, provider, model, tenant, arm, confidence, outcome, cache_hit)
            SELECT 's' || k % 3, 'p' || k % 3, 'p' || k % 3 || '/m' || k, 'admin', '', confidence,
                   'ok', k = 7
            FROM generate_series(1, {MODELS}) AS k, (VALUES ('high'), ('')) AS of (confidence)
            """  # noqa: S608
        )
        for grain_s, buckets in BUCKETS.items():
            starts = f"""
                generate_series(
                    date_bin(interval '{grain_s} s', now(), 'epoch') - interval '{DAYS} days',
                    now(), interval '{grain_s} s') AS start"""
            count = REQUESTS_A_MINUTE * grain_s // 60
            await conn.execute(
                f"""
                INSERT INTO metrics.rollups
                SELECT {grain_s}, start, id, {count}, {count}, {count}, {40 * count}, {40 * count},
                       {360 * count}, {4 * count}, {4 * count}, 0, 0
                FROM {starts}, metrics.labels WHERE confidence = 'high'
                """,  # noqa: S608
                timeout=FILL_S,
            )
            await conn.execute(
                f"""
                INSERT INTO metrics.durations
                SELECT {grain_s}, start, id, 1, bucket, {count // buckets}
                FROM {starts}, metrics.labels, generate_series(1, {buckets}) AS bucket
                WHERE confidence = ''
                """,  # noqa: S608
                timeout=FILL_S,
            )
        await conn.execute("VACUUM ANALYZE metrics.rollups", timeout=FILL_S)
        await conn.execute("VACUUM ANALYZE metrics.durations", timeout=FILL_S)
        (found,) = await conn.fetch(
            """
            SELECT (SELECT sum(requests)::bigint FROM metrics.rollups WHERE grain_s = 60),
                   (SELECT count(*) FROM metrics.rollups)
                       + (SELECT count(*) FROM metrics.durations),
                   (pg_total_relation_size('metrics.rollups')
                       + pg_total_relation_size('metrics.durations')) >> 20
            """
        )
        return Filled(*found)
    finally:
        await conn.close()


def main() -> int:
    """Measure and write."""
    told = facts("make bench-metrics")
    section = render(*uvloop.run(run()), told)
    write("history", section, TARGET)
    print(section)
    return 0


if __name__ == "__main__":
    sys.exit(main())
