"""Streams that break off, and go on elsewhere only as the same answer."""

import asyncio
import json

import pytest

from common.errors import AllFailed
from services.router.background import Caller
from services.router.domain.entries import Kind
from tests.provider_scene import BIG, LARGE, SMALL, Scene, text_of
from tests.scripted_provider import (
    answers,
    begins,
    goes_on,
    hangs,
    pieces,
    resets,
    scripted_provider,
    streams,
)


@pytest.fixture
async def scene():
    async with scripted_provider() as first, scripted_provider() as second:
        scene = Scene(first, second)
        scene.heard = asyncio.Event()
        first.plays(begins(*pieces(["a", "b"], finish=None), then=after(scene.heard, resets)))
        yield scene
        await scene.client.close()


def after(event, then):
    return goes_on(event=event, then=then)


def named(name, texts, **options):
    chunks = pieces(texts, **options)
    return [chunk | {"id": f"r-{name}", "model": name} for chunk in chunks]


async def test_an_answer_that_agrees_goes_on_where_the_first_broke_off(scene):
    scene.second.plays(streams(*named("small", ["abc", "d"])))

    chunks, served = await scene.stream(on_batch=scene.heard.set)

    tail = [json.loads(c) for c in served.tail]
    assert text_of(chunks) == "abcd"
    assert {c["id"] for c in [*chunks, *tail]} == {"r-1"}
    assert [c["choices"][0]["delta"].get("role") for c in chunks].count("assistant") == 1
    assert [c["choices"][0]["finish_reason"] for c in tail if c["choices"]] == ["stop"]
    assert tail[-1]["usage"]["completion_tokens"] == 3  # of the one that went on
    assert (served.answered, served.fallbacks, served.outcome) == (SMALL, 1, "ok")
    assert scene.outcomes == [("acme/large", "truncated"), ("beta/small", "ok")]


@pytest.mark.parametrize("texts", [["x"], ["a", "x"], ["ax"], ["a"]])
async def test_an_answer_that_differs_or_ends_sooner_is_never_mixed_in(scene, texts):
    scene.second.plays(streams(*named("small", texts)))
    left = []

    with pytest.raises(AllFailed) as caught:
        await scene.stream(on_batch=lambda: (left.append(1), scene.heard.set()))

    assert (caught.value.code, caught.value.billed) == ("answer_broke_off", True)
    assert "acme/large" in caught.value.message
    assert left == [1]
    assert [r.model for r in scene.settled] == ["acme/large", "beta/small"]


async def test_nobody_is_asked_to_go_on_from_an_answer_begun(scene):
    scene.second.plays(streams(*named("small", ["abc"])))

    await scene.stream(on_batch=scene.heard.set)

    sent = [provider.received[0].body["messages"] for provider in (scene.first, scene.second)]
    assert sent[0] == sent[1]


async def test_one_that_fails_gives_way_to_the_next(scene):
    scene.second.plays(answers({}, status=503), streams(*named("big", ["ab", "c"])))

    chunks, served = await scene.stream(LARGE, SMALL, BIG, on_batch=scene.heard.set)

    assert (text_of(chunks), served.answered) == ("abc", BIG)


@pytest.mark.parametrize(("second", "expected"), [("abc", "abcd"), ("a", "abcd")])
async def test_one_that_breaks_off_as_well_is_gone_on_from(scene, second, expected):
    broken = begins(*named("small", [second], finish=None), then=after(scene.heard, resets))
    scene.second.plays(broken, streams(*named("big", ["abcd"])))

    chunks, served = await scene.stream(LARGE, SMALL, BIG, on_batch=scene.heard.set)

    assert (text_of(chunks), served.answered) == (expected, BIG)
    assert scene.outcomes[-1] == ("beta/big", "ok")


async def test_a_call_of_a_tool_that_broke_off_is_not_gone_on_from(scene):
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
    chunk = {"id": "r-1", "model": "large", "choices": [choice]}
    scene.first.plays(begins(chunk, then=after(scene.heard, resets)))
    scene.second.plays(streams(*named("small", ["abc"])))

    with pytest.raises(AllFailed):
        await scene.stream(on_batch=scene.heard.set)

    assert scene.second.received == []


async def test_what_came_before_the_break_leaves_before_the_failure(scene):
    late = pieces(["c"], finish=None)[1:]
    scene.first.plays(
        begins(
            *pieces(["a", "b"], finish=None),
            then=goes_on(*late, b"data: {nonsense\n\n", event=scene.heard),
        )
    )
    scene.second.plays(streams(*named("small", ["abcd"])))

    chunks, _ = await scene.stream(on_batch=scene.heard.set)

    assert text_of(chunks) == "abcd"
    assert [text_of([c]) for c in chunks if text_of([c])] == ["a", "b", "c", "d"]


async def test_nobody_goes_on_for_a_caller_who_left(scene):
    caller = Caller()

    def leave():
        caller.leave()
        scene.heard.set()

    _, served = await scene.stream(caller=caller, on_batch=leave)

    assert served.outcome == "cancelled"
    assert scene.second.received == []


async def test_every_attempt_of_a_continued_stream_is_settled_once(scene):
    scene.second.plays(hangs)

    with pytest.raises(AllFailed):
        await scene.stream(on_batch=scene.heard.set)

    opened = [r.attempt_id for r in scene.rows if r.kind is Kind.OPENED]
    assert sorted(opened) == sorted(r.attempt_id for r in scene.settled)
