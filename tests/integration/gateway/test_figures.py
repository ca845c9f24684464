"""What the gateway tells Prometheus of the requests that it serves."""

import asyncio
from dataclasses import fields

import pytest
from optimizer.router.v1 import router_pb2
from prometheus_client import REGISTRY

from common.errors import AllFailed
from services.gateway.app import Parts, make_app
from services.gateway.figures import hold_names
from tests.fake_router import GREETING, a_completion, an_outcome

CHAT = "/v1/chat/completions"
HELLO = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
ACME = {"model": "acme/small", "provider": "acme"}
STRANGERS = 10_000
NOBODY = {"model": "none", "provider": "none"}


@pytest.fixture(autouse=True)
def _catalog(stack):
    hold_names([router_pb2.Model(name="acme/small", provider="acme")])


def counted(route, outcome, **names):
    labels = {"route": route, "outcome": outcome, **names}
    return REGISTRY.get_sample_value("optimizer_requests_total", labels) or 0


def observed(name):
    return REGISTRY.get_sample_value(f"{name}_count") or 0


def a_request(method, path):
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
    }


async def nothing_more():
    return {"type": "http.request", "body": b"", "more_body": False}


async def to_nobody(message):
    pass


def series():
    families = [f for f in REGISTRY.collect() if f.name.startswith("optimizer_request")]
    return sum(len(family.samples) for family in families)


def routes():
    families = [f for f in REGISTRY.collect() if f.name == "optimizer_requests"]
    return {sample.labels["route"] for family in families for sample in family.samples}


async def test_an_answer_counts_for_its_model(stack):
    before = counted(CHAT, "ok", **ACME), observed("optimizer_overhead_seconds")

    await stack.client.post(CHAT, json=HELLO)

    after = counted(CHAT, "ok", **ACME), observed("optimizer_overhead_seconds")
    assert (1, 1) == (after[0] - before[0], after[1] - before[1])


async def test_a_model_that_the_catalog_lacks_is_other(stack):
    other = {"model": "other", "provider": "other"}
    strange = an_outcome(model="who/knows", provider="who")
    stack.router.answer = router_pb2.CompleteResponse(body=a_completion(), outcome=strange)
    before = counted(CHAT, "ok", **other)

    await stack.client.post(CHAT, json=HELLO)

    assert 1 == counted(CHAT, "ok", **other) - before


async def test_a_stream_counts_once_with_its_first_token(stack):
    name = "optimizer_time_to_first_token_seconds"
    before = counted(CHAT, "ok", **ACME), observed(name)

    await stack.client.post(CHAT, json={**HELLO, "stream": True})

    assert (1, 1) == (counted(CHAT, "ok", **ACME) - before[0], observed(name) - before[1])


async def test_a_stream_that_breaks_off_is_no_success(stack):
    stack.router.stream = (*GREETING[:2], AllFailed("the answer broke off", billed=True))
    before = counted(CHAT, "server_error", **ACME), counted(CHAT, "ok", **ACME)

    await stack.client.post(CHAT, json={**HELLO, "stream": True})

    after = counted(CHAT, "server_error", **ACME), counted(CHAT, "ok", **ACME)
    assert (1, 0) == (after[0] - before[0], after[1] - before[1])


async def test_who_errs_shows_in_the_outcome(stack):
    stack.router.answer = AllFailed("nobody answered")
    before = counted(CHAT, "client_error", **NOBODY), counted(CHAT, "server_error", **NOBODY)

    await stack.client.post(CHAT, content=b"{")
    await stack.client.post(CHAT, json=HELLO)

    after = counted(CHAT, "client_error", **NOBODY), counted(CHAT, "server_error", **NOBODY)
    assert (1, 1) == (after[0] - before[0], after[1] - before[1])


async def test_who_hangs_up_in_a_stream_has_cancelled_it(stack):
    never = asyncio.Event()
    stack.router.stream = (*GREETING[:2], never)
    before = counted(CHAT, "cancelled", **ACME)

    async with stack.client.stream("POST", CHAT, json={**HELLO, "stream": True}) as answer:
        await anext(answer.aiter_bytes())

    async with asyncio.timeout(5):
        while counted(CHAT, "cancelled", **ACME) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert 1 == counted(CHAT, "cancelled", **ACME) - before


async def test_addresses_and_methods_that_strangers_type_make_no_series(stack):
    app = make_app(stack.settings, Parts(*[None] * len(fields(Parts))))  # nobody is asked

    async def strangers(numbers):
        for number in numbers:
            path = ("/health", f"/experiments/{number}", f"/{number}/nowhere", f"/v1/{number}")
            await app(a_request(f"DO{number}", path[number % 4]), nothing_more, to_nobody)

    await strangers(range(4))
    before = series()
    await strangers(range(4, STRANGERS))

    assert {"other", "/health", "/experiments/{experiment_id}"} <= routes()
    assert before == series()


async def test_what_never_was_a_request_is_counted_too(stack):
    before = counted("other", "client_error", **NOBODY)
    reader, writer = await asyncio.open_connection(*stack.address)

    writer.write(b"this is no HTTP\r\n\r\n")
    await reader.read()
    writer.close()

    assert 1 == counted("other", "client_error", **NOBODY) - before
