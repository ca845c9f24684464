from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from optimizer.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub

from services.experiments.__main__ import build
from services.experiments.settings import ExperimentsSettings
from tests.followed_ledger import TOKEN, Ledger, running, stub_of


@pytest.fixture
async def ledger():
    ledger = Ledger()
    async with ledger.served() as ledger.target:
        yield ledger


@pytest.fixture
def experiments(database, ledger):
    """Starts the service: `async with experiments() as it:` gives its stub and its parts."""

    def settings(**changes):
        fields = {
            "database_url": database.url("experiments"),
            "internal_token": TOKEN,
            "router_target": ledger.target,
            "grpc_listen": "127.0.0.1:0",
            "operations_listen": "127.0.0.1:0",
            "drain_s": 0,
        }
        return ExperimentsSettings(**(fields | changes))

    @asynccontextmanager
    async def start(**changes):
        service = await build(settings(**changes))
        async with (
            running(service),
            stub_of(ExperimentsServiceStub, service.server.target) as stub,
        ):
            yield SimpleNamespace(stub=stub, service=service)

    start.settings = settings
    return start
