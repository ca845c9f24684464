"""A sandbox and a router of one's own, without a cache if a test does not ask for one."""

import asyncio
from pathlib import Path

import pytest

from common.migrate import migrate
from common.postgres import close_pool, connection, open_pool
from common.settings import ServiceSettings
from sandbox.__main__ import build
from sandbox.settings import SandboxSettings
from services.router.background import Caller
from services.router.store import ledger_table
from tests.integration.router.router_stack import a_router

MIGRATIONS = Path(__file__).parents[3] / "services/router/migrations"


@pytest.fixture
async def pool(database):
    """The router's database, without a router."""
    await migrate(database.url("router"), "router", MIGRATIONS)
    settings = ServiceSettings(
        database_url=database.url("router"), internal_token="t", database_acquire_timeout_s=1
    )
    pool = await open_pool(settings)
    async with connection(pool) as conn:
        await ledger_table.begin_epoch(conn)
    yield pool
    await close_pool(pool)


@pytest.fixture
async def sandbox():
    settings = SandboxSettings(listen="127.0.0.1:0", latency_scale=0)
    async with build(settings) as running:
        yield running


@pytest.fixture
def left(monkeypatch):
    """Set once a caller has left and the router has heard of it."""
    heard, leave = asyncio.Event(), Caller.leave

    def noted(caller):
        leave(caller)
        heard.set()

    monkeypatch.setattr(Caller, "leave", noted)
    return heard


@pytest.fixture
async def router(sandbox, database, tmp_path):
    async with a_router(sandbox, database, tmp_path) as running:
        yield running


@pytest.fixture
async def caching(sandbox, database, tmp_path, redis_url):
    """A router with Redis."""
    async with a_router(sandbox, database, tmp_path, redis_url=redis_url) as running:
        yield running
        await running.service.cache.flush()
