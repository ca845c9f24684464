from collections.abc import AsyncIterator

import pytest

from tests.gateway_fakes import Stack, a_stack


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """A gateway without keys, without Redis, its Postgres away."""
    async with a_stack() as running:
        yield running
