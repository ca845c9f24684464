"""A router as it is in production, its callers, and the sandbox that it asks."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import grpc
import orjson
from optimizer.router.v1 import ledger_pb2, router_pb2, router_pb2_grpc

from common.grpc_client import call, open_channel
from common.ids import new_id
from common.postgres import connection
from common.wire_errors import failure_of
from services.router.__main__ import build
from services.router.settings import RouterSettings

CATALOG = """
providers:
  - {{name: acme, wire: openai, base_url: "{url}/v1"}}
  - {{name: away, wire: openai, base_url: "{url}/v1", api_key_env: NEVER_SET_KEY}}
  - {{name: gem, wire: gemini, base_url: "{url}"}}
models:
  - name: acme/small
    provider: acme
    upstream: small
    tier: simple
    capability: 0.55
    context_tokens: 32768
    capabilities: [streaming, tools]
    price_usd_per_million: {{input: 0.15, cached_input: 0.015, output: 0.60}}
  - name: acme/large
    provider: acme
    upstream: large
    tier: complex
    capability: 0.85
    context_tokens: 200000
    capabilities: [streaming, tools]
    price_usd_per_million: {{input: 2.50, cached_input: 0.25, output: 10}}
  - name: acme/embed
    provider: acme
    upstream: embed
    tier: simple
    capability: 0.5
    context_tokens: 8192
    capabilities: [embeddings]
    price_usd_per_million: {{input: 0.02}}
  - name: gem/embed
    provider: gem
    upstream: embed
    tier: simple
    capability: 0.5
    context_tokens: 8192
    capabilities: [embeddings]
    price_usd_per_million: {{input: 0.02}}
  - name: away/huge
    provider: away
    upstream: huge
    tier: complex
    capability: 0.99
    context_tokens: 200000
    capabilities: [streaming]
    price_usd_per_million: {{input: 9, cached_input: 9, output: 9}}
routing: {{default_strategy: cheapest, baseline_model: acme/large, preset: balanced}}
"""
OPENED, SETTLED, CLOSED, FEEDBACK = 1, 2, 4, 5


class Gate:
    """Holds the sandbox's answers back while it is shut."""

    def __init__(self, app, path="/v1/chat/completions"):
        self._serve = app._routes["POST", path]
        app._routes["POST", path] = self
        self._opened = asyncio.Event()
        self._opened.set()
        self.asked = asyncio.Event()  # somebody stands before the gate

    async def __call__(self, exchange):
        self.asked.set()
        await self._opened.wait()
        await self._serve(exchange)

    def shut(self):
        self.asked.clear()
        self._opened.clear()

    def open(self):
        self._opened.set()


