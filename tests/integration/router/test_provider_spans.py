"""Each call to a provider is one span that ends once, as the call ended."""

import asyncio

import pytest

from common import telemetry, trace
from common.errors import AllFailed, Failure, Unavailable
from services.router.background import Caller
from services.router.domain.catalog import Timeouts
from tests.fake_telemetry import FakeTelemetry
from tests.provider_scene import LARGE, SMALL, Scene
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

OK, OTHER_OK = ("chat large", "", False), ("chat small", "", False)
PARENT = f"00-{'4b' * 16}-{'00f0' * 4}-01"
TIMES = Timeouts(connect_s=1, first_token_s=5, idle_s=5, total_s=10, failover_s=0.1)


@pytest.fixture
def told(monkeypatch):
    fake = FakeTelemetry()
    monkeypatch.setattr(telemetry, "_listening", fake)
    return fake


@pytest.fixture
async def scene(told):
    async with scripted_provider() as first, scripted_provider() as second:
        first.plays(answers(a_completion()))
        second.plays(answers(a_completion("from beta", id="r-2", model="small")))
        scene = Scene(first, second, timeouts=TIMES)
        yield scene
        await scene.client.close()


async def test_an_answer_says_what_it_used_below_the_request_that_asked(scene, told):
    with trace.traced("019372b1-2222-7333-8444-555566667777", PARENT.encode()):
        await scene.answer()

    (span,) = told.spans
    row = scene.settled[0]
    assert [OK] == told.endings
    assert (PARENT, True) == (span.parent, span.client)
    assert ("acme", "large", "127.0.0.1", 7, 3) == (
        span.about["gen_ai.provider.name"],
        span.about["gen_ai.response.model"],
        span.about["server.address"],
        span.about["gen_ai.usage.input_tokens"],
        span.about["gen_ai.usage.output_tokens"],
    )
    assert str(row.attempt_id) == span.about["optimizer.attempt_id"]
    assert row.cost_nano_usd == round(span.about["optimizer.cost_usd"] * 1e9)
    assert {
        ("gen_ai.client.token.usage", 7),
        ("gen_ai.client.token.usage", 3),
    } == {(metric, value) for metric, value, _ in told.observed if "token" in metric}


async def test_every_call_is_a_span_and_says_why_the_next_one_was_needed(scene, told):
    scene.first.plays(resets, answers({}, status=503))

    await scene.answer()

    assert [
        ("chat large", "reset", True),
        ("chat large", "overloaded", True),
        OTHER_OK,
    ] == told.endings


async def test_one_that_was_overtaken_says_so(scene, told):
    scene.first.plays(hangs)

    await scene.answer()

    assert [("chat large", "timed_out", True), OTHER_OK] == told.endings


async def test_a_stream_ends_with_its_last_byte(scene, told):
    event = asyncio.Event()
    scene.first.plays(
        begins(*pieces(["a"], finish=None), then=goes_on(*pieces(["b"]), "[DONE]", event=event))
    )
    ends = []

    def heard():
        ends.append(told.spans[0].ends)
        event.set()

    await scene.stream(on_batch=heard)

    first_s = [value for metric, value, _ in told.observed if "first_chunk" in metric]
    assert [OK] == told.endings
    assert 0 == ends[0]
    assert [told.spans[0].about["gen_ai.response.time_to_first_chunk"]] == first_s


async def test_a_stream_that_breaks_off_failed(scene, told):
    scene.first.plays(begins(*pieces(["a"], finish=None), then=resets))
    scene.second.plays(answers({}, status=500))

    with pytest.raises(AllFailed):
        await scene.stream(LARGE)

    assert [("chat large", "truncated", True)] == told.endings


async def test_a_stream_that_its_caller_left_goes_well_if_it_came_to_its_end(scene, told):
    caller = Caller()
    scene.first.plays(streams(*pieces()))

    await scene.stream(caller=caller, on_batch=caller.leave)

    assert [OK] == told.endings


async def test_a_stream_that_was_hung_up_on_says_so_and_reports_no_tokens_of_ours(scene, told):
    scene.candidates._drain_bytes = 0
    caller = Caller()
    scene.first.plays(begins(*pieces(["a"] * 50, finish=None), then=hangs))

    await scene.stream(caller=caller, on_batch=caller.leave)

    assert [("chat large", "caller_gone", True)] == told.endings
    assert told.spans[0].about["optimizer.estimated"]
    assert [] == [metric for metric, _, _ in told.observed if "token" in metric]


async def test_a_call_that_shutdown_cuts_short_ends_as_well(scene, told):
    scene.first.plays(hangs)
    asking = asyncio.create_task(scene.answer(LARGE))
    await scene.first.asked.wait()

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert [("chat large", "caller_gone", True)] == told.endings


async def test_what_was_never_sent_is_no_call(scene, told):
    scene.broken = True

    with pytest.raises(Unavailable):
        await scene.answer()

    assert [] == told.spans


async def test_labels_come_from_the_catalog_whatever_a_provider_says(scene, told):
    scene.first.plays(answers(a_completion(model="x" * 200, id="y" * 200)))
    scene.second.plays(answers({"error": {"message": "z" * 200}}, status=400))

    await scene.answer()
    with pytest.raises(Failure):
        await scene.answer(SMALL)

    said = str(told.spans) + str(told.observed)
    assert not any(letter * 20 in said for letter in "xyz")
