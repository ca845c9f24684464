from collections.abc import AsyncIterator

import pytest

from tests.gateway_fakes import Stack, a_stack


@pytest.fixture(scope="session")
async def running() -> AsyncIterator[Stack]:
    async with a_stack() as one:
        yield one


@pytest.fixture
def stack(running: Stack) -> Stack:
    """A gateway without keys, without Redis, its Postgres away; its neighbours as good as new."""
    running.forget()
    return running


@pytest.fixture
async def own_stack() -> AsyncIterator[Stack]:
    """The same for tests that break it, or that count from the start."""
    async with a_stack() as one:
        yield one
