import asyncio
from collections.abc import AsyncIterator

import pytest

from services.gateway import comparisons
from tests.comparison_scene import compare
from tests.gateway_fakes import Stack, a_stack


@pytest.fixture(scope="session")
async def running() -> AsyncIterator[Stack]:
    async with a_stack() as one:
        yield one


@pytest.fixture
async def stack(running: Stack) -> Stack:
    """A gateway without keys, without Redis, its Postgres away; its neighbours as good as new."""
    running.forget()
    await running.gateway.standing.refresh()  # and nothing that another test promoted stands
    return running


@pytest.fixture
async def own_stack() -> AsyncIterator[Stack]:
    """The same for tests that break it, or that count from the start."""
    async with a_stack() as one:
        yield one


@pytest.fixture
def endings(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[str]:
    """How comparisons ended, as it happens."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    count = comparisons._count

    def counts(ending: comparisons.Ending) -> None:
        count(ending)
        queue.put_nowait(ending)

    monkeypatch.setattr(comparisons, "_count", counts)
    return queue


@pytest.fixture
async def compared() -> AsyncIterator[Stack]:
    """An experiment that compares every answer, one at a time; one more may wait."""
    async with a_stack(comparisons_at_once=1, comparisons_waiting=1) as stack:
        compare(stack)
        yield stack
