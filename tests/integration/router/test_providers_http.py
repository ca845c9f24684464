"""Each wire over a real socket: what is sent, and what is made of whatever comes back."""

import asyncio
import json
import time

import pytest

from common.ids import new_id
from services.router.domain.catalog import Timeouts
from services.router.domain.provider_failure import ProviderFailure
from services.router.domain.request import Usage
from services.router.providers.client import ProviderClient
from tests.router_builders import a_catalog, a_model, a_provider
from tests.scripted_provider import (
    a_completion,
    answers,
    begins,
    bomb,
    hangs,
    heartbeats,
    pieces,
    resets,
    scripted_provider,
    sse,
    streams,
)

LARGE = a_model("acme/large")
SMALL = a_model("acme/small")
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
QUICK = Timeouts(connect_s=1, first_token_s=0.2, idle_s=0.2, total_s=5)
PATIENT = Timeouts()  # a busy machine is no silent provider

ANTHROPIC_ANSWER = {
    "id": "r-1",
    "type": "message",
    "model": "large",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 7, "output_tokens": 3},
}
GEMINI_ANSWER = {
    "responseId": "r-1",
    "modelVersion": "large",
    "candidates": [{"content": {"parts": [{"text": "hello"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3},
}
TEXTS = ["zwölf \u2028 \u0085", "\U0001f600 …"]
MESSAGE = {"id": "r-1", "model": "large", "usage": {"input_tokens": 7}}
DELTAS = [{"type": "text_delta", "text": text} for text in TEXTS]
ANTHROPIC_EVENTS = [
    {"type": "message_start", "message": MESSAGE},
    {"type": "ping"},
    *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in DELTAS),
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
]
GEMINI_EVENTS = [
    *({"responseId": "r-1", "candidates": [{"content": {"parts": [{"text": t}]}}]} for t in TEXTS),
    GEMINI_ANSWER | {"candidates": [{"finishReason": "STOP"}]},
]
STREAMS = {"openai": pieces(TEXTS), "anthropic": ANTHROPIC_EVENTS, "gemini": GEMINI_EVENTS}
ANSWERS = {"openai": a_completion(), "anthropic": ANTHROPIC_ANSWER, "gemini": GEMINI_ANSWER}
WIRES = list(STREAMS)


@pytest.fixture
async def provider():
    async with scripted_provider() as provider:
        yield provider


def a_client(provider, wire="openai", *, timeouts=PATIENT, key="secret"):
    acme = a_provider("acme", wire=wire, base_url=provider.url + "/v1", timeouts=timeouts)
    catalog = a_catalog(LARGE, SMALL, providers={"acme": acme})
    return ProviderClient(lambda: catalog, key_of=lambda _: key)


async def complete(client, body=CHAT, *, within_s=60.0):
    call = client.prepare(LARGE, body, streamed=False)
    try:
        return await client.complete(call, new_id(), deadline=time.monotonic() + within_s)
    finally:
        await client.close()


async def stream(client, body=CHAT, *, within_s=60.0):
    """Return (the chunks, the facts, the tail)."""
    call = client.prepare(LARGE, body, streamed=True)
    end = time.monotonic() + within_s
    try:
        upstream = await client.stream(call, new_id(), first_by=end, deadline=end)
        batches = []
        while (batch := await upstream.next_batch()) is not None:
            batches.extend(batch)
        return (
            [json.loads(c) for c in batches],
            upstream.facts,
            [json.loads(c) for c in upstream.tail],
        )
    finally:
        await client.close()


def text_of(chunks):
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)


@pytest.mark.parametrize(
    ("wire", "path", "name", "value"),
    [
        ("openai", "/v1/chat/completions", "authorization", "Bearer secret"),
        ("anthropic", "/v1/messages", "x-api-key", "secret"),
        ("gemini", "/v1/models/large:generateContent", "x-goog-api-key", "secret"),
    ],
)
async def test_a_call_goes_where_it_should_and_says_who_asks(provider, wire, path, name, value):
    provider.plays(answers(ANSWERS[wire]))
    client = a_client(provider, wire)
    attempt_id = new_id()

    call = client.prepare(LARGE, CHAT, streamed=False)
    reply = await client.complete(call, attempt_id, deadline=time.monotonic() + 5)
    await client.close()

    received = provider.received[0]
    assert (received.path, received.headers[name]) == (path, value)
    assert received.headers["x-client-request-id"] == str(attempt_id)
    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "hello"
    assert json.loads(reply.body)["model"] == "acme/large"
    assert (reply.usage, reply.response_id, reply.finish_reason) == (Usage(7, 3), "r-1", "stop")


@pytest.mark.parametrize("wire", WIRES)
async def test_fields_that_nobody_knows_reach_the_provider(provider, wire):
    provider.plays(answers(ANSWERS[wire]))

    await complete(a_client(provider, wire), CHAT | {"tomorrow": {"x": [1, None]}})

    assert provider.received[0].body["tomorrow"] == {"x": [1, None]}


async def test_fields_that_nobody_knows_come_back(provider):
    provider.plays(answers(a_completion(tomorrow={"x": 1})))

    reply = await complete(a_client(provider))

    assert json.loads(reply.body)["tomorrow"] == {"x": 1}


async def test_usage_is_always_asked_for(provider):
    provider.plays(streams(*pieces()))

    await stream(a_client(provider), CHAT | {"stream_options": {"tomorrow": 1}})

    assert provider.received[0].body["stream"] is True
    assert provider.received[0].body["stream_options"] == {"tomorrow": 1, "include_usage": True}


@pytest.mark.parametrize("ending", ["\n\n", "\r\n\r\n", "\r\r"])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_stream_may_break_at_every_byte(provider, wire, ending):
    provider.plays(streams(*STREAMS[wire], ending=ending, packet=1, done=wire == "openai"))

    chunks, facts, tail = await stream(
        a_client(provider, wire), CHAT | {"stream_options": {"include_usage": True}}
    )

    assert text_of(chunks) == "".join(TEXTS)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [c["choices"][0]["finish_reason"] for c in tail[:1]] == ["stop"]
    assert [c["usage"]["completion_tokens"] for c in tail[1:]] == [3]
    assert (facts.usage, facts.response_id) == (Usage(7, 3), "r-1")


async def test_a_connection_is_used_again(provider):
    provider.plays(streams(*pieces()), answers(a_completion()))
    client = a_client(provider)
    end = time.monotonic() + 5

    upstream = await client.stream(
        client.prepare(LARGE, CHAT, streamed=True), new_id(), first_by=end, deadline=end
    )
    while await upstream.next_batch() is not None:
        pass
    await asyncio.gather(*client._leftovers)
    await client.complete(client.prepare(LARGE, CHAT, streamed=False), new_id(), deadline=end)
    await client.close()

    assert (len(provider.received), provider.connections) == (2, 1)


async def test_a_stream_is_complete_without_its_last_word(provider):
    provider.plays(streams(*pieces(), done=False))

    chunks, _, tail = await stream(a_client(provider))

    assert (text_of(chunks), len(tail)) == ("ab", 1)


@pytest.mark.parametrize("end", [hangs, resets, heartbeats])
async def test_what_comes_after_the_finish_cannot_spoil_it(provider, end):
    provider.plays(begins(*pieces(), then=end))

    chunks, facts, tail = await stream(a_client(provider, timeouts=QUICK))

    assert (text_of(chunks), facts.usage, len(tail)) == ("ab", Usage(7, 3), 1)


async def test_the_other_model_that_answered_is_the_one_that_counts(provider):
    provider.plays(answers(a_completion(model="small")))

    reply = await complete(a_client(provider))

    assert (reply.answered, json.loads(reply.body)["model"]) == (SMALL, "acme/small")


async def test_missing_usage_is_no_usage(provider):
    provider.plays(answers(a_completion(usage=None)))

    reply = await complete(a_client(provider))

    assert (reply.usage, reply.written_bytes) == (None, 5)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (answers(b"<html>hello</html>", kind="text/html"), "garbage"),
        (answers(b""), "garbage"),
        (answers(b"   "), "garbage"),
        (answers(b"null"), "garbage"),
        (answers(a_completion(choices=[])), "garbage"),
        (answers(a_completion("")), "garbage"),
        (answers(a_completion(" \n")), "garbage"),
        (answers(a_completion(choices=[None])), "garbage"),
        (answers(b'{"a":' * 400 + b"1" + b"}" * 400), "garbage"),
        (answers({"error": {"message": "x", "type": "rate_limit_error"}}), "rate_limited"),
        (answers({}, status=302, Location="http://127.0.0.1:1/"), "redirected"),
        (answers(b"<html>", status=502), "overloaded"),
        (answers(b"x" * (33 * 1024 * 1024)), "garbage"),
        (bomb(200 * 1024 * 1024), "garbage"),
        (answers(b"no gzip", **{"Content-Encoding": "gzip"}), "truncated"),
        (resets, "reset"),
    ],
)
async def test_a_plain_call_fails_in_a_known_way(provider, script, kind):
    provider.plays(script)

    with pytest.raises(ProviderFailure) as caught:
        await complete(a_client(provider, timeouts=Timeouts(total_s=30)), within_s=30)

    assert caught.value.kind == kind
    assert len(provider.received) == 1


