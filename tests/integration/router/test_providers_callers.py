"""Callers leave; what was asked is finished and accounted all the same."""

import asyncio
from contextlib import aclosing

import pytest

from common.errors import AllFailed, Failure
from services.router.background import Caller, Stories
from tests.provider_scene import Scene
from tests.scripted_provider import (
    a_completion,
    answers,
    hangs,
    scripted_provider,
    waits,
)


@pytest.fixture
async def scene():
    async with scripted_provider() as first, scripted_provider() as second:
        first.plays(answers(a_completion()))
        second.plays(answers(a_completion("from beta", id="r-2", model="small")))
        scene = Scene(first, second)
        yield scene
        await scene.client.close()


async def test_a_call_whose_caller_left_is_finished_and_accounted(scene):
    stories, event, told = Stories(), asyncio.Event(), []
    scene.first.plays(waits(event, answers(a_completion())))

    async def story(caller):
        told.append(await scene.answer(caller=caller))

    listener = asyncio.create_task(stories.tell(story))
    await scene.first.asked.wait()
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    event.set()
    await stories.drain(5)

    assert (told[0].outcome, scene.outcomes) == ("cancelled", [("acme/large", "cancelled")])
    assert scene.settled[0].input_tokens == 7


async def test_nobody_else_is_asked_for_a_caller_who_left(scene):
    caller = Caller()
    scene.first.plays(waits(asyncio.Event(), hangs))

    asyncio.get_running_loop().call_later(0.05, caller.leave)
    with pytest.raises(Failure):
        await scene.answer(caller=caller)

    assert scene.second.received == []


async def test_a_call_that_shutdown_cuts_short_is_settled_at_what_it_may_cost(scene):
    stories = Stories()
    scene.first.plays(hangs)

    async def story(caller):
        await scene.answer(caller=caller)

    listener = asyncio.create_task(stories.tell(story))
    await scene.first.asked.wait()
    await stories.drain(0)
    await asyncio.gather(listener, return_exceptions=True)

    assert scene.outcomes == [("acme/large", "cancelled")]
    assert (scene.settled[0].cost_nano_usd, scene.settled[0].estimated) == (1_000, True)


async def test_a_listener_gets_what_a_story_says_and_then_its_failure():
    async def story(outlet):
        await outlet.put(1)
        await outlet.put(2)
        raise AllFailed("no")

    listener = Stories().stream(story)
    heard = [await anext(listener), await anext(listener)]

    assert heard == [1, 2]
    with pytest.raises(AllFailed):
        await anext(listener)


async def test_a_story_waits_for_a_slow_listener_and_not_for_one_who_left():
    stories, said = Stories(), []

    async def story(outlet):
        for number in range(1_000):
            await outlet.put(number)
            said.append(number)

    async with aclosing(stories.stream(story)) as listener:
        await anext(listener)
        await asyncio.sleep(0.01)
        while_listening = len(said)
    await stories.drain(1)

    assert while_listening < 100
    assert len(said) == 1_000
