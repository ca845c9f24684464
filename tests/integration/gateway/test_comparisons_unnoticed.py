"""Comparing answers: within its budget, in its place, and no client notices."""

import asyncio
import time

import pytest

from common.errors import NotFound, OverBudget, Unavailable
from services.gateway import comparisons
from tests.comparison_scene import (
    CHAT,
    COMPLETE,
    HELLO,
    IN_EXPERIMENT,
    PLAIN,
    and_nothing_before,
    answers,
    asked,
    compare,
    counted,
    end_of,
    judged,
    told,
)
from tests.gateway_fakes import a_stack


async def test_money_is_set_aside_first_and_it_is_enough(compared):
    answer = await asked(compared)
    record = await told(compared)
    (reserved,) = compared.experiments.reservations

    assert (1, answer.headers["x-request-id"]) == (reserved.experiment_id, reserved.request_id)
    assert record.cost_nano_usd < reserved.nano_usd < 10**7


async def test_when_the_budget_is_spent_nobody_is_asked(compared, endings):
    before = counted("over_budget")
    compared.experiments.reservation = OverBudget("the budget for comparing is spent")

    answer = await asked(compared)

    assert ("over_budget", 200) == (await end_of(endings), answer.status_code)
    assert (before + 1, 1) == (counted("over_budget"), len(compared.router.asks))


async def test_a_silent_experiments_service_is_not_noticed_by_clients(compared, endings):
    compared.experiments.reservation = asyncio.Event()

    answer = await asked(compared)

    record = await told(compared)  # what was perhaps set aside is set free
    assert ("failed", 200) == (await end_of(endings), answer.status_code)
    assert ("a part of the service did not answer in time", 0, 1) == (
        record.failure,
        record.cost_nano_usd,
        len(compared.router.asks),
    )


@pytest.mark.parametrize("failure", [NotFound("it compares no answers"), Unavailable("starting")])
async def test_what_nothing_can_be_set_aside_for_is_dropped(compared, endings, failure):
    compared.experiments.reservation = failure

    await asked(compared)

    assert "dropped" == await end_of(endings)
    assert ([], 1) == (judged(compared), len(compared.router.asks))


async def test_what_was_paid_for_is_told_again(compared, endings, monkeypatch):
    monkeypatch.setattr(comparisons, "PAUSES_S", (0.0, 0.0))
    compared.experiments.keeping = [Unavailable("starting"), Unavailable("starting")]

    await asked(compared)

    assert ("", "judged") == ((await told(compared)).failure, await end_of(endings))


async def test_what_cannot_be_kept_is_given_up(compared, endings, monkeypatch):
    monkeypatch.setattr(comparisons, "PAUSES_S", ())
    compared.experiments.keeping = [Unavailable("starting")]

    await asked(compared)

    assert "failed" == await end_of(endings)
    await and_nothing_before(compared)


async def test_it_counts_as_spent(compared):
    await asked(compared)
    await told(compared)
    compared.experiments.comparing = None

    answer = await compared.client.post(COMPLETE, json=PLAIN)

    assert (7_000 + 4 * 1_500) / 10**9 == answer.json()["total_cost_today"]


async def test_a_client_who_hangs_up_gets_nothing_compared(compared):
    compared.router.answer = answers(ours=asyncio.Event())
    request = asyncio.create_task(asked(compared))
    await compared.router.asked.wait()

    request.cancel()
    await compared.router.cancelled.wait()

    await and_nothing_before(compared)


async def test_what_does_not_fit_is_dropped_and_every_client_is_answered(compared):
    before, go = counted("dropped"), asyncio.Event()
    compared.router.answer = answers(theirs=go)
    first = await asked(compared)
    while len(compared.router.asks) < 2:  # the first one's other answer
        compared.router.asked.clear()
        await compared.router.asked.wait()

    others = [await asked(compared) for _ in range(3)]
    go.set()
    records = [await told(compared), await told(compared)]

    assert [200] * 4 == [answer.status_code for answer in (first, *others)]
    assert before + 2 == counted("dropped")
    assert [first.headers["x-request-id"], others[0].headers["x-request-id"]] == [
        record.request_id for record in records
    ]


async def test_one_that_takes_too_long_is_ended():
    async with a_stack(comparison_timeout_s=0.2) as stack:
        compare(stack)
        stack.router.answer = answers(theirs=asyncio.Event())

        await asked(stack)
        record = await told(stack)

    assert ("it took over 0.2 s", False) == (record.failure, record.HasField("cost_nano_usd"))


async def test_a_stop_does_not_wait_for_it():
    before = counted("dropped")
    async with a_stack(comparisons_at_once=1) as stack:
        compare(stack)
        stack.router.answer = answers(theirs=asyncio.Event())
        for _ in range(3):
            await asked(stack)
        while len(stack.router.asks) < 4:
            stack.router.asked.clear()
            await stack.router.asked.wait()
        began = time.monotonic()
        stack.stop.set()
        await asyncio.wait_for(stack.router.cancelled.wait(), 5)

    assert time.monotonic() - began < 2
    assert before + 3 == counted("dropped")


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    "changes",
    [
        {"stream": True},
        {"tools": [TOOL]},
        {"n": 2},
        {"messages": [{"role": "user", "content": [PICTURE]}]},
        {"messages": [{"role": "user", "content": "x" * 300_000}]},
    ],
    ids=["streamed", "tools", "several", "picture", "long"],
)
async def test_what_a_judge_of_texts_cannot_see_is_not_compared(compared, changes):
    assert 200 == (await asked(compared, **changes)).status_code

    await and_nothing_before(compared)


@pytest.mark.parametrize(
    ("comparing", "recorded", "headers"),
    [
        (None, True, IN_EXPERIMENT),
        ({"share": 0.0}, True, IN_EXPERIMENT),
        ({}, False, IN_EXPERIMENT),  # it has ended
        ({}, True, {}),
    ],
    ids=["off", "share", "ended", "outside"],
)
async def test_what_is_not_to_be_compared_is_not(compared, comparing, recorded, headers):
    compare(compared, **(comparing or {}))
    if comparing is None:
        compared.experiments.comparing = None
    compared.experiments.recorded = recorded

    answer = await compared.client.post(CHAT, json=HELLO, headers=headers)

    compared.experiments.recorded = True
    await and_nothing_before(compared)
    assert 200 == answer.status_code
