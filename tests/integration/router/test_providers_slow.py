"""Providers that are slow, or that stumble all the time: who else is asked, and how often."""

import asyncio
import time

import pytest

from common.errors import AllFailed
from services.router.domain.catalog import Timeouts
from services.router.domain.entries import Kind
from services.router.providers.retry_budget import RetryBudget
from tests.provider_scene import BIG, LARGE, SMALL, Scene
from tests.scripted_provider import (
    a_completion,
    answers,
    begins,
    hangs,
    pieces,
    scripted_provider,
    streams,
    waits,
)

SLOW_AFTER_S = 0.1
TIMES = Timeouts(connect_s=1, first_token_s=5, idle_s=5, total_s=10, failover_s=SLOW_AFTER_S)


@pytest.fixture
async def scene():
    async with scripted_provider() as first, scripted_provider() as second:
        first.plays(hangs)
        second.plays(answers(a_completion("from beta", id="r-2", model="small")))
        scene = Scene(first, second, timeouts=TIMES)
        yield scene
        await scene.client.close()


async def test_one_that_never_answers_is_given_up_when_another_answers(scene):
    began = time.monotonic()
    served = await scene.answer()

    assert (served.answered, served.fallbacks) == (SMALL, 1)
    assert time.monotonic() - began < 2
    assert len(scene.first.received) == 1
    assert sorted(scene.outcomes) == [("acme/large", "unknown"), ("beta/small", "ok")]
    assert [r.model for r in scene.rows if r.kind is Kind.CLOSED] == ["beta/small"]
    await asyncio.wait_for(scene.first.hung_up.wait(), 1)


async def test_a_stream_without_a_first_token_is_given_up_when_another_has_one(scene):
    scene.first.plays(begins(*pieces([], finish=None), then=hangs))
    scene.second.plays(streams(*pieces(["x"])))

    _, served = await scene.stream()

    assert served.fallbacks == 1
    assert sorted(scene.outcomes) == [("acme/large", "truncated"), ("beta/small", "ok")]


async def test_one_that_is_slow_may_still_answer_first(scene):
    event = asyncio.Event()
    scene.first.plays(waits(event, answers(a_completion())))
    scene.second.plays(hangs)
    asked = asyncio.create_task(scene.answer())
    await scene.second.asked.wait()

    event.set()
    served = await asked

    assert (served.answered, served.fallbacks) == (LARGE, 0)
    assert sorted(scene.outcomes) == [("acme/large", "ok"), ("beta/small", "cancelled")]


async def test_one_that_always_takes_its_time_is_waited_for(scene):
    for _ in range(5):
        scene.candidates._patience.answered(LARGE, streamed=False, waited_s=10 * SLOW_AFTER_S)
    event = asyncio.Event()
    scene.first.plays(waits(event, answers(a_completion())))
    asyncio.get_running_loop().call_later(3 * SLOW_AFTER_S, event.set)

    served = await scene.answer()

    assert served.answered is LARGE
    assert scene.second.received == []


async def test_one_that_keeps_hanging_is_left_alone(scene):
    scene.breakers.failures_to_open = 2
    for _ in range(2):
        await scene.answer()

    await scene.answer()

    assert len(scene.first.received) == 2


async def test_where_one_model_hangs_its_provider_is_asked_again_within_its_budget(scene):
    scene.candidates._budget = RetryBudget(free=1, ratio=0)
    scene.second.plays(*[hangs] * 2, answers(a_completion(model="small")))

    began = time.monotonic()
    answered, late = await asyncio.wait(
        [asyncio.create_task(scene.answer(BIG, SMALL, within_s=2)) for _ in range(2)],
        return_when=asyncio.FIRST_COMPLETED,
    )

    assert [SMALL] == [task.result().answered for task in answered]
    (late_one,) = late
    assert (await late_one).answered is SMALL
    assert time.monotonic() - began > 0.9  # when its share of the time, a second, was over


async def test_many_that_hang_at_once_are_all_answered_soon(scene):
    calls = 10
    scene.candidates._budget = RetryBudget(free=2, ratio=0)
    scene.breakers.failures_to_open = 2
    scene.second.plays(*[hangs] * calls, answers(a_completion(model="small")))

    began = time.monotonic()
    served = await asyncio.gather(*(scene.answer(BIG, SMALL) for _ in range(calls)))

    assert [SMALL] * calls == [s.answered for s in served]
    assert time.monotonic() - began < 1  # half of the time they had is 2.5 s


async def test_a_provider_that_stumbles_is_asked_at_most_1_3_times_as_often(scene):
    calls = 100
    stumbles = [answers({}, status=500), answers(a_completion())]
    scene.first.plays(*stumbles * calls)

    served = [await scene.answer(LARGE, BIG) for _ in range(calls)]

    repeated = len(scene.first.received) - calls
    assert repeated == 30
    assert [s.outcome for s in served] == ["ok"] * calls


async def test_a_provider_that_is_down_is_not_asked_twice_for_each_call(scene):
    calls = 20
    scene.first.plays(answers({}, status=500))

    for _ in range(calls):
        with pytest.raises(AllFailed):
            await scene.answer(LARGE)

    assert calls < len(scene.first.received) <= 1.3 * calls
