"""The first candidate that answers, against providers that fail in every way; and the ledger."""

import asyncio
import json
import time

import pytest

from common.errors import AllFailed, Invalid, OverBudget, TimedOut, Unavailable
from services.router.domain.entries import Kind
from tests.provider_scene import BIG, LARGE, SMALL, Scene
from tests.scripted_provider import (
    a_completion,
    answers,
    hangs,
    resets,
    scripted_provider,
    then,
)


@pytest.fixture
async def scene():
    async with scripted_provider() as first, scripted_provider() as second:
        first.plays(answers(a_completion()))
        second.plays(answers(a_completion("from beta", id="r-2", model="small")))
        scene = Scene(first, second)
        yield scene
        await scene.client.close()


async def test_the_first_candidate_answers_and_is_settled(scene):
    served = await scene.answer()

    assert (served.answered, served.fallbacks, served.outcome) == (LARGE, 0, "ok")
    assert [r.kind for r in scene.rows] == [Kind.OPENED, Kind.SETTLED, Kind.CLOSED]
    row = scene.settled[0]
    assert (
        row.outcome,
        row.provider_response_id,
        row.input_tokens,
        row.output_tokens,
        row.estimated,
    ) == ("ok", "r-1", 7, 3, False)
    assert scene.first.received[0].headers["x-client-request-id"] == str(row.attempt_id)


async def test_nothing_is_sent_that_the_ledger_cannot_hold(scene):
    scene.broken = True

    with pytest.raises(Unavailable):
        await scene.answer()

    assert scene.first.received == scene.second.received == []


@pytest.mark.parametrize(
    ("script", "times", "outcome"),
    [
        (answers({}, status=503), 1, "failed"),
        (answers({}, status=429), 1, "failed"),
        (answers({}, status=402), 1, "failed"),
        (answers({}, status=401), 1, "failed"),
        (answers({}, status=404), 1, "failed"),
        (answers({}, status=302), 1, "failed"),
        (answers({}, status=502), 1, "unknown"),
        (answers({}, status=500), 2, "unknown"),
        (resets, 2, "unknown"),
        (hangs, 1, "unknown"),
        (answers(b"<html>"), 1, "unknown"),
        (answers(a_completion(choices=[])), 1, "failed"),
    ],
)
async def test_the_next_candidate_answers_when_one_fails(scene, script, times, outcome):
    scene.first.plays(script)

    served = await scene.answer()

    assert (served.answered, served.fallbacks) == (SMALL, 1)
    assert len(scene.first.received) == times
    assert scene.outcomes == [("acme/large", outcome)] * times + [("beta/small", "ok")]


@pytest.mark.parametrize("script", [answers({}, status=500), resets])
async def test_one_more_try_may_be_enough(scene, script):
    scene.first.plays(script, answers(a_completion()))

    served = await scene.answer()

    assert (served.answered, served.fallbacks) == (LARGE, 0)


async def test_an_answer_that_was_paid_and_is_none_keeps_its_price(scene):
    scene.first.plays(answers(a_completion(choices=[])))

    await scene.answer()

    assert (scene.settled[0].input_tokens, scene.settled[0].output_tokens) == (7, 3)


@pytest.mark.parametrize("others", [[], [SMALL]])
async def test_a_short_rate_limit_is_waited_out(scene, others):
    scene.first.plays(answers({}, status=429, **{"Retry-After": "0.05"}), answers(a_completion()))

    began = time.monotonic()
    served = await scene.answer(LARGE, *others)

    assert served.answered is LARGE
    assert time.monotonic() - began > 0.05
    assert scene.outcomes == [("acme/large", "failed"), ("acme/large", "ok")]


async def test_a_short_rate_limit_is_waited_out_once_only(scene):
    scene.first.plays(answers({}, status=429, **{"Retry-After": "0.05"}))

    served = await scene.answer()

    assert served.answered is SMALL
    assert len(scene.first.received) == 2


async def test_a_long_rate_limit_is_not_waited_out(scene):
    scene.first.plays(answers({}, status=429, **{"Retry-After": "3"}))

    served = await scene.answer()

    assert served.answered is SMALL
    assert len(scene.first.received) == 1


async def test_all_failed_names_what_was_tried_and_whether_it_was_billed(scene):
    scene.first.plays(answers({}, status=503))
    scene.second.plays(hangs)

    with pytest.raises(AllFailed) as caught:
        await scene.answer()

    assert (
        caught.value.message == "every candidate failed: acme/large (503), beta/small (timed out)"
    )
    assert caught.value.billed


