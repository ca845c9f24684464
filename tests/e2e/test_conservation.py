"""Whatever is killed, whoever hangs up: ledger and bill fit, row by row."""

import asyncio
import time

from tests.e2e.books import CLOSED, closed_books
from tests.e2e.stack import until
from tests.e2e.traffic import BACK_OFF_S, Traffic

CLIENTS = 24
BACK_S = 8.0  # once a router is ready again, until the gateway has found it


async def under_fire(stack, traffic, requests):
    """Send requests and kill the router in their midst; return how long it was away, too."""
    load = asyncio.create_task(traffic.send(requests, clients=CLIENTS))

    async def far_enough():  # and enough is left to be under way while Docker kills
        return traffic.tally.total >= requests // 3 or load.done()

    await until(far_enough, within_s=300, step_s=0.005)
    began = time.monotonic()
    await stack.kill("router")
    await stack.ready("router")
    away_s = time.monotonic() - began
    return await load, away_s


async def test_a_day_without_accidents_leaves_equal_books(stack, since):
    tally = await Traffic(stack, seed=1).send(150)

    books = await closed_books(stack, since)
    assert (150, {}, []) == (tally.answered, dict(tally.broken), tally.odd)
    assert [] == books.problems()
    assert (150, 150, {"ok": 150}) == (
        len(books.bill),
        books.count(CLOSED),
        dict(books.outcomes()),
    )


async def test_a_router_killed_under_load_loses_nothing_and_counts_nothing_twice(stack, since):
    traffic = Traffic(stack, seed=2)
    tally, _ = await under_fire(stack, traffic, 300)

    books = await closed_books(stack, since)
    guessed = [attempt for attempt in books.attempts.values() if attempt.guessed]
    assert [] == tally.odd
    assert [] == books.problems()
    assert tally.answered > 0
    assert 0 < len(guessed) <= CLIENTS
    assert {"unknown"} == {attempt.outcome for attempt in guessed}


async def test_clients_that_hang_up_are_accounted_for(stack, since):
    tally = await Traffic(stack, seed=3, hang_up_ratio=0.3).send(150)

    books = await closed_books(stack, since)
    assert [] == tally.odd
    assert tally.hung_up > 0
    assert [] == books.problems()
    assert [] == [attempt for attempt in books.attempts.values() if attempt.outcome == "unknown"]


async def test_the_great_mix(stack, since):
    """Mixed requests, one client in twenty hangs up, and the router dies in their midst."""
    traffic = Traffic(stack, seed=4, hang_up_ratio=0.05)
    tally, away_s = await under_fire(stack, traffic, stack.mixed_requests)

    books = await closed_books(stack, since)
    unknown = books.outcomes()["unknown"]
    assert [] == tally.odd
    assert stack.mixed_requests == tally.total
    assert tally.hung_up > 0
    assert [] == books.problems()
    assert unknown <= CLIENTS + tally.hung_up  # what the hung-up left is still being drained
    # Each client loses what was under way at the kill, and one a back-off while nobody is there.
    lost = CLIENTS * (1 + (away_s + BACK_S) / BACK_OFF_S)
    assert tally.answered >= stack.mixed_requests - tally.hung_up - lost
