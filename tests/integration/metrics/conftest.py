import pytest
from optimizer.metrics.v1.metrics_pb2_grpc import MetricsServiceStub

from services.metrics.__main__ import build
from services.metrics.settings import MetricsSettings
from tests.followed_ledger import Ledger, starter


@pytest.fixture
async def ledger():
    ledger = Ledger()
    async with ledger.served() as ledger.target:
        yield ledger


@pytest.fixture
def metrics(database, ledger):
    """Starts the service: `async with metrics() as it:` gives its stub and its parts."""
    return starter(
        build,
        MetricsSettings,
        MetricsServiceStub,
        database_url=database.url("metrics"),
        router_target=ledger.target,
        live_interval_s=0.05,
    )
