"""The router as a whole: what it answers, what it refuses, and what it writes down."""

import asyncio
import time
from contextlib import suppress

import grpc
import orjson
import pytest
from optimizer.router.v1 import router_pb2, router_pb2_grpc

from common.errors import AllFailed, Failure, Invalid, NotFound, TimedOut, Unavailable
from common.grpc_client import call
from services.router.providers.breaker import FAILURES_TO_OPEN
from tests.integration.router.router_stack import (
    CATALOG,
    CLOSED,
    OPENED,
    SETTLED,
    a_router,
    an_ask,
    cancelled,
    kinds,
    read_all,
    text_of,
)

NOBODY = CATALOG.replace('name: acme, wire: openai, base_url: "{url}/v1"',
    'name: acme, wire: openai, base_url: "{url}/v1", api_key_env: NEVER_SET_KEY',
).replace('name: gem, wire: gemini, base_url: "{url}"',
    'name: gem, wire: gemini, base_url: "{url}", api_key_env: NOR_THIS_KEY',
)  # fmt: skip


async def test_an_answer_is_in_the_ledger_as_it_is_on_the_bill(router):
    ask = an_ask("What is 2+2?")

    response = await router.complete(ask=ask)

    rows = await router.ledger(ask.request_id)
    assert [OPENED, SETTLED, CLOSED] == kinds(rows)
    [entry] = router.bill
    settled, closed = rows[1:]
    assert entry.client_request_id == settled.attempt_id
    assert entry.response_id == settled.provider_response_id
    assert entry.cost_nano_usd == settled.cost_nano_usd == closed.cost_nano_usd
    outcome = response.outcome
    assert entry.cost_nano_usd == outcome.cost_nano_usd
    assert (entry.input_tokens, entry.output_tokens) == (
        outcome.usage.input_tokens,
        outcome.usage.output_tokens,
    )
    assert ("acme/small", "cheapest", "priced", False) == (
        outcome.model,
        outcome.strategy,
        outcome.pricing,
        outcome.cache_hit,
    )
    assert outcome.baseline_cost_nano_usd > outcome.cost_nano_usd
    assert "4" in text_of(response)
    assert "complexity" in orjson.loads(closed.details_json)


async def test_what_we_ask_for_ourselves_is_a_loss(router):
    ask = an_ask("What is 2+2?", internal=True)

    outcome = (await router.complete(ask=ask)).outcome

    assert 0 == outcome.baseline_cost_nano_usd < outcome.cost_nano_usd


BAD = "invalid_request"
DEEP = b'{"messages": [' + b"[" * 400 + b"]" * 400 + b"]}"
REFUSED = [
    ({"model": "acme/nothing"}, NotFound, "model_not_found"),
    ({"model": "away/huge"}, NotFound, "model_not_found"),
    ({"model": "acme/embed"}, Invalid, "wrong_model_kind"),
    ({"strategy": "astrology"}, NotFound, "strategy_not_found"),
    ({"strategy": "cheapest", "parameters": {"luck": 1}}, Invalid, BAD),
    ({"body": b""}, Invalid, BAD),
    ({"body": b"{"}, Invalid, BAD),
    ({"body": b"[]"}, Invalid, BAD),
    ({"body": b"\xff\xfe"}, Invalid, BAD),
    ({"body": b'{"messages": []}'}, Invalid, BAD),
    ({"body": b'{"messages": "hi"}'}, Invalid, BAD),
    ({"body": b'{"input": "hi"}'}, Invalid, BAD),
    ({"body": DEEP}, Invalid, BAD),
    ({"request_id": ""}, Invalid, BAD),
    ({"request_id": "1"}, Invalid, BAD),
    ({"request_id": "2f1d3bb0-8f43-4c4e-9d6b-3d9f9b1c1a11"}, Invalid, BAD),
    ({"request_id": "00000000-0000-7000-8000-000000000000"}, Invalid, BAD),
]


@pytest.mark.parametrize("use_cache", [False, True])
async def test_what_cannot_be_served_is_refused_and_costs_nothing(router, use_cache):
    found = []
    for changes, _, _ in REFUSED:
        with pytest.raises(Failure) as refused:
            await router.complete(**changes, use_cache=use_cache)
        with pytest.raises(Failure) as refused_stream:
            await read_all(router.stream(**changes, use_cache=use_cache))
        found.append((type(refused.value), refused.value.code, refused.value.billed))
        assert type(refused.value) is type(refused_stream.value)

    assert [(kind, code, False) for _, kind, code in REFUSED] == found
    assert [] == router.bill
    assert {CLOSED} == set(kinds(await router.ledger()))


async def test_a_refused_request_is_closed_with_the_reason(router):
    ask = an_ask(model="acme/nothing")

    with pytest.raises(NotFound):
        await router.complete(ask=ask)

    [closed] = await router.ledger(ask.request_id)
    assert ("failed", 0) == (closed.outcome, closed.cost_nano_usd)
    assert {"error": "model_not_found"} == orjson.loads(closed.details_json)


async def test_without_a_provider_the_variables_to_set_are_named(sandbox, database, tmp_path):
    async with a_router(sandbox, database, tmp_path, catalog=NOBODY) as router:
        with pytest.raises(Unavailable, match="NEVER_SET_KEY is not set") as refused:
            await router.complete()
        listed = await call(
            router.stub.ListProviders, router_pb2.ListProvidersRequest(), timeout_s=5
        )

    assert "no_provider" == refused.value.code
    assert {"acme": False, "away": False, "gem": False} == {
        p.name: p.enabled for p in listed.providers
    }


