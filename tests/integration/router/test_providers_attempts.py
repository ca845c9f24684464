"""The first candidate that answers, against providers that fail in every way; and the ledger."""

import asyncio
import json
import time
from contextlib import aclosing

import pytest

from common.errors import AllFailed, Failure, Invalid, OverBudget, TimedOut, Unavailable
from services.router.attempts import Candidates
from services.router.background import Caller, Stories
from services.router.domain.catalog import Timeouts
from services.router.domain.decision import Candidate, Decision
from services.router.domain.entries import Kind
from services.router.providers.breaker import Breakers
from services.router.providers.client import ProviderClient
from services.router.store.entry import Entry
from tests.router_builders import a_catalog, a_model, a_provider, an_ask
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
    waits,
)

LARGE = a_model("acme/large")
SMALL = a_model("beta/small", context_tokens=1_000)
BIG = a_model("beta/big", context_tokens=1_000_000)
QUICK = Timeouts(connect_s=1, first_token_s=0.3, idle_s=0.3, total_s=1)


class Scene:
    """Two providers, a ledger in memory, and what asks them."""

    def __init__(self, first, second, **options):
        self.first, self.second = first, second
        providers = {
            "acme": a_provider("acme", base_url=first.url, timeouts=QUICK),
            "beta": a_provider("beta", base_url=second.url, timeouts=QUICK),
        }
        catalog = a_catalog(LARGE, SMALL, BIG, providers=providers)
        self.client = ProviderClient(lambda: catalog, key_of=lambda _: "secret")
        self.breakers = Breakers(**options.pop("breakers", {}))
        self.candidates = Candidates(self.client, self.breakers, **options)
        self.rows = []
        self.broken = False  # the ledger

    async def append(self, rows):
        if self.broken:
            raise Unavailable("nowhere to write")
        self.rows.extend(rows)

    async def answer(self, *models, within_s=5.0, caller=None, **body):
        ask = an_ask("hi", **body)
        async with Entry(ask, append=self.append, deadline_s=within_s) as entry:
            served = await self.candidates.first_answer(
                ask, a_decision(*models), entry,
                deadline=time.monotonic() + within_s, caller=caller,
            )  # fmt: skip
            await entry.close(outcome=served.outcome)
            return served

    async def stream(self, *models, within_s=5.0, caller=None, on_batch=None):
        """Return (the chunks that left before the end, what was served)."""
        ask = an_ask("hi", streamed=True, stream_options={"include_usage": True})
        chunks = []
        async with Entry(ask, append=self.append, deadline_s=within_s) as entry:
            served = await self.candidates.first_stream(
                ask, a_decision(*models), entry,
                deadline=time.monotonic() + within_s, caller=caller,
            )  # fmt: skip
            async for batch in served:
                chunks.extend(json.loads(c) for c in batch)
                if on_batch:
                    on_batch()
            await entry.close(outcome=served.outcome)
        return chunks, served

    @property
    def settled(self):
        return [r for r in self.rows if r.kind is Kind.SETTLED]

    @property
    def outcomes(self):
        return [(r.model, r.outcome) for r in self.settled]


@pytest.fixture
async def scene():
    async with scripted_provider() as first, scripted_provider() as second:
        first.plays(answers(a_completion()))
        second.plays(answers(a_completion("from beta", id="r-2", model="small")))
        scene = Scene(first, second)
        yield scene
        await scene.client.close()


def a_decision(*models):
    candidates = tuple(Candidate(m, 1_000, 0.8) for m in models or (LARGE, SMALL))
    return Decision("complexity", "high", candidates)


def text_of(chunks):
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)


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


async def test_a_short_rate_limit_is_waited_out_when_there_is_nobody_else(scene):
    scene.first.plays(answers({}, status=429, **{"Retry-After": "0.05"}), answers(a_completion()))

    served = await scene.answer(LARGE)

    assert served.answered is LARGE


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
async def test_a_stream_that_breaks_off_later_is_an_error_and_never_another_answer(
    scene, chunks, then
):
    heard = asyncio.Event()
    scene.first.plays(begins(*pieces(finish=None), then=goes_on(*chunks, event=heard, then=then)))

    with pytest.raises(AllFailed) as caught:
        await scene.stream(on_batch=heard.set)

    row = scene.settled[0]
    assert (caught.value.code, caught.value.billed) == ("answer_broke_off", True)
    assert scene.second.received == []
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
    scene.candidates = Candidates(scene.client, scene.breakers, **bound)
    left = asyncio.Event()
    scene.first.plays(
        begins(*pieces(finish=None), then=goes_on(pieces(["c"])[1], event=left, then=hangs))
    )

    def leave():
        caller.leave()
        left.set()

    began = time.monotonic()
    _, served = await scene.stream(caller=caller, on_batch=leave)

    row = scene.settled[0]
    assert served.outcome == "cancelled"
    assert time.monotonic() - began < 0.25  # the idle limit is 0.3 s
    assert (row.outcome, row.output_tokens >= 2, row.estimated) == ("cancelled", True, True)
    await asyncio.wait_for(scene.first.hung_up.wait(), 1)


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
