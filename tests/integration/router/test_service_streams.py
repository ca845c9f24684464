"""Streams through the whole router: durable before the end is told, accounted if nobody listens."""

import asyncio

import orjson
import pytest

from common.errors import AllFailed
from tests.integration.router.router_stack import (
    CLOSED,
    OPENED,
    SETTLED,
    an_ask,
    kinds,
    read_all,
    until,
)

STORY = "Tell me a long story about a lighthouse."


def chunks_of(events):
    return [orjson.loads(c) for event in events for c in (*event.chunks.json, *event.tail)]


def text_of(events):
    choices = [choice for chunk in chunks_of(events) for choice in chunk["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def reasons(event):
    return [
        choice["finish_reason"]
        for chunk in chunks_of([event])
        for choice in chunk["choices"]
        if choice["finish_reason"]
    ]


async def test_a_stream_begins_says_all_and_ends_with_what_it_cost(router):
    ask = an_ask(STORY)

    first, *middle, last = await read_all(router.stream(ask=ask))

    assert ("started", "acme/small", False) == (
        first.WhichOneof("event"),
        first.started.model,
        first.started.HasField("cost_nano_usd"),
    )
    plain = await router.complete(STORY)
    assert orjson.loads(plain.body)["choices"][0]["message"]["content"] == text_of(middle)
    [entry, _] = router.bill
    assert "finished" == last.WhichOneof("event")
    assert (entry.cost_nano_usd, "priced") == (last.finished.cost_nano_usd, last.finished.pricing)
    closed = await router.closed(ask.request_id)
    assert (entry.cost_nano_usd, True, "ok") == (
        closed.cost_nano_usd,
        closed.streamed,
        closed.outcome,
    )
    assert closed.time_to_first_token_ms > 0


async def test_the_end_of_a_stream_leaves_when_it_is_durable(router):
    ask = an_ask("hi")
    ended = []
    async for event in router.stream(ask=ask):
        if reasons(event):
            ended = await router.durable(ask.request_id)

    assert [OPENED, SETTLED, CLOSED] == ended


async def test_a_commit_that_lasts_holds_back_the_end_and_nothing_else(router, monkeypatch):
    ledger = router.service.ledger
    append, closing, go_on = ledger.append, asyncio.Event(), asyncio.Event()

    async def slowly(rows):
        if any(row.kind == CLOSED for row in rows):
            closing.set()
            await go_on.wait()
        await append(rows)

    monkeypatch.setattr(ledger, "append", slowly)
    events = []

    async def listen():
        events.extend([event async for event in _noted(router.stream(STORY), events)])

    listening = asyncio.create_task(listen())
    await closing.wait()
    await until(lambda: text_of(events))

    assert [] == [reason for event in events for reason in reasons(event)]
    go_on.set()
    await listening
    assert ["stop"] == [reason for event in events for reason in reasons(event)]


async def _noted(stream, into):
    """Note each event as it comes."""
    async for event in stream:
        into.append(event)
    return
    yield


async def test_a_stream_that_breaks_ends_in_a_failure_and_no_finish(router):
    ask = an_ask(f"{STORY} [[fault:cut_after=3]]")
    events = []

    with pytest.raises(AllFailed, match="broke off") as broken:
        await read_all(_noted(router.stream(ask=ask), events))

    assert broken.value.billed
    assert text_of(events)
    assert [] == [reason for event in events for reason in reasons(event)]
    closed = await router.closed(ask.request_id)
    assert ("truncated", "answer_broke_off") == (
        closed.outcome,
        orjson.loads(closed.details_json)["error"],
    )
    assert "complexity" in orjson.loads(closed.details_json)


async def test_a_listener_that_leaves_in_the_middle_is_accounted_as_billed(router):
    ask = an_ask(f"{STORY} [[fault:tokens_per_s=50]]")
    stream = router.stream(ask=ask)
    heard = 0
    async for event in stream:
        heard += bool(event.chunks.json)
        if heard == 2:
            break

    stream.cancel()

    closed = await router.closed(ask.request_id)
    [entry] = router.bill
    assert ("cancelled", entry.cost_nano_usd) == (closed.outcome, closed.cost_nano_usd)
    settled = [r for r in await router.ledger(ask.request_id) if r.kind == SETTLED]
    assert [("cancelled", entry.client_request_id, entry.output_tokens)] == [
        (r.outcome, r.attempt_id, r.output_tokens) for r in settled
    ]


async def test_a_listener_that_leaves_before_the_first_word_is_accounted(router, left):
    ask = an_ask("hi")
    router.gate.shut()
    stream = router.stream(ask=ask)
    listening = asyncio.create_task(read_all(stream))
    await router.gate.asked.wait()

    stream.cancel()
    await asyncio.wait([listening])
    await left.wait()
    router.gate.open()

    closed = await router.closed(ask.request_id)
    [entry] = router.bill
    assert ("cancelled", entry.cost_nano_usd) == (closed.outcome, closed.cost_nano_usd)
    assert [OPENED, SETTLED, CLOSED] == kinds(await router.ledger(ask.request_id))


async def test_a_listener_that_does_not_read_holds_nobody_else_up(router):
    lazy = router.stream(STORY * 20)
    await lazy.read()

    others = await asyncio.gather(*(read_all(router.stream("hi")) for _ in range(5)))

    assert {"finished"} == {events[-1].WhichOneof("event") for events in others}
    lazy.cancel()
