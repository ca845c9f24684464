"""
Measures how long the results of an experiment take that has a million of them.

    make bench-results

The whole stack runs beside nothing; the million is written where the service would have written it.
"""

import statistics
import sys
from time import perf_counter

import aiohttp
import asyncpg
import uvloop

from scripts.bench_stack import bench_stack, database_url
from services.experiments.domain.assignment import assign
from services.experiments.store.users import User

RESULTS, USERS = 1_000_000, 60_000
ASKED, IMPORTED = 200, 40
ARMS = ("control", "test")
EXPERIMENT = {
    "name": "a million results",
    "control_strategy": "best",
    "test_strategy": "cheapest",
    "sample_size": 10**9,
}


async def run() -> None:
    async with (
        bench_stack() as stack,
        aiohttp.ClientSession(base_url=stack.base_url) as session,
    ):
        async with session.post("/experiments", json=EXPERIMENT) as made:
            number = (await made.json())["id"]
        await _fill(database_url(stack), number)
        await _measure(session, number)


async def _fill(url: str, experiment_id: int) -> None:
    """Write the results, their users, and no sums: the service adds them up when it first looks."""
    users = [
        User(experiment_id, assign(experiment_id, f"user{n}", ARMS), f"user{n}")
        for n in range(USERS)
    ]
    conn = await asyncpg.connect(url)
    try:
        await conn.execute(
            "CREATE TEMP TABLE population (n serial, id bigint, arm text, name text)"
        )
        await conn.copy_records_to_table("population", records=users, columns=("id", "arm", "name"))
        await conn.execute(
            """
            INSERT INTO experiments.experiment_results
                (request_id, experiment_id, arm, user_id, provider, model, outcome, success,
                 cost_nano_usd, latency_ms, answered_at, prompt_words)
            SELECT 'bench-' || number, id, arm, name, 'acme', 'acme/small', 'ok', true,
                   (random() * 100000)::bigint, random() * 1000, now(), (random() * 100)::int
            FROM generate_series(0, $1::bigint - 1) AS number
                 JOIN population ON n = number % $2 + 1
            """,
            RESULTS,
            USERS,
        )
        await conn.execute(
            """
            INSERT INTO experiments.users
            SELECT experiment_id, arm, user_id, count(*), count(*), sum(cost_nano_usd), count(*),
                   sum(prompt_words), count(*), 0, sum(round(latency_ms * 1000)), 0, 0, 0, 0
            FROM experiments.experiment_results GROUP BY experiment_id, arm, user_id
            """
        )
        await conn.execute("UPDATE experiments.looks SET totals = NULL")
        await conn.execute("VACUUM ANALYZE")
    finally:
        await conn.close()


async def _measure(session: aiohttp.ClientSession, experiment_id: int) -> None:
    path = f"/experiments/{experiment_id}/results"
    for n in range(5):
        await _import(session, path, f"warm-{n}")  # sums up, and finds what is slow
    alone = [await _ask(session, path) for _ in range(ASKED)]
    fresh = []
    for n in range(IMPORTED):
        await _import(session, path, f"new-{n}")
        fresh.append(await _ask(session, path))
    print(f"GET /experiments/{{id}}/results, {RESULTS:,} results of {USERS:,} users")
    for name, times in (("nothing new", alone), ("after a new result", fresh)):
        p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
        print(f"  {name:20} p50 {1000 * p50:5.1f} ms   p95 {1000 * p95:5.1f} ms")


async def _ask(session: aiohttp.ClientSession, path: str) -> float:
    began = perf_counter()
    async with session.get(path) as answer:
        found = await answer.json()
    if found["stale"] or found["control_count"] + found["test_count"] < RESULTS:
        raise SystemExit("the results are not those of a million")
    return perf_counter() - began


async def _import(session: aiohttp.ClientSession, path: str, name: str) -> None:
    row = {
        "request_id": name,
        "user_id": name,
        "provider": "acme",
        "model": "acme/small",
        "cost": 0.0001,
        "latency_ms": 12,
        "prompt_tokens": 9,
    }
    async with session.post(path, json=[row]) as answer:
        answer.raise_for_status()


if __name__ == "__main__":
    uvloop.run(run())
    sys.exit(0)
