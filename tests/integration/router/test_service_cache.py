"""Repeats: who shares an answer with whom, what it costs them, and what happens when it fails."""

import asyncio

import orjson
import pytest

from common.errors import AllFailed, TimedOut
from services.router.store.answers import KeptAnswer
from tests.integration.router.router_stack import (
    CLOSED,
    OPENED,
    a_router,
    an_ask,
    cancelled,
    kinds,
    text_of,
    until,
)

MANY = 8


async def kept(router, response):
    """Wait until an answer is in Redis: keeping it delays nobody."""
    cache = router.service.cache
    await until(lambda: cache.get_bytes(response.outcome.cache_key))


async def all_at_once(router, asks):
    """Have *asks* under way at once, the first one at the provider; return the tasks."""
    router.gate.shut()
    asking = [asyncio.create_task(router.complete(ask=asks[0]))]
    await router.gate.asked.wait()
    asking += [asyncio.create_task(router.complete(ask=ask)) for ask in asks[1:]]
    await router.under_way(len(asks))
    return asking


async def test_a_repeat_costs_nothing_and_says_what_it_once_cost(caching):
    first = await caching.complete("What is 2+2?", use_cache=True)
    await kept(caching, first)
    ask = an_ask("What is 2+2?", use_cache=True)

    again = await caching.complete(ask=ask)

    assert first.body == again.body
    assert (False, True) == (first.outcome.cache_hit, again.outcome.cache_hit)
    assert first.outcome.cache_key == again.outcome.cache_key
    assert (0, "cached", first.outcome.cost_nano_usd) == (
        again.outcome.cost_nano_usd,
        again.outcome.pricing,
        again.outcome.original_cost_nano_usd,
    )
    assert 1 == len(caching.bill)
    [closed] = await caching.ledger(ask.request_id)
    assert (True, 0, "cached", "ok") == (
        closed.cache_hit,
        closed.cost_nano_usd,
        closed.pricing,
        closed.outcome,
    )
    assert closed.baseline_cost_nano_usd == first.outcome.baseline_cost_nano_usd > 0


async def test_a_repeat_is_explained_by_the_decision_that_led_to_it(caching):
    pinned = {"model": "acme/large", "use_cache": True}
    first = await caching.complete("hi", **pinned)
    await kept(caching, first)
    ask = an_ask("hi", **pinned)

    await caching.complete(ask=ask)

    [closed] = await caching.ledger(ask.request_id)
    assert ("acme/large", "pinned", "high") == (closed.model, closed.strategy, closed.confidence)
    details = orjson.loads(closed.details_json)
    assert details.pop("learning")["features"]  # what feedback on the repeat teaches
    assert orjson.loads(first.outcome.decision_json) == details


async def test_who_does_not_ask_for_the_cache_gets_an_answer_of_their_own(caching):
    await kept(caching, await caching.complete("hi", use_cache=True))

    fresh = await caching.complete("hi")

    assert (False, "") == (fresh.outcome.cache_hit, fresh.outcome.cache_key)
    assert 2 == len(caching.bill)


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": "b-key"},
        {"model": "acme/large"},
        {"strategy": "best"},
        {"strategy": "hybrid", "parameters": {"preset": "quality"}},
        {"experiment_id": 1, "arm": "test"},
        {"body": b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":5}'},
    ],
)
async def test_only_an_equal_request_of_the_same_tenant_is_a_repeat(caching, other):
    await kept(caching, await caching.complete("hi", use_cache=True))

    second = await caching.complete("hi", use_cache=True, **other)

    assert not second.outcome.cache_hit
    assert 2 == len(caching.bill)


async def test_what_does_not_change_the_answer_does_not_make_another_request(caching):
    await kept(caching, await caching.complete("hi", use_cache=True))
    body = b'{"user":"u","model":"auto","messages":[{"content":"hi","role":"user"}]}'

    second = await caching.complete(use_cache=True, body=body, user_id="u")

    assert second.outcome.cache_hit


async def test_an_answer_that_was_cut_short_is_not_kept(caching):
    body = b'{"messages":[{"role":"user","content":"Tell me a story"}],"max_tokens":1}'
    for _ in range(2):
        response = await caching.complete(use_cache=True, body=body)
        assert not response.outcome.cache_hit

    await asyncio.gather(*caching.service.routing._answers._keeping)
    assert None is await caching.service.cache.get_bytes(response.outcome.cache_key)
    assert 2 == len(caching.bill)


async def test_garbage_in_redis_is_a_miss(caching):
    first = await caching.complete("hi", use_cache=True)
    await kept(caching, first)
    key = first.outcome.cache_key
    packed = await caching.service.cache.get_bytes(key)

    for garbage in (b"\xff", b"{}\n{}\n{}", packed[:20], b"\n".join([packed.split(b"\n")[0]] * 2)):
        await caching.service.cache.set_bytes(key, garbage)
        answer = await caching.complete("hi", use_cache=True)
        assert (False, text_of(first)) == (answer.outcome.cache_hit, text_of(answer))
        await until(lambda: is_kept(caching, key))


async def is_kept(router, key):
    return KeptAnswer.unpack(await router.service.cache.get_bytes(key) or b"")