async def test_rate_limits_everywhere_say_when_to_come_back(scene):
    scene.first.plays(answers({}, status=429, **{"Retry-After": "30"}))
    scene.second.plays(answers({}, status=429, **{"Retry-After": "7"}))

    with pytest.raises(OverBudget) as caught:
        await scene.answer()

    assert caught.value.retry_after_s == 7


async def test_what_the_caller_must_mend_is_not_asked_twice(scene):
    error = {"message": "top_p is too high", "param": "top_p", "code": "bad_value"}
    scene.first.plays(answers({"error": error}, status=400))

    with pytest.raises(Invalid) as caught:
        await scene.answer()

    assert (caught.value.param, caught.value.code) == ("top_p", "bad_value")
    assert scene.second.received == []
    assert scene.outcomes == [("acme/large", "failed")]


async def test_who_began_to_answer_shows_that_the_request_is_right(scene):
    promises_more = {"Content-Length": "999"}
    scene.first.plays(then(answers(b"{", **promises_more), resets))
    scene.second.plays(answers({}, status=400), answers(a_completion(model="big")))

    served = await scene.answer(LARGE, SMALL, BIG)

    assert served.answered is BIG
    assert scene.outcomes == [
        ("acme/large", "unknown"), ("beta/small", "failed"), ("beta/big", "ok"),
    ]  # fmt: skip


async def test_what_no_call_can_have_used_is_counted_and_flagged(scene):
    absurd = {"prompt_tokens": 7, "completion_tokens": 8 * LARGE.context_tokens + 1}
    scene.first.plays(answers(a_completion("x" * 40, usage=absurd)))

    served = await scene.answer()

    assert (served.usage.output_tokens, served.usage.estimated) == (10, True)
    assert "usage" not in json.loads(served.body)


async def test_what_does_not_fit_goes_to_a_larger_context_only(scene):
    error = {"code": "context_length_exceeded", "message": "too long"}
    scene.first.plays(answers({"error": error}, status=400))
    scene.second.plays(answers(a_completion(model="big")))

    served = await scene.answer(LARGE, SMALL, BIG)

    assert served.answered is BIG
    assert [r.body["model"] for r in scene.second.received] == ["big"]


async def test_time_is_left_for_the_candidates_behind(scene):
    scene.first.plays(hangs)

    served = await scene.answer(within_s=0.6)

    assert served.answered is SMALL


async def test_time_that_is_up_is_said_as_such(scene):
    scene.first.plays(hangs)

    with pytest.raises(TimedOut) as caught:
        await scene.answer(LARGE, within_s=0.2)

    assert caught.value.billed


async def test_missing_usage_is_counted_and_flagged(scene):
    scene.first.plays(answers(a_completion("x" * 40, usage=None)))

    served = await scene.answer()

    assert (served.usage.output_tokens, served.usage.estimated) == (10, True)
    assert scene.settled[0].estimated


async def test_a_model_that_keeps_failing_is_left_alone_and_tried_again_later(scene):
    scene.breakers.failures_to_open, scene.breakers.rest_s = 2, 0.2
    scene.first.plays(answers({}, status=503), answers({}, status=503), answers(a_completion()))

    for _ in range(3):
        assert (await scene.answer()).answered is SMALL
    asked_while_open = len(scene.first.received)
    await asyncio.sleep(0.25)

    assert asked_while_open == 2
    assert (await scene.answer()).answered is LARGE


async def test_when_everybody_is_left_alone_the_first_is_asked_all_the_same(scene):
    scene.breakers.failures_to_open = 1
    scene.first.plays(answers({}, status=503), answers(a_completion()))

    with pytest.raises(AllFailed):
        await scene.answer(LARGE)

    assert (await scene.answer(LARGE)).answered is LARGE


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_provider_that_refuses_us_is_out_of_rotation(scene, status):
    scene.first.plays(answers({}, status=status))

    await scene.answer()
    await scene.answer()

    assert len(scene.first.received) == 1


async def test_requests_that_are_wrong_do_not_open_a_breaker(scene):
    scene.breakers.failures_to_open = 1
    scene.first.plays(answers({}, status=400), answers(a_completion()))

    with pytest.raises(Invalid):
        await scene.answer()

    assert (await scene.answer()).answered is LARGE
