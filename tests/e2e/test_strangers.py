"""Whoever does not belong here: at a gRPC port, in another's schema, from a page elsewhere."""

import itertools

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from optimizer.experiments.v1 import experiments_pb2, experiments_pb2_grpc
from optimizer.metrics.v1 import metrics_pb2, metrics_pb2_grpc
from optimizer.router.v1 import router_pb2, router_pb2_grpc

from tests.e2e.stack import SERVICES

CALLS = {
    "router": lambda channel: router_pb2_grpc.RouterServiceStub(channel).ListModels(
        router_pb2.ListModelsRequest(), timeout=5
    ),
    "experiments": lambda channel: experiments_pb2_grpc.ExperimentsServiceStub(channel).List(
        experiments_pb2.ListRequest(), timeout=5
    ),
    "metrics": lambda channel: metrics_pb2_grpc.MetricsServiceStub(channel).GetSnapshot(
        metrics_pb2.GetSnapshotRequest(), timeout=5
    ),
}


@pytest.mark.parametrize("service", CALLS)
@pytest.mark.parametrize("metadata", [None, (("authorization", "Bearer guessed"),)])
async def test_a_stranger_at_a_grpc_port_is_unauthenticated(stack, service, metadata):
    async with grpc.aio.insecure_channel(stack.grpc_targets()[service]) as channel:
        call = CALLS[service]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(_with(channel, metadata))

    assert grpc.StatusCode.UNAUTHENTICATED == caught.value.code()


class _with:  # noqa: N801  reads as a preposition above
    """A channel whose unary calls carry metadata."""

    def __init__(self, channel, metadata):
        self._channel = channel
        self._metadata = metadata

    def unary_unary(self, *arguments, **options):
        call = self._channel.unary_unary(*arguments, **options)
        return lambda request, timeout: call(request, timeout=timeout, metadata=self._metadata)

    def __getattr__(self, name):
        return getattr(self._channel, name)


@pytest.mark.parametrize("service", CALLS)
async def test_health_needs_no_token(stack, service):
    async with grpc.aio.insecure_channel(stack.grpc_targets()[service]) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=5
        )

    assert health_pb2.HealthCheckResponse.SERVING == answer.status


@pytest.mark.parametrize(("role", "schema"), list(itertools.permutations(SERVICES, 2)))
async def test_a_role_sees_its_own_schema_and_no_other(stack, role, schema):
    tables = await stack.sql(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = $1", schema
    )
    connection = await asyncpg.connect(stack.role_url(role), timeout=10)
    try:
        assert tables
        for (table,) in tables:
            for statement in (f"SELECT count(*) FROM {table}", f"DELETE FROM {table}"):  # noqa: S608
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"CREATE TABLE {schema}.planted ()")
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute(f"SET ROLE {schema}")
    finally:
        await connection.close()


async def test_not_even_the_router_may_change_the_ledger(stack, since):
    await stack.post("/complete", {"prompt": f"{since}"})
    connection = await asyncpg.connect(stack.role_url("router"), timeout=10)
    try:
        for statement in (
            "UPDATE router.ledger SET cost_nano_usd = 0",
            "DELETE FROM router.ledger",
        ):
            with pytest.raises(asyncpg.PostgresError, match="append-only"):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_an_open_gateway_is_not_reached_from_a_web_page(stack):
    if stack.key:
        pytest.skip("it is not open")
    foreign_page = await stack.post("/complete", {"prompt": "x"}, origin="https://evil.example")
    foreign_host = await stack.post("/complete", {"prompt": "x"}, host="evil.example")

    assert (403, 403) == (foreign_page.status, foreign_host.status)
