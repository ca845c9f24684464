"""What the metrics service tells, and what its tables hold."""

import asyncpg
import orjson
from optimizer.metrics.v1 import metrics_pb2 as pb

from tests.followed_ledger import eventually


async def snapshot(it):
    return orjson.loads((await it.stub.GetSnapshot(pb.GetSnapshotRequest(), timeout=10)).json)


async def counted(it, requests):
    """Wait until that many requests are counted; return the snapshot that says so."""

    async def look():
        shown = await snapshot(it)
        return shown if shown["total_decisions"] >= requests else None

    return await eventually(look)


async def caught_up(it):
    return await it.service.follower.catch_up(5)


async def rollups(database):
    conn = await asyncpg.connect(database.url("metrics"))
    try:
        return [
            tuple(row)
            for row in await conn.fetch(
                "SELECT start AS minute, strategy, provider, model, confidence, outcome, cache_hit,"
                " requests, priced, compared, cost_nano_usd, compared_cost_nano_usd,"
                " baseline_cost_nano_usd, input_tokens, output_tokens FROM metrics.rollups"
                " JOIN metrics.labels ON id = labels_id WHERE grain_s = 60"
                " ORDER BY minute, strategy, provider, model, confidence, outcome, cache_hit"
            )
        ]
    finally:
        await conn.close()


async def grains(database):
    conn = await asyncpg.connect(database.url("metrics"))
    try:
        return [
            tuple(row) for row in await conn.fetch("SELECT grain_s, start FROM metrics.rollups")
        ]
    finally:
        await conn.close()


async def durations(database):
    conn = await asyncpg.connect(database.url("metrics"))
    try:
        rows = await conn.fetch(
            "SELECT grain_s, outcome, measure, bucket, sum(requests)::bigint FROM metrics.durations"
            " JOIN metrics.labels ON id = labels_id"
            " GROUP BY grain_s, outcome, measure, bucket"
        )
        return {tuple(row[:4]): row[4] for row in rows}
    finally:
        await conn.close()
