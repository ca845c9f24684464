"""Requests as the ledger holds them, what was said of them, and those who learn from it."""

import asyncio
from base64 import b64encode
from datetime import UTC, datetime
from random import getrandbits
from uuid import UUID

import pytest

from common.ids import first_id_at, new_id
from common.postgres import connection
from services.router.domain.complexity import complexity_of
from services.router.domain.entries import Kind, Row
from services.router.domain.vector import packed, vector_of
from services.router.store import feedback_rows, ledger_table
from services.router.store.learned import Learned
from tests.router_builders import a_catalog, a_model

MODEL = "acme/one"
CATALOG = a_catalog(a_model(MODEL, capability=0.9), a_model("acme/two", capability=0.6))
EASY = vector_of(complexity_of("What is the capital of France?"))
HARD = vector_of(complexity_of("Prove that there are infinitely many primes, step by step. " * 4))


def features(phi):
    return b64encode(packed(phi)).decode()


KEPT = features(EASY)


async def closed(
    pool,
    *,
    model=MODEL,
    kept=KEPT,
    tokens=0,
    baseline=None,
    user=None,
    outcome="ok",
    cache_hit=False,
    at=None,
    **learning,
):
    """Record a request that was settled and closed; return its id."""
    request_id = new_id() if at is None else UUID(int=first_id_at(at).int | getrandbits(62))
    shared = {
        "request_id": request_id,
        "recorded_at": datetime.now(UTC),
        "tenant": "a-key",
        "user_id": user,
        "model": model,
        "outcome": outcome,
        "output_tokens": tokens,
        "baseline_cost_nano_usd": baseline,
    }
    learning = {"features": kept, "role": "plain", "score": 0.5} | learning
    details = {"learning": learning} if kept else None
    rows = [
        Row(kind=Kind.SETTLED, attempt_id=new_id(), **shared),
        Row(
            kind=Kind.CLOSED,
            attempt_id=request_id,
            details=details,
            cache_hit=cache_hit,
            **shared,
        ),
    ]
    async with connection(pool) as conn:
        await ledger_table.add(conn, ledger_table.encode(rows))
    return request_id


async def rate(pool, request_id, stars):
    async with connection(pool) as conn:
        await feedback_rows.add(conn, request_id, "a-key", {"quality_score": stars})


def a_learner(pool, catalog=CATALOG, **settings):
    return Learned(pool, lambda: catalog, **settings)


async def taught(*learners):
    """Have all that was recorded learned, by whoever comes first, and believed by all."""
    assert all(await asyncio.gather(*(one.follower.catch_up(60) for one in learners)))
    for one in learners:
        await one.refresh()


def quality(learned, model=MODEL, phi=EASY):
    return learned.current.of(CATALOG.models[model]).expect(phi)[0]


async def judgements(pool):
    async with connection(pool) as conn:
        rows = await conn.fetch(
            "SELECT model, source, outcome, weight FROM router.judgements"
            " ORDER BY applied_at, model"
        )
    return [tuple(row.values()) for row in rows]


def known(learned):
    """Say of each model how many outcomes were learned, and their sum."""
    evidence = learned.current.evidence
    return {
        model: (one.outcomes, pytest.approx(one.vector[0], rel=1e-5))
        for model, one in evidence.items()
    }


async def until(condition, timeout_s=10):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  memory tells nobody
            await asyncio.sleep(0.02)