async def test_equal_requests_at_once_share_one_call(router):
    asks = [an_ask("a long story", use_cache=True) for _ in range(MANY)]
    asking = await all_at_once(router, asks)

    router.gate.open()
    answers = await asyncio.gather(*asking)

    [entry] = router.bill
    assert {answers[0].body} == {answer.body for answer in answers}
    hits = [answer.outcome.cache_hit for answer in answers]
    costs = [answer.outcome.cost_nano_usd for answer in answers]
    assert [False] + [True] * (MANY - 1) == hits
    assert [entry.cost_nano_usd] + [0] * (MANY - 1) == costs
    rows = await router.ledger()
    closed = {row.request_id: row for row in rows if row.kind == CLOSED}
    assert {ask.request_id for ask in asks} == set(closed)
    assert hits == [closed[ask.request_id].cache_hit for ask in asks]
    assert costs == [closed[ask.request_id].cost_nano_usd for ask in asks]
    assert 1 == kinds(rows).count(OPENED)


async def test_an_answer_that_is_not_kept_is_shared_all_the_same(router):
    body = b'{"messages":[{"role":"user","content":"Tell me a story"}],"max_tokens":1}'
    asks = [an_ask(body=body, use_cache=True) for _ in range(MANY)]
    asking = await all_at_once(router, asks)

    router.gate.open()
    await asyncio.gather(*asking)

    assert 1 == len(router.bill)


async def test_tenants_do_not_share_a_call(router):
    asks = [an_ask("hi", use_cache=True, tenant=tenant) for tenant in ("a-key", "b-key")]
    asking = await all_at_once(router, asks)

    router.gate.open()
    answers = await asyncio.gather(*asking)

    assert [False, False] == [answer.outcome.cache_hit for answer in answers]
    assert 2 == len(router.bill)


async def test_an_experiment_shares_nothing(router):
    ask = {"use_cache": True, "experiment_id": 1, "arm": "test", "user_id": "u"}
    asking = await all_at_once(router, [an_ask("hi", **ask) for _ in range(3)])

    router.gate.open()
    answers = await asyncio.gather(*asking)

    assert {(False, "")} == {(a.outcome.cache_hit, a.outcome.cache_key) for a in answers}
    assert 3 == len(router.bill)


async def test_when_the_first_caller_leaves_the_others_are_served_by_its_call(router, left):
    asks = [an_ask("hi", use_cache=True) for _ in range(3)]
    asking = await all_at_once(router, asks)

    await cancelled(asking[0])
    await left.wait()
    router.gate.open()
    answers = await asyncio.gather(*asking[1:])

    [entry] = router.bill
    assert [True, True] == [answer.outcome.cache_hit for answer in answers]
    closed = await router.closed(asks[0].request_id)
    assert ("cancelled", entry.cost_nano_usd) == (closed.outcome, closed.cost_nano_usd)


async def test_when_the_shared_call_fails_the_others_are_served(router):
    prompt = "hi [[fault:html,times=2]]"  # both models fail once
    asking = await all_at_once(router, [an_ask(prompt, use_cache=True) for _ in range(MANY)])

    router.gate.open()
    first, *others = await asyncio.gather(*asking, return_exceptions=True)

    assert AllFailed is type(first)
    assert {text_of(others[0])} == {text_of(answer) for answer in others}
    assert 1 == len([answer for answer in others if not answer.outcome.cache_hit])


async def test_nobody_waits_for_one_failure_after_another(router):
    prompt = "hi [[fault:html]]"
    asking = await all_at_once(router, [an_ask(prompt, use_cache=True) for _ in range(MANY)])

    router.gate.open()
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert [AllFailed] * MANY == [type(answer) for answer in answers]
    assert MANY == kinds(await router.ledger()).count(CLOSED)
    assert {} == router.service.routing._answers._flights


async def test_a_waiter_has_its_own_deadline(router):
    asking = await all_at_once(router, [an_ask("hi", use_cache=True)])
    ask = an_ask("hi", use_cache=True)

    with pytest.raises(TimedOut):
        await router.complete(ask=ask, timeout_s=0.5)
    closed = await router.closed(ask.request_id)

    router.gate.open()
    assert not (await asking[0]).outcome.cache_hit
    assert ("failed", 0, False) == (closed.outcome, closed.cost_nano_usd, closed.cache_hit)
    assert [CLOSED] == kinds(await router.ledger(ask.request_id))


async def test_nothing_is_paid_for_a_waiter_that_has_left(router, left):
    asks = [an_ask("hi [[fault:html,times=2]]", use_cache=True) for _ in range(2)]
    first, waiter = await all_at_once(router, asks)

    await cancelled(waiter)
    await left.wait()
    router.gate.open()
    with pytest.raises(AllFailed):
        await first

    closed = await router.closed(asks[1].request_id)
    assert ("cancelled", 0) == (closed.outcome, closed.cost_nano_usd)
    assert [CLOSED] == kinds(await router.ledger(asks[1].request_id))


async def test_without_redis_answers_go_on(sandbox, database, tmp_path):
    nowhere = f"unix://{tmp_path}/nobody.sock"
    async with a_router(sandbox, database, tmp_path, redis_url=nowhere) as router:
        answers = [await router.complete("hi", use_cache=True) for _ in range(3)]

    assert [False] * 3 == [answer.outcome.cache_hit for answer in answers]
    assert 3 == len(router.bill)