class Router:
    """One running router, and a channel to it."""

    def __init__(self, service, sandbox, gate):
        self.service = service
        self.sandbox = sandbox
        self.gate = gate
        self.stop = asyncio.Event()
        self.ended = None
        self.channel = None
        self.stub = None

    async def start(self):
        self.ended = asyncio.create_task(self.service.run(self.stop))
        waiting = asyncio.create_task(self.service.started.wait())
        async with asyncio.timeout(30):
            await asyncio.wait({self.ended, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.ended.done():
            await self.ended
        self.channel = open_channel(self.service.server.target, self.service.settings)
        self.stub = router_pb2_grpc.RouterServiceStub(self.channel)

    async def end(self):
        self.gate.open()
        self.stop.set()
        try:
            async with asyncio.timeout(30):
                await self.ended
        finally:
            await self.channel.close()

    async def complete(self, prompt="hi", *, timeout_s=20, ask=None, **changes):
        ask = ask or an_ask(prompt, **changes)
        request = router_pb2.CompleteRequest(ask=ask)
        return await call(self.stub.Complete, request, timeout_s=timeout_s)

    async def embed(self, texts="hi", *, model="acme/embed", **body):
        ask = an_ask(model=model, body=orjson.dumps({"input": texts} | body))
        request = router_pb2.EmbedRequest(ask=ask)
        return ask, await call(self.stub.Embed, request, timeout_s=20)

    def stream(self, prompt="hi", *, timeout_s=20, ask=None, **changes):
        request = router_pb2.StreamCompleteRequest(ask=ask or an_ask(prompt, **changes))
        return self.stub.StreamComplete(request, timeout=timeout_s)

    async def decide(self, prompt="hi", **changes):
        request = router_pb2.DecideRequest(ask=an_ask(prompt, **changes))
        return await call(self.stub.Decide, request, timeout_s=5)

    async def rate(self, request_id, stars, *, tenant="a-key", comment=""):
        request = router_pb2.RecordFeedbackRequest(
            request_id=request_id,
            tenant=tenant,
            quality_score=stars,
            is_correct=True,
            comment=comment,
        )
        return await call(self.stub.RecordFeedback, request, timeout_s=5)

    async def ledger(self, request_id=None):
        """Read what the ledger holds, in its order; of one request, if one is named."""
        request = ledger_pb2.ReadLedgerRequest(consumer="test", limit=10_000)

        async def complete():
            """Any transaction that is open holds the ledger's tail back for a moment."""
            async with connection(self.service.pool) as conn:
                held = await conn.fetchval("SELECT count(*) FROM router.ledger")
            page = await call(self.stub.ReadLedger, request, timeout_s=5)
            return page if len(page.rows) >= held else None

        page = await until(complete)
        return [row for row in page.rows if request_id in (None, row.request_id)]

    async def closed(self, request_id):
        """Wait for the end of a request; its caller may not."""

        async def found():
            return [r for r in await self.ledger(request_id) if r.kind == CLOSED]

        return (await until(found))[0]

    async def under_way(self, count):
        """Wait until *count* stories are being told."""
        await until(lambda: len(self.service.routing._stories._running) == count)

    async def durable(self, request_id):
        """Return the kinds of rows that Postgres holds of a request, at this moment."""
        async with connection(self.service.pool) as conn:
            found = await conn.fetch(
                "SELECT kind FROM router.ledger WHERE request_id = $1 ORDER BY kind", request_id
            )
        return [row["kind"] for row in found]

    @property
    def bill(self):
        return list(self.sandbox.app.bill._entries)


@asynccontextmanager
async def a_router(sandbox, database, folder, *, catalog=CATALOG, gate=None, **settings):
    """Run a router on *database*; its catalog and journal are in *folder*."""
    path = folder / "catalog.yaml"
    path.write_text(catalog.format(url=sandbox.url))
    usual = {
        "database_url": database.url("router"),
        "internal_token": "right",
        "grpc_listen": "127.0.0.1:0",
        "operations_listen": "127.0.0.1:0",
        "catalog_path": path,
        "journal_path": folder / "journal",
        "drain_s": 10,
    }
    service = await build(RouterSettings(**usual | settings))
    router = Router(service, sandbox, gate or Gate(sandbox.app))
    await router.start()
    try:
        yield router
    finally:
        await router.end()


def an_ask(prompt="hi", *, body=None, request_id=None, strategy="", parameters=None, **changes):
    """Make an ask as the gateway does; of one tenant, if *changes* do not name another."""
    messages = {"messages": [{"role": "user", "content": prompt}]}
    return router_pb2.Ask(
        request_id=str(new_id()) if request_id is None else request_id,
        strategy=router_pb2.Strategy(
            name=strategy, parameters_json=orjson.dumps(parameters) if parameters else b""
        ),
        body=orjson.dumps(messages) if body is None else body,
        **{"tenant": "a-key"} | changes,
    )


def text_of(response):
    return json.loads(response.body)["choices"][0]["message"]["content"]


def kinds(rows):
    return [row.kind for row in rows]


async def until(condition, *, within_s=10):
    """Wait until *condition*, a function or a coroutine function, is true; return what it gave."""
    async with asyncio.timeout(within_s):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)


async def read_all(stream):
    """Return the events of a stream until it ends; raise the failure that ends it."""
    try:
        return [event async for event in stream]
    except grpc.aio.AioRpcError as error:
        raise failure_of(error) from error


async def cancelled(task):
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
