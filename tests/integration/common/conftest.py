"""Settings and pools for the tests of common/."""

from contextlib import asynccontextmanager

import pytest

from common.postgres import close_pool, open_pool
from common.settings import ServiceSettings
from tests.integration.common.grpc_stack import Stack, settings_with


@pytest.fixture
def database(empty_database):
    """Without any service's tables: what is tested here knows none."""
    return empty_database


@pytest.fixture
def settings_for(database):
    def make(role="metrics", **other):
        return ServiceSettings(database_url=database.url(role), internal_token="token", **other)

    return make


@pytest.fixture
def pool_of(settings_for):
    @asynccontextmanager
    async def opened(role="metrics", **other):
        pool = await open_pool(settings_for(role, **other))
        try:
            yield pool
        finally:
            await close_pool(pool)

    return opened


@pytest.fixture
async def stack():
    made = Stack(settings_with())
    await made.start()
    made.connect()
    yield made
    await made.channel.close()
    await made.server.stop()
