"""What a collector is told of a request, from the gateway to the provider; and one that is bad."""

import asyncio
import secrets

import pytest
from aiohttp import web
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.embedded import EmbeddedStack
from tests.otlp_receiver import otlp_receiver

SECRET = "nobody-is-to-see"
CHAT = "/v1/chat/completions"
CLIENT = Span.SPAN_KIND_CLIENT


@pytest.fixture(scope="module")
async def receiver():
    async with otlp_receiver() as running:
        yield running


@pytest.fixture(scope="module")
async def fresh(receiver):
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-collector-key=its-key",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "100",
    }
    async with EmbeddedStack(**settings) as started:
        yield started


def a_parent(*, kept=True):
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-0{int(kept)}"


async def asked(stack, prompt, parent, **fields):
    """Ask for a model that answers, and return the answer's status."""
    fields = {"model": "sandbox/medium", **fields}
    reply = await stack.chat(f"{prompt} {SECRET}", headers_={"traceparent": parent}, **fields)
    assert 200 == reply.status, reply
    return reply


async def spans_of(receiver, parent, count):
    """Return the trace's spans by service, providers' calls as their own, once *count* are here."""
    trace_id = parent.split("-")[1]
    spans = await receiver.until(
        lambda: len(receiver.of(trace_id)) >= count and receiver.of(trace_id)
    )
    assert count == len(spans)
    ours = {span.service: span for span in spans if span.kind != CLIENT}
    return ours["gateway"], ours["router"], [span for span in spans if span.kind == CLIENT]


async def test_a_request_is_one_trace_from_its_caller_to_the_provider(fresh, receiver):
    parent = a_parent()

    reply = await asked(fresh, "one", parent)

    gateway, router, (provider,) = await spans_of(receiver, parent, 3)
    assert [parent.split("-")[2], gateway.span_id, router.span_id] == [
        gateway.parent,
        router.parent,
        provider.parent,
    ]
    assert (f"POST {CHAT}", CHAT, 200) == (
        gateway.name,
        gateway.about["http.route"],
        gateway.about["http.response.status_code"],
    )
    assert reply.headers["x-request-id"] == gateway.about["optimizer.request_id"]
    assert ("optimizer.router.v1.RouterService/Complete", "OK") == (
        router.name,
        router.about["rpc.response.status_code"],
    )
    assert ("chat medium", "sandbox", reply.json["usage"]["completion_tokens"]) == (
        provider.name,
        provider.about["gen_ai.provider.name"],
        provider.about["gen_ai.usage.output_tokens"],
    )
    assert float(reply.headers["x-optimizer-cost-usd"]) == provider.about["optimizer.cost_usd"]
    assert {"its-key"} == {headers["x-collector-key"] for headers in receiver.headers}


async def test_a_repeat_is_a_second_call_and_the_first_one_says_why(fresh, receiver):
    parent = a_parent()

    await asked(fresh, "[[fault:status=429,retry_after=0,times=1]]", parent)

    gateway, router, providers = await spans_of(receiver, parent, 4)
    assert {router.span_id} == {span.parent for span in providers}
    assert [(True, "rate_limited"), (False, None)] == [
        (span.failed, span.about.get("error.type")) for span in providers
    ]
    assert (False, False) == (gateway.failed, router.failed)


async def test_metrics_have_the_names_of_the_conventions_and_closed_labels(fresh, receiver):
    await asked(fresh, "three", a_parent(), stream=True)

    first = await receiver.until(
        lambda: receiver.metrics.get("gen_ai.client.operation.time_to_first_chunk")
    )
    duration = receiver.metrics["gen_ai.client.operation.duration"]
    usage = receiver.metrics["gen_ai.client.token.usage"]
    assert {("s", "medium")} == {(one["unit"], one["gen_ai.request.model"]) for one in first}
    assert {"s"} == {one["unit"] for one in duration}
    assert {("{token}", "input"), ("{token}", "output")} == {
        (one["unit"], one["gen_ai.token.type"]) for one in usage
    }


async def test_a_caller_that_keeps_no_trace_is_not_traced_and_nobody_tells_what_was_said(
    fresh, receiver
):
    unkept, kept = a_parent(kept=False), a_parent()

    reply = await asked(fresh, "four", unkept)
    await asked(fresh, "five", kept, stream=True)

    await spans_of(receiver, kept, 3)
    said = reply.json["choices"][0]["message"]["content"].encode()
    assert [] == receiver.of(unkept.split("-")[1])
    assert [] == [body for body in receiver.bodies if SECRET.encode() in body or said[:40] in body]


async def refuses():
    return web.Response(status=500, body=b"\0garbage")


async def test_a_bad_collector_harms_no_request_and_is_told_again_when_it_is_back(fresh, receiver):
    stuck = asyncio.Event()

    async def hangs():
        await stuck.wait()
        return web.Response(status=503)

    for behaviour in (refuses, hangs):
        receiver.answer = behaviour
        before = len(receiver.bodies)
        await asked(fresh, "six", a_parent())
        await receiver.until(lambda before=before: len(receiver.bodies) > before)
        async with asyncio.timeout(9):  # who sends gives a collector that hangs 10 s
            await asyncio.gather(*(asked(fresh, f"seven {n}", a_parent()) for n in range(20)))

    receiver.answer = None
    stuck.set()
    parent = a_parent()
    await asked(fresh, "eight", parent)
    await spans_of(receiver, parent, 3)