@pytest.mark.parametrize(("fault", "billed"), [("status=503", False), ("html", True)])
async def test_when_all_fail_the_caller_hears_who_and_whether_it_was_billed(router, fault, billed):
    ask = an_ask(f"hi [[fault:{fault}]]")

    with pytest.raises(AllFailed, match=r"acme/small .*acme/large") as failed:
        await router.complete(ask=ask)

    assert billed == failed.value.billed
    rows = await router.ledger(ask.request_id)
    assert "failed" == rows[-1].outcome
    opened = {r.attempt_id for r in rows if r.kind == OPENED}
    assert opened == {r.attempt_id for r in rows if r.kind == SETTLED}
    assert {"acme/small", "acme/large"} == {r.model for r in rows if r.kind == OPENED}


async def test_a_fallback_answers_and_is_counted(router):
    response = await router.complete("hi [[fault:status=503,models=small]]")

    assert ("acme/large", 1) == (response.outcome.model, response.outcome.fallbacks)


async def test_deciding_records_and_calls_nothing(router):
    decided = await router.decide("What is 2+2?", strategy="best")

    assert ("acme/large", "best", "acme") == (decided.model, decided.strategy, decided.provider)
    assert decided.expected_cost_nano_usd > 0
    assert "reasoning" in orjson.loads(decided.decision_json)
    assert [] == await router.ledger()
    assert [] == router.bill


async def test_models_and_providers_are_listed_with_why_they_are_off(router):
    models = await call(router.stub.ListModels, router_pb2.ListModelsRequest(), timeout_s=5)
    providers = await call(
        router.stub.ListProviders, router_pb2.ListProvidersRequest(), timeout_s=5
    )

    on = {m.name: m.enabled for m in models.models}
    assert {"acme/small", "acme/large", "acme/embed", "gem/embed", "away/huge"} == set(on)
    assert (True, False) == (on["acme/small"], on["away/huge"])
    assert ("cheapest", "acme/large") == (models.default_strategy, models.baseline_model)
    assert "hybrid" in models.strategies
    small = next(m for m in models.models if m.name == "acme/small")
    assert (150_000_000, 600_000_000) == (
        small.input_nano_usd_per_million,
        small.output_nano_usd_per_million,
    )
    away = next(p for p in providers.providers if p.name == "away")
    assert (False, "NEVER_SET_KEY is not set", 1) == (away.enabled, away.why_off, away.models)


async def test_whom_a_replica_leaves_alone_it_tells_and_the_other_knows_nothing_of(
    router, sandbox, database, tmp_path
):
    for _ in range(FAILURES_TO_OPEN):
        with suppress(Failure):
            await router.complete("hi [[fault:status=503,models=small]]", model="acme/small")

    folder = tmp_path / "other"
    folder.mkdir()
    async with a_router(sandbox, database, folder) as other:
        told = [await standings(one) for one in (router, other)]

    (ours, name), (theirs, other_name) = told
    small = ours.pop("acme/small")
    assert (router_pb2.Breaker.STATE_OPEN, "overloaded") == (small.state, small.reason)
    assert 0 < small.open_until_ms - time.time() * 1000 <= 15_000
    assert {"acme/large", "acme/embed", "gem/embed"} == set(ours)  # none of who is off
    closed = [*ours.values(), *theirs.values()]
    assert {(router_pb2.Breaker.STATE_CLOSED, "", False)} == {
        (one.state, one.reason, one.HasField("open_until_ms")) for one in closed
    }
    assert 2 == len({name, other_name} - {""})


async def standings(router):
    request = router_pb2.ListProvidersRequest()
    listed = await call(router.stub.ListProviders, request, timeout_s=5)
    return {one.model: one for p in listed.providers for one in p.breakers}, listed.replica


async def test_a_stranger_is_refused(router):
    async with grpc.aio.insecure_channel(router.service.server.target) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Complete(router_pb2.CompleteRequest(ask=an_ask()), timeout=5)
        with pytest.raises(grpc.aio.AioRpcError) as refused_stream:
            async for _ in stub.StreamComplete(
                router_pb2.StreamCompleteRequest(ask=an_ask()), timeout=5
            ):
                pass

    assert grpc.StatusCode.UNAUTHENTICATED == refused.value.code()
    assert grpc.StatusCode.UNAUTHENTICATED == refused_stream.value.code()
    assert [] == router.bill


async def test_a_caller_that_leaves_is_accounted_as_the_provider_bills(router, left):
    ask = an_ask("a long story")
    router.gate.shut()
    asking = asyncio.create_task(router.complete(ask=ask))
    await router.gate.asked.wait()

    await cancelled(asking)
    await left.wait()
    router.gate.open()

    closed = await router.closed(ask.request_id)
    [entry] = router.bill
    assert ("cancelled", entry.cost_nano_usd) == (closed.outcome, closed.cost_nano_usd)
    settled = [r for r in await router.ledger(ask.request_id) if r.kind == SETTLED]
    assert [("cancelled", entry.response_id, False)] == [
        (r.outcome, r.provider_response_id, r.estimated) for r in settled
    ]


async def test_a_setting_bounds_what_a_caller_may_ask_for(sandbox, database, tmp_path):
    async with a_router(sandbox, database, tmp_path, request_timeout_s=0.3) as router:
        with pytest.raises(TimedOut, match="time is up"):
            await router.complete("hi [[fault:hang]]", timeout_s=600)
