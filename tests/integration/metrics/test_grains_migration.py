"""Figures that were kept by the minute are the same after the move to several grains."""

import shutil
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from common.migrate import migrate
from services.metrics.__main__ import MIGRATIONS

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LABELS = ("hybrid", "acme", "acme/small", "high", "ok", False)
ADD_DURATIONS = """
    INSERT INTO metrics.durations
    VALUES ($1, $2, 'hybrid', 'acme', 'acme/small', 'ok', false, 1, 70, 5)
    ON CONFLICT (grain_s, start, strategy, provider, model, outcome, cache_hit, measure, bucket)
    DO UPDATE SET requests = durations.requests + 5
"""


async def test_what_was_counted_stays_counted(empty_database, tmp_path):
    url = empty_database.url("metrics")
    for path in sorted(MIGRATIONS.glob("*.sql"))[:3]:
        shutil.copy(path, tmp_path)
    await migrate(url, "metrics", tmp_path)
    conn = await asyncpg.connect(url)
    for minute, fell_back in ((1, None), (14, 2), (59, 0)):
        await conn.execute(
            "INSERT INTO metrics.rollups VALUES"
            " ($1, $2, $3, $4, $5, $6, $7, 5, 4, 3, 400, 300, 900, 50, 20, 10, $8)",
            NOON.replace(minute=minute),
            *LABELS,
            fell_back,
        )
        await conn.execute(ADD_DURATIONS, 60, NOON.replace(minute=minute))
        await conn.execute(ADD_DURATIONS, 3600, NOON)
    await conn.execute(
        "INSERT INTO metrics.requests VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 7, NULL)",
        UUID(int=1),
        NOON,
        *LABELS,
    )

    await migrate(url, "metrics", MIGRATIONS)

    sums = await conn.fetch(
        "SELECT grain_s, start, requests, priced, cost_nano_usd, fell_back,"
        " strategy, provider, model, confidence, outcome, cache_hit"
        " FROM metrics.rollups JOIN metrics.labels ON id = labels_id ORDER BY grain_s, start"
    )
    one, two, all_ = (5, 4, 400), (10, 8, 800), (15, 12, 1200)
    assert [
        (60, NOON.replace(minute=1), *one, 0, *LABELS),
        (60, NOON.replace(minute=14), *one, 2, *LABELS),
        (60, NOON.replace(minute=59), *one, 0, *LABELS),
        (900, NOON, *two, 2, *LABELS),
        (900, NOON.replace(minute=45), *one, 0, *LABELS),
        (3600, NOON, *all_, 2, *LABELS),
        (21_600, NOON, *all_, 2, *LABELS),
    ] == [tuple(row) for row in sums]
    counts = await conn.fetch(
        "SELECT grain_s, sum(requests)::int FROM metrics.durations"
        " JOIN metrics.labels ON id = labels_id WHERE confidence = '' GROUP BY grain_s"
    )
    assert {60: 15, 900: 15, 3600: 15, 21_600: 15} == dict(map(tuple, counts))
    [place] = await conn.fetch(
        "SELECT cost_nano_usd, strategy, provider, model, confidence, outcome, cache_hit"
        " FROM metrics.requests JOIN metrics.labels ON id = labels_id"
    )
    assert (7, *LABELS) == tuple(place)
    await conn.close()
