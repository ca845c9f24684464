"""Postgres falls silent, Redis vanishes: completions go on, and everything catches up."""

import asyncio

import pytest

from tests.e2e.books import CLOSED, closed_books
from tests.e2e.figures import metrics_caught_up
from tests.e2e.stack import until
from tests.e2e.traffic import Traffic

CLIENTS = 4
THINK_S = 0.2


@pytest.mark.timeout(300)
async def test_completions_go_on_while_postgres_is_silent_and_the_books_catch_up(stack, since):
    traffic = Traffic(stack, seed=11)
    async with stack.postgres_paused():
        load = asyncio.create_task(traffic.send(10**6, clients=CLIENTS, think_s=THINK_S))
        await asyncio.sleep(stack.pause_s)
        traffic.stop()
        tally = await load

    books = await closed_books(stack, since)
    assert tally.answered == tally.total >= CLIENTS * stack.pause_s / (THINK_S + 2)
    assert [] == tally.odd
    assert [] == books.problems()
    assert tally.answered == books.count(CLOSED) == len(books.bill)
    await metrics_caught_up(stack)


@pytest.mark.timeout(300)
async def test_what_was_journalled_survives_the_death_of_its_router(stack, since):
    traffic = Traffic(stack, seed=12)
    async with stack.postgres_paused():
        tally = await traffic.send(20, clients=CLIENTS)
        await stack.kill("router")

    await stack.ready("router")
    books = await closed_books(stack, since)
    assert (20, 20) == (tally.answered, len(books.bill))
    assert [] == books.problems()
    assert 20 == books.count(CLOSED)


async def test_completions_and_metrics_go_on_without_redis(stack, since):
    await stack.stop_redis()
    try:
        tally = await Traffic(stack, seed=13).send(60)
        books = await closed_books(stack, since)
        await metrics_caught_up(stack)
    finally:
        await stack.start_redis()

    async def repeats_are_cached():
        body = {"prompt": f"is Redis back? {since}"}
        return [(await stack.post("/complete", body)).json["cache_hit"] for _ in range(2)][1]

    assert (60, []) == (tally.answered, tally.odd)
    assert [] == books.problems()
    await until(repeats_are_cached, within_s=60, step_s=0.5)
