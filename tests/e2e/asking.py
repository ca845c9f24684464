"""
What is asked again where a machine is slow.

A trip to Redis over 100 ms is given up, and a commit over 500 ms goes to the journal first: the
product says so, and nobody is to be told that it is broken.
"""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any
from uuid import UUID

from tests.e2e.books import closed_books
from tests.e2e.stack import Reply, StackUnderTest, until

PATIENCE_S = 30


async def answered(ask: Callable[[], Awaitable[Reply]]) -> Any:
    """Ask until it is no 503, which says that nothing was done; return the answer's JSON."""
    replies: list[Reply] = []

    async def served() -> bool:
        replies.append(await ask())
        return replies[-1].status != 503

    await until(served, within_s=PATIENCE_S)
    assert 200 == replies[-1].status, replies[-1]
    return replies[-1].json


async def asked_twice(stack: StackUnderTest, prompt: str) -> tuple[dict[str, Any], Any, Any]:
    """Return what was asked, its first answer, and its second one, which the cache gave."""
    tries = count()
    found: list[Any] = []

    async def repeated() -> bool:
        body = {"prompt": f"{prompt} {next(tries)}"}
        found[:] = [body, *[(await stack.post("/complete", body)).json for _ in range(2)]]
        return [False, True] == [answer["cache_hit"] for answer in found[1:]]

    await until(repeated, within_s=PATIENCE_S)
    body, first, second = found
    return body, first, second


async def results_of(stack: StackUnderTest, since: UUID, experiment_id: int) -> Any:
    """Return an experiment's results once they count all that was answered since *since*."""
    await closed_books(stack, since)
    found: dict[str, Any] = {}

    async def counted() -> bool:
        found.update(await answered(lambda: stack.get(f"/experiments/{experiment_id}/results")))
        return not found["stale"]

    await until(counted, within_s=PATIENCE_S)
    return found
