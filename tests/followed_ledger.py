"""A ledger to follow: rows as the router would send them, served over real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

from optimizer.router.v1.ledger_pb2 import LedgerRow, ReadLedgerResponse
from optimizer.router.v1.router_pb2_grpc import (
    RouterServiceServicer,
    add_RouterServiceServicer_to_server,
)

from common.errors import Unavailable
from common.grpc_client import open_channel
from common.grpc_server import GrpcServer
from common.ids import new_id, time_of
from common.settings import ServiceSettings

TOKEN = "shared-token"
UNSET = object()


class Ledger(RouterServiceServicer):
    """Positions are plain numbers; `silent` makes it fail like a router that lost Postgres."""

    def __init__(self):
        self.rows = []
        self.silent = False
        self.read_at = []

    def add(self, *rows):
        self.rows.extend(rows)
        return rows[-1].request_id

    async def ReadLedger(self, request, context):  # noqa: N802
        if self.silent:
            raise Unavailable("the ledger is silent")
        start = int(request.cursor or 0)
        end = min(start + (request.limit or 1000), len(self.rows))
        self.read_at.append((request.consumer, start))
        return ReadLedgerResponse(
            rows=self.rows[start:end], next_cursor=str(end), more=end < len(self.rows)
        )

    @asynccontextmanager
    async def served(self, listen="127.0.0.1:0"):
        settings = ServiceSettings(
            database_url="postgresql://unused", internal_token=TOKEN, grpc_listen=listen, drain_s=0
        )
        server = GrpcServer(
            settings, [lambda inner: add_RouterServiceServicer_to_server(self, inner)]
        )
        await server.start()
        try:
            yield server.target
        finally:
            await server.stop()


def closed(request_id=None, *, cost=100, baseline=UNSET, at_ms=None, **changes):
    """The end of a request; `cost=None` is unpriced."""
    id_ = request_id or str(new_id())
    fields = {
        "kind": LedgerRow.KIND_CLOSED,
        "attempt_id": id_,
        "request_id": id_,
        "recorded_at_ms": at_ms or int(time_of(new_id()).timestamp() * 1000),
        "strategy": "hybrid",
        "confidence": "high",
        "provider": "acme",
        "model": "acme/small",
        "outcome": "ok",
        "input_tokens": 10,
        "output_tokens": 5,
        "pricing": "unpriced" if cost is None else "priced",
        "latency_ms": 12.5,
    }
    row = LedgerRow(**(fields | changes))
    if cost is not None:
        row.cost_nano_usd = cost
    if (base := 9 * (cost or 0) if baseline is UNSET else baseline) is not None:
        row.baseline_cost_nano_usd = base
    return row


def corrected(request_id, cost, **changes):
    fields = {
        "kind": LedgerRow.KIND_CORRECTED,
        "attempt_id": str(new_id()),
        "revision": 1,
        "request_id": request_id,
        "cost_nano_usd": cost,
        "pricing": "priced",
    }
    return LedgerRow(**(fields | changes))


def rated(request_id, score, *, revision=1):
    return LedgerRow(
        kind=LedgerRow.KIND_FEEDBACK,
        attempt_id=request_id,
        request_id=request_id,
        revision=revision,
        details_json=b'{"quality_score": %d, "is_correct": true}' % score,
    )


def voted(request_id, *, revision=1):
    """A vote on a cached answer that nobody gave stars to."""
    return LedgerRow(
        kind=LedgerRow.KIND_FEEDBACK,
        attempt_id=request_id,
        request_id=request_id,
        revision=revision,
        details_json=b'{"votes": {"up": 0, "down": 1}}',
    )


def garbage():
    """Rows that no sane router writes."""
    return [
        LedgerRow(),
        LedgerRow(kind=99, request_id=str(new_id())),
        closed("not-a-uuid"),
        closed(cost=-5, baseline=None, experiment_id=1, arm="test", user_id="user0"),
        closed(input_tokens=-1),
        closed(strategy="a\x00b"),
        closed(model="x" * 10_000, experiment_id=1, arm="test", user_id="user0"),
        closed(at_ms=-1, experiment_id=1, arm="test", user_id="user0"),
        closed(at_ms=2**62),
        closed(cost=2**62, baseline=None),
        closed(latency_ms=float("nan"), experiment_id=1, arm="test", user_id="user0"),
        closed(latency_ms=float("inf"), experiment_id=-1, arm="test", user_id="user0"),
        corrected(str(new_id()), -(2**63)),
        corrected("", 1),
        LedgerRow(kind=LedgerRow.KIND_FEEDBACK, request_id=str(new_id()), details_json=b"{"),
        LedgerRow(kind=LedgerRow.KIND_FEEDBACK, request_id=str(new_id()), details_json=b"[]"),
    ]


@asynccontextmanager
async def running(service):
    """Run a built service until the block ends."""
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        await asyncio.wait(
            {task, started := asyncio.create_task(service.started.wait())},
            return_when=asyncio.FIRST_COMPLETED,
            timeout=30,
        )
        started.cancel()
        if task.done():
            task.result()
        yield service
    finally:
        stop.set()
        await task


def starter(build, settings_type, make_stub, **always):
    """
    Return what starts a service: `async with start(**changes) as it:` gives its stub and its parts.

    `await start.build(**changes)` is the service, wired and not started.
    """

    async def built(**changes):
        fields = {
            "internal_token": TOKEN,
            "grpc_listen": "127.0.0.1:0",
            "operations_listen": "127.0.0.1:0",
            "drain_s": 0,
        }
        return await build(settings_type(**(fields | always | changes)))

    @asynccontextmanager
    async def start(**changes):
        service = await built(**changes)
        async with running(service), stub_of(make_stub, service.server.target) as stub:
            yield SimpleNamespace(stub=stub, service=service)

    start.build = built
    return start


async def assert_it_waits_for_its_neighbours(start, database):
    """Build a service while there is neither router nor Postgres; it serves when Postgres is."""
    with database.paused():
        service = await start.build(router_target="127.0.0.1:1", database_pool_min=0)
        stop = asyncio.Event()
        task = asyncio.create_task(service.run(stop))
        await asyncio.sleep(0.3)
        assert not service.started.is_set()

    await asyncio.wait_for(service.started.wait(), 30)
    stop.set()
    await task


@asynccontextmanager
async def killed(service) -> AsyncIterator[None]:
    """Run a built service, then end it as a kill would: without a farewell."""
    task = asyncio.create_task(service.run(asyncio.Event()))
    try:
        await service.started.wait()
        yield service
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await service.server.stop()


@asynccontextmanager
async def stub_of(make, target):
    """A stub over a channel that knows the token."""
    settings = ServiceSettings(database_url="postgresql://unused", internal_token=TOKEN)
    channel = open_channel(target, settings)
    try:
        yield make(channel)
    finally:
        await channel.close(None)


async def eventually(check, *, within_s=10.0):
    """Ask until *check* returns something true; the last answer is returned."""
    async with asyncio.timeout(within_s):
        while not (found := await check()):  # noqa: ASYNC110 - asked from outside
            await asyncio.sleep(0.02)
    return found