@pytest.mark.parametrize(("total_s", "within_s"), [(0.1, 30), (30, 0.1)])
async def test_a_plain_call_takes_no_longer_than_provider_and_caller_allow(
    provider, total_s, within_s
):
    provider.plays(hangs)

    with pytest.raises(ProviderFailure) as caught:
        await complete(a_client(provider, timeouts=Timeouts(total_s=total_s)), within_s=within_s)

    assert (caught.value.kind, caught.value.maybe_billed) == ("timed_out", True)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (answers(b"<html>hello</html>", kind="text/html"), "garbage"),
        (answers(a_completion()), "garbage"),
        (answers({"error": {"message": "x", "code": 429}}), "rate_limited"),
        (streams(), "garbage"),
        (streams(done=False), "garbage"),
        (streams(b": ping\n\n"), "garbage"),
        (streams(*pieces(), b"data: {nonsense\n\n"), "garbage"),
        (streams(*pieces(finish=None)), "truncated"),
        (streams(*pieces(), {"error": {"message": "x"}}), "server_error"),
        (begins(*pieces(finish=None), then=resets), "truncated"),
        (begins(*pieces(finish=None), b'data: {"id"', then=resets), "truncated"),
        (begins(*pieces(finish=None), then=hangs), "timed_out"),
        (begins(*pieces(finish=None), then=heartbeats), "timed_out"),
        (begins(then=heartbeats), "timed_out"),
        (begins(then=hangs), "timed_out"),
        (begins(b"data: " + b"x" * (9 * 1024 * 1024), then=hangs), "garbage"),
        (hangs, "timed_out"),
        (resets, "reset"),
    ],
)
async def test_a_stream_fails_in_a_known_way(provider, script, kind):
    provider.plays(script)

    timeouts = QUICK if kind == "timed_out" else PATIENT
    with pytest.raises(ProviderFailure) as caught:
        await stream(a_client(provider, timeouts=timeouts))

    assert caught.value.kind == kind
    assert len(provider.received) == 1


