"""Conversations: a turn is decided knowing who answered the one before, and what leaving costs."""

import json

import orjson
import pytest

from tests.integration.router.router_stack import an_ask, text_of, until

BOOK = "It was a bright cold day in April, and the clocks were striking thirteen. " * 120


def a_turn(*turns, **changes):
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(turns)]
    return an_ask(body=orjson.dumps({"messages": messages}), strategy="best", **changes)


async def first_turn(router, **changes):
    answer = text_of(await router.complete(ask=a_turn(BOOK, **changes)))
    return BOOK, answer


async def kept(router):
    """Wait until Redis holds the talk: keeping it delays nobody."""
    talks = router.service.routing._conversations
    await until(lambda: not talks._keeping)


async def leaving_costs(router, *turns, **changes):
    """Return what it says that leaving each model gives away."""
    response = await router.complete(ask=a_turn(*turns, **changes))
    candidates = json.loads(response.outcome.decision_json)["candidates"]
    return {
        c["model"]: c["switching_away_costs_usd"]
        for c in candidates
        if "switching_away_costs_usd" in c
    }


async def test_a_second_turn_knows_what_leaving_the_model_costs(caching):
    turns = await first_turn(caching)
    await kept(caching)

    found = await leaving_costs(caching, *turns, "And then?")

    assert ["acme/large"] == list(found)
    assert found["acme/large"] > 0.004  # 2,000 tokens, at 2.25 USD a million less


async def test_a_streamed_turn_is_remembered_as_well(caching):
    said = []
    async for event in caching.stream(ask=a_turn(BOOK)):
        said += [
            orjson.loads(one)["choices"][0]["delta"].get("content") for one in event.chunks.json
        ]
    await kept(caching)

    found = await leaving_costs(caching, BOOK, "".join(filter(None, said)), "And then?")

    assert ["acme/large"] == list(found)


async def test_others_and_other_talks_are_strangers(caching):
    book, answer = await first_turn(caching)
    await kept(caching)

    assert {} == await leaving_costs(caching, book, answer, "And then?", tenant="another")
    assert {} == await leaving_costs(caching, book, "Something else.", "And then?")


async def test_without_redis_a_talk_goes_on(router):
    turns = await first_turn(router)

    assert {} == await leaving_costs(router, *turns, "And then?")


@pytest.mark.parametrize("garbage", [7, [], {"model": 7}, {"model": "a/b"}, {"cached_tokens": -1}])
async def test_what_redis_makes_of_it_is_never_trusted(caching, monkeypatch, garbage):
    turns = await first_turn(caching)

    async def get(_key):
        return garbage

    monkeypatch.setattr(caching.service.talks, "get", get)

    assert {} == await leaving_costs(caching, *turns, "And then?")
