"""The first stream that has content: invisible failures before it, honest ones after."""

import asyncio
import json
import time

import pytest

from common.errors import AllFailed
from services.router.background import Caller
from services.router.domain.catalog import Timeouts
from tests.provider_scene import Scene, text_of
from tests.scripted_provider import (
    a_completion,
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
        first.plays(answers(a_completion()))
        second.plays(answers(a_completion("from beta", id="r-2", model="small")))
        scene = Scene(first, second)
        yield scene
        await scene.client.close()


async def test_a_stream_leaves_in_batches_and_its_end_after_the_settlement(scene):
    scene.first.plays(streams(*pieces()))

    chunks, served = await scene.stream()

    tail = [json.loads(c) for c in served.tail]
    assert text_of(chunks) == "ab"
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * 3
    assert [c["choices"][0]["finish_reason"] for c in tail[:1]] == ["stop"]
    assert tail[1]["usage"]["completion_tokens"] == 3
    assert scene.outcomes == [("acme/large", "ok")]
    assert scene.settled[0].time_to_first_token_ms > 0


@pytest.mark.parametrize(
    ("script", "times", "outcome"),
    [
        (answers({}, status=503), 1, "failed"),
        (answers({}, status=500), 2, "unknown"),
        (resets, 2, "unknown"),
        (hangs, 1, "unknown"),
        (begins(then=hangs), 1, "unknown"),
        (begins(*pieces([], finish=None), then=resets), 1, "truncated"),
        (begins(*pieces([], finish=None), then=hangs), 1, "truncated"),
        (streams(b"data: {nonsense\n\n"), 1, "unknown"),
        (streams(), 1, "unknown"),
        (answers(a_completion()), 1, "unknown"),
    ],
)
async def test_a_stream_that_fails_before_its_first_content_fails_over_unseen(
    scene, script, times, outcome
):
    scene.first.plays(script)
    scene.second.plays(streams(*pieces(["x"])))

    chunks, served = await scene.stream()

    assert (text_of(chunks), served.fallbacks) == ("x", 1)
    assert scene.outcomes == [("acme/large", outcome)] * times + [("beta/small", "ok")]


@pytest.mark.parametrize(
    ("chunks", "then"),
    [
        ([], resets),
        ([], hangs),
        ([], None),
        (["[DONE]"], None),
        ([b"data: {nonsense\n\n"], None),
        ([{"error": {"message": "boom"}}], None),
    ],
)
async def test_a_stream_that_breaks_off_later_is_an_error_when_nobody_else_answers(
    scene, chunks, then
):
    heard = asyncio.Event()
    scene.first.plays(begins(*pieces(finish=None), then=goes_on(*chunks, event=heard, then=then)))

    with pytest.raises(AllFailed) as caught:
        await scene.stream(on_batch=heard.set)

    row = scene.settled[0]
    assert (caught.value.code, caught.value.billed) == ("answer_broke_off", True)
    assert (row.outcome, row.provider_response_id, row.output_tokens, row.estimated) == (
        "truncated", "r-1", 2, True,
    )  # fmt: skip


async def test_a_stream_goes_on_unheard_until_the_provider_says_what_it_costs(scene):
    caller, rest = Caller(), asyncio.Event()
    scene.first.plays(begins(*pieces(finish=None), then=goes_on(*pieces(["c"])[1:], event=rest)))

    def leave():
        caller.leave()
        rest.set()

    _, served = await scene.stream(caller=caller, on_batch=leave)

    row = scene.settled[0]
    assert served.outcome == "cancelled"
    assert (row.outcome, row.output_tokens, row.estimated) == ("cancelled", 3, False)


@pytest.mark.parametrize("bound", [{"drain_s": 0.05}, {"drain_bytes": 0}])
async def test_a_stream_nobody_hears_is_hung_up_on_in_the_end(scene, bound):
    caller = Caller()
    timeouts = Timeouts(connect_s=1, first_token_s=5, idle_s=5, total_s=10)
    patient = Scene(scene.first, scene.second, timeouts=timeouts, **bound)
    left = asyncio.Event()
    scene.first.plays(
        begins(*pieces(finish=None), then=goes_on(pieces(["c"])[1], event=left, then=hangs))
    )

    def leave():
        caller.leave()
        left.set()

    began = time.monotonic()
    _, served = await patient.stream(caller=caller, on_batch=leave)

    row = patient.settled[0]
    assert served.outcome == "cancelled"
    assert time.monotonic() - began < 2  # the idle limit is 5 s
    assert (row.outcome, row.output_tokens >= 2, row.estimated) == ("cancelled", True, True)
    await asyncio.wait_for(scene.first.hung_up.wait(), 1)
    await patient.client.close()