async def test_a_provider_that_is_not_there_owes_nothing():
    async with scripted_provider() as provider:
        client = a_client(provider)

    with pytest.raises(ProviderFailure) as caught:
        await complete(client)

    assert (caught.value.kind, caught.value.maybe_billed) == ("unreachable", False)


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"Retry-After": "1.5"}, {}, 1.5),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, {}, 0),
        ({"Retry-After": "soon"}, {}, None),
        ({"Retry-After": "nan"}, {}, None),
        ({}, {"error": {"code": 429, "details": [{"retryDelay": "3s"}]}}, 3),
    ],
)
async def test_the_wait_that_a_provider_asks_for_is_understood(provider, headers, body, wait_s):
    provider.plays(answers(body, status=429, **headers))

    with pytest.raises(ProviderFailure) as caught:
        await complete(a_client(provider))

    assert (caught.value.kind, caught.value.retry_after_s) == ("rate_limited", wait_s)


async def test_a_key_that_no_header_can_hold_is_not_sent(provider):
    with pytest.raises(ProviderFailure) as caught:
        await complete(a_client(provider, key="se\ncret"))

    assert (caught.value.kind, provider.received) == ("unauthorized", [])


async def test_sse_events_of_one_packet_travel_together(provider):
    provider.plays(streams(*pieces(["a"] * 20)))
    client = a_client(provider)
    end = time.monotonic() + 5

    upstream = await client.stream(
        client.prepare(LARGE, CHAT, streamed=True), new_id(), first_by=end, deadline=end
    )
    batch = await upstream.next_batch()
    await client.close()

    assert len(batch) == 21
    assert sse("x") == b"data: x\n\n"
