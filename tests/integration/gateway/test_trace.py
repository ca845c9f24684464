"""A caller's trace goes on to the router, and so does the request's own id; each is a span."""

import asyncio

import pytest
import structlog

from common import telemetry, trace
from common.errors import AllFailed, Unavailable
from tests.fake_router import GREETING
from tests.fake_telemetry import FakeTelemetry

CHAT = "/v1/chat/completions"
HELLO = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
PARENT = f"00-{'4b' * 16}-{'00f0' * 4}-01"


@pytest.fixture
def seen(stack):
    """What the router was told of each request that it was asked for."""
    calls = []

    def answer(_):
        calls.append(dict(trace.metadata()))

    stack.router.answer = answer
    return calls


async def test_a_trace_of_the_caller_goes_on(stack, seen):
    answer = await stack.client.post(
        "/v1/chat/completions", json=HELLO, headers={"traceparent": PARENT}
    )

    assert [{"traceparent": PARENT, "x-request-id": answer.headers["x-request-id"]}] == seen


async def test_a_request_without_a_trace_is_one_of_its_own(stack, seen):
    answer = await stack.client.post("/complete", json={"prompt": "hello"})

    own = answer.headers["x-request-id"].replace("-", "")
    assert own == trace.trace_id_of(seen[0]["traceparent"])


@pytest.fixture
def told(stack, monkeypatch):
    """What somebody hears who listens, the router's part included."""
    fake = FakeTelemetry()
    monkeypatch.setattr(telemetry, "_listening", fake)
    return fake


async def test_a_request_is_a_span_above_those_of_its_calls(stack, told):
    logged = []
    stack.router.answer = lambda _: logged.append(structlog.contextvars.get_contextvars())

    answer = await stack.client.post(CHAT, json=HELLO, headers={"traceparent": PARENT})

    gateway, router = told.spans
    assert [
        (f"POST {CHAT}", "", False),
        ("optimizer.router.v1.RouterService/Complete", "", False),
    ] == told.endings
    assert [PARENT, gateway.traceparent] == [gateway.parent, router.parent]
    assert (200, CHAT) == (
        gateway.about["http.response.status_code"],
        gateway.about["http.route"],
    )
    assert answer.headers["x-request-id"] == gateway.about["optimizer.request_id"]
    assert [trace.trace_id_of(PARENT)] == [one["trace_id"] for one in logged]


async def test_without_a_caller_s_trace_logs_and_spans_have_the_same_new_one(stack, told):
    logged = []
    stack.router.answer = lambda _: logged.append(structlog.contextvars.get_contextvars())

    await stack.client.post("/complete", json={"prompt": "hello"})

    gateway, router = told.spans
    assert ("", gateway.trace_id) == (gateway.parent, router.trace_id)
    assert [gateway.trace_id] == [one["trace_id"] for one in logged]


@pytest.mark.parametrize(
    ("failure", "gateway", "router"),
    [
        (AllFailed("nobody answered"), ("502", True), ("", False)),
        (Unavailable("no ledger"), ("503", True), ("UNAVAILABLE", True)),
    ],
)
async def test_only_our_own_failures_are_failures(stack, told, failure, gateway, router):
    stack.router.answer = failure

    await stack.client.post(CHAT, json=HELLO)

    assert [gateway, router] == [ending[1:] for ending in told.endings]


@pytest.mark.parametrize("path", ["/nowhere/a-secret", "/health/../a-secret?key=a-secret"])
async def test_what_a_client_types_is_not_told(stack, told, path):
    await stack.client.get(path)

    assert [("GET", "", False)] == told.endings
    assert "a-secret" not in str(told.spans)


async def test_a_stream_that_breaks_off_after_its_200_failed(stack, told):
    stack.router.stream = (*GREETING[:2], AllFailed("the answer broke off", billed=True))

    await stack.client.post(CHAT, json={**HELLO, "stream": True})

    assert (f"POST {CHAT}", "broke_off", True) == told.endings[0]
    assert 200 == told.spans[0].about["http.response.status_code"]


async def test_who_hangs_up_in_a_stream_ends_its_spans(stack, told):
    stack.router.stream = (*GREETING[:2], asyncio.Event())

    async with stack.client.stream("POST", CHAT, json={**HELLO, "stream": True}) as answer:
        await anext(answer.aiter_bytes())

    async with asyncio.timeout(5):
        await asyncio.gather(*(span.ended.wait() for span in told.spans))
    assert [(f"POST {CHAT}", "client_gone", False), ("", False)] == [
        told.endings[0],
        told.endings[1][1:],
    ]
    assert "CANCELLED" == told.spans[1].about["rpc.response.status_code"]
