from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from optimizer.metrics.v1.metrics_pb2_grpc import MetricsServiceStub

from services.metrics.__main__ import build
from services.metrics.settings import MetricsSettings
from tests.followed_ledger import TOKEN, Ledger, running, stub_of


@pytest.fixture
async def ledger():
    ledger = Ledger()
    async with ledger.served() as ledger.target:
        yield ledger


@pytest.fixture
def metrics(database, ledger):
    """Starts the service: `async with metrics() as it:` gives its stub and its parts."""

    def settings(**changes):
        fields = {
            "database_url": database.url("metrics"),
            "internal_token": TOKEN,
            "router_target": ledger.target,
            "grpc_listen": "127.0.0.1:0",
            "operations_listen": "127.0.0.1:0",
            "live_interval_s": 0.05,
            "drain_s": 0,
        }
        return MetricsSettings(**(fields | changes))

    @asynccontextmanager
    async def start(**changes):
        service = await build(settings(**changes))
        async with (
            running(service),
            stub_of(MetricsServiceStub, service.server.target) as stub,
        ):
            yield SimpleNamespace(stub=stub, service=service)

    start.settings = settings
    return start
