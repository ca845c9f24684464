import pytest
from optimizer.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub

from services.experiments.__main__ import build
from services.experiments.settings import ExperimentsSettings
from tests.followed_ledger import Ledger, starter


@pytest.fixture
async def ledger():
    ledger = Ledger()
    async with ledger.served() as ledger.target:
        yield ledger


@pytest.fixture
def experiments(database, ledger):
    """Starts the service: `async with experiments() as it:` gives its stub and its parts."""
    return starter(
        build,
        ExperimentsSettings,
        ExperimentsServiceStub,
        database_url=database.url("experiments"),
        router_target=ledger.target,
    )
