"""Embeddings: recorded, priced and refused as completions are."""

import asyncio

import orjson
import pytest
from optimizer.router.v1 import router_pb2

from common.errors import AllFailed, Failure, Invalid, NotFound
from common.grpc_client import call
from tests.integration.router.router_stack import (
    CATALOG,
    CLOSED,
    OPENED,
    SETTLED,
    Gate,
    a_router,
    an_ask,
    cancelled,
    kinds,
)
from tests.scripted_provider import answers, scripted_provider

BODY = b'{"input": "hi"}'


async def embed(router, **changes):
    request = router_pb2.EmbedRequest(ask=an_ask(**{"body": BODY, "model": "acme/embed"} | changes))
    return await call(router.stub.Embed, request, timeout_s=10)


async def test_vectors_come_with_what_they_cost(router):
    ask, response = await router.embed(["one", "two words"], dimensions=8)

    answer = orjson.loads(response.body)
    assert [8, 8] == [len(one["embedding"]) for one in answer["data"]]
    assert ("acme/embed", "list") == (answer["model"], answer["object"])
    [entry] = router.bill
    outcome = response.outcome
    assert (entry.cost_nano_usd, entry.input_tokens, 0) == (
        outcome.cost_nano_usd,
        outcome.usage.input_tokens,
        outcome.usage.output_tokens,
    )
    assert ("acme/embed", "pinned", "priced") == (outcome.model, outcome.strategy, outcome.pricing)
    assert not outcome.HasField("baseline_cost_nano_usd")
    rows = await router.ledger(ask.request_id)
    assert [OPENED, SETTLED, CLOSED] == kinds(rows)
    assert [entry.cost_nano_usd] * 2 == [row.cost_nano_usd for row in rows[1:]]
    assert entry.client_request_id == rows[1].attempt_id


@pytest.mark.parametrize("texts", [[1, 2, 3], [[1, 2], [3]], ["a", "b"], "text"])
async def test_texts_and_tokens_are_embedded(router, texts):
    _, response = await router.embed(texts, encoding_format="base64")

    assert all(isinstance(d["embedding"], str) for d in orjson.loads(response.body)["data"])


async def test_what_cannot_be_embedded_is_refused_and_costs_nothing(router):
    refused = {
        "no model": ({"model": ""}, Invalid, "model"),
        "no such model": ({"model": "acme/nothing"}, NotFound, "model"),
        "a model that chats": ({"model": "acme/small"}, Invalid, "model"),
        "a wire without embeddings": ({"model": "gem/embed"}, Invalid, "model"),
        "no input": ({"body": b"{}"}, Invalid, "input"),
        "empty input": ({"body": b'{"input": ""}'}, Invalid, "input"),
        "no text": ({"body": b'{"input": {"a": 1}}'}, Invalid, "input"),
        "what the provider refuses": ({"body": b'{"input": [{}]}'}, Invalid, "input"),
        "a completion": ({"body": b'{"messages": [1]}'}, Invalid, "input"),
        "no json": ({"body": b"{"}, Invalid, "body"),
    }
    found = {}
    for name, (changes, _, _) in refused.items():
        with pytest.raises(Failure) as failed:
            await embed(router, **changes)
        found[name] = (changes, type(failed.value), failed.value.param)

    assert refused == found
    assert [] == router.bill


async def test_a_caller_that_leaves_pays_what_is_billed(router, left):
    gate = Gate(router.sandbox.app, "/v1/embeddings")
    gate.shut()
    ask = an_ask(body=BODY, model="acme/embed")
    request = router_pb2.EmbedRequest(ask=ask)
    asking = asyncio.create_task(call(router.stub.Embed, request, timeout_s=10))
    await gate.asked.wait()

    await cancelled(asking)
    await left.wait()
    gate.open()

    closed = await router.closed(ask.request_id)
    [entry] = router.bill
    assert ("cancelled", entry.cost_nano_usd) == (closed.outcome, closed.cost_nano_usd)


VECTOR = {"object": "embedding", "index": 0, "embedding": [0.5]}


@pytest.mark.parametrize(
    ("script", "billed"),
    [
        (answers({"error": {"message": "no"}}, status=503), False),
        (answers(b"<html>"), True),
        (answers({"object": "list", "data": []}), True),
        (answers({"data": [{"embedding": None}], "usage": {"prompt_tokens": 3}}), True),
        (answers({"data": "vectors"}), True),
    ],
)
async def test_a_provider_that_gives_no_vectors_has_failed(
    sandbox, database, tmp_path, script, billed
):
    async with scripted_provider() as provider:
        provider.plays(script)
        catalog = CATALOG.replace("{url}", provider.url)
        async with a_router(sandbox, database, tmp_path, catalog=catalog) as router:
            with pytest.raises(AllFailed, match="acme/embed") as failed:
                await embed(router)

    assert billed == failed.value.billed
    assert {"/v1/embeddings"} == {one.path for one in provider.received}


async def test_tokens_that_are_not_reported_are_counted_and_flagged(sandbox, database, tmp_path):
    async with scripted_provider() as provider:
        provider.plays(answers({"data": [VECTOR], "model": "embed-2026-01-01"}))
        catalog = CATALOG.replace("{url}", provider.url)
        async with a_router(sandbox, database, tmp_path, catalog=catalog) as router:
            _, response = await router.embed([[1, 2, 3], [4]])

    assert (4, True) == (response.outcome.usage.input_tokens, response.outcome.usage.estimated)
    assert {"data": [VECTOR], "model": "acme/embed"} == orjson.loads(response.body)
    assert "authorization" not in provider.received[0].headers
    assert {"input": [[1, 2, 3], [4]], "model": "embed"} == provider.received[0].body
