"""The bill holds everything that was generated, once, to the nano-USD."""

import asyncio
import json

import aiohttp
import pytest
from yarl import URL

from common.money import cost_nano_usd
from sandbox.__main__ import build
from sandbox.bill import Bill
from sandbox.models import CHAT_MODELS
from sandbox.settings import SandboxSettings


def entry_fields(**changed):
    return {
        "response_id": "r",
        "client_request_id": None,
        "model": "tiny",
        "tokens": (1, 0, 1),
        "cost_nano_usd": 5,
        "streamed": False,
        **changed,
    }


async def test_an_answer_is_billed_at_the_prices_of_its_model(sandbox):
    await sandbox.ask("What is 6 * 7?", model="large", client_request_id="mine")

    (entry,) = await sandbox.entries()
    price = CHAT_MODELS["large"]
    expected = cost_nano_usd(
        (entry["input_tokens"], price.input_price), (entry["output_tokens"], price.output_price)
    )
    assert (expected, "mine", True) == (
        entry["cost_nano_usd"],
        entry["client_request_id"],
        entry["delivered"],
    )


async def test_cached_tokens_are_billed_at_their_own_price(sandbox):
    messages = [{"role": "system", "content": "x" * 8_000}, {"role": "user", "content": "hi"}]
    body = {"model": "large", "messages": messages}
    async with sandbox.session.post(f"{sandbox.url}/v1/chat/completions", json=body) as answer:
        usage = (await answer.json())["usage"]

    (entry,) = await sandbox.entries()
    assert 1_920 == usage["prompt_tokens_details"]["cached_tokens"] == entry["cached"]
    assert 92 * 2_500 + 1_920 * 250 + entry["output_tokens"] * 10_000 == entry["cost_nano_usd"]


@pytest.mark.parametrize("stream", [False, True])
async def test_many_at_once_are_each_billed_once(sandbox, stream):
    wanted = {str(n) for n in range(500)}
    await asyncio.gather(
        *(sandbox.ask("hi", client_request_id=name, stream=stream) for name in wanted)
    )

    entries = await sandbox.entries()
    assert wanted == {e["client_request_id"] for e in entries}
    assert len(wanted) == len(entries) == len({e["response_id"] for e in entries})
    assert all(e["delivered"] for e in entries)


async def test_the_bill_is_read_in_pages(sandbox):
    for n in range(5):
        await sandbox.ask("hi", client_request_id=str(n))

    first = await sandbox.get("/bill?limit=2")
    rest = await sandbox.get(f"/bill?after={first['next']}")
    assert ["0", "1"] == [e["client_request_id"] for e in first["entries"]]
    assert ["2", "3", "4"] == [e["client_request_id"] for e in rest["entries"]]
    assert (True, False) == (first["more"], rest["more"])
    total = sum(e["cost_nano_usd"] for e in first["entries"] + rest["entries"])
    assert total == rest["total_nano_usd"]


async def test_the_bill_speaks_ndjson_too(sandbox):
    await sandbox.ask("hi", client_request_id="a")
    async with sandbox.session.get(
        f"{sandbox.url}/bill", headers={"accept": "application/x-ndjson"}
    ) as answer:
        lines = [json.loads(line) async for line in answer.content]

    assert ["a"] == [line["client_request_id"] for line in lines]


async def test_a_cleared_bill_counts_on(sandbox):
    await sandbox.ask("hi")
    async with sandbox.session.delete(f"{sandbox.url}/bill") as answer:
        cleared = await answer.json()
    await sandbox.ask("hi")

    assert {"cleared": 1} == cleared
    assert [2] == [e["seq"] for e in await sandbox.entries()]


async def test_a_client_that_hangs_up_mid_stream_pays_what_was_generated():
    settings = SandboxSettings(listen="127.0.0.1:0", latency_scale=1)
    async with build(settings) as sandbox, aiohttp.ClientSession() as session:
        body = {
            "model": "small",
            "messages": [{"role": "user", "content": "Tell me about rivers"}],
            "stream": True,
        }
        async with session.post(f"{sandbox.url}/v1/chat/completions", json=body) as answer:
            for _ in range(6):  # the role, a blank line, then two more events
                await answer.content.readline()
            answer.close()
        while sandbox.app.bill.in_flight:  # noqa: ASYNC110  # it ends when the hang-up is noticed
            await asyncio.sleep(0.005)
        (entry,), _ = sandbox.app.bill.page(0, 10)

    assert not entry.delivered
    assert 2 <= entry.output_tokens < 40


async def test_a_client_that_hangs_up_on_a_plain_answer_pays_the_whole():
    settings = SandboxSettings(listen="127.0.0.1:0", latency_scale=1)
    async with build(settings) as sandbox, aiohttp.ClientSession() as session:
        body = {"model": "small", "messages": [{"role": "user", "content": "What is 6 * 7?"}]}
        asking = asyncio.create_task(session.post(f"{sandbox.url}/v1/chat/completions", json=body))
        while not sandbox.app.bill.in_flight:  # noqa: ASYNC110  # it has arrived
            await asyncio.sleep(0.005)
        asking.cancel()
        while sandbox.app.bill.in_flight:  # noqa: ASYNC110  # it has been generated
            await asyncio.sleep(0.005)
        (entry,), _ = sandbox.app.bill.page(0, 10)

    assert (5, False) == (entry.output_tokens, entry.delivered)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["first_token_s=500", "tokens_per_s=0.001"])
async def test_a_client_that_hangs_up_on_a_pause_is_not_waited_for(sandbox, fault, stream):
    asking = asyncio.create_task(sandbox.ask(f"rivers [[fault:{fault}]]", stream=stream))
    async with asyncio.timeout(5):
        while not (await sandbox.get("/bill"))["in_flight"]:  # noqa: ASYNC110  # it has arrived
            await asyncio.sleep(0.005)
    asking.cancel()

    await sandbox.quiet()


async def test_a_client_that_asks_too_early_and_hangs_up_is_not_waited_for(sandbox):
    body = b'{"model":"small","messages":[{"role":"user","content":"[[fault:hang]]"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
    url = URL(sandbox.url)
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(2 * (head % len(body) + body))
    async with asyncio.timeout(5):
        while not (await sandbox.get("/bill"))["in_flight"]:  # noqa: ASYNC110  # it has arrived
            await asyncio.sleep(0.005)
    writer.close()

    await sandbox.quiet()


async def test_what_breaks_off_at_shutdown_is_billed_all_the_same():
    settings = SandboxSettings(listen="127.0.0.1:0", latency_scale=1, drain_s=0.05)
    async with aiohttp.ClientSession() as session:
        async with build(settings) as sandbox:
            body = {
                "model": "small",
                "messages": [{"role": "user", "content": "rivers [[fault:tokens_per_s=0.01]]"}],
            }
            asking = asyncio.create_task(
                session.post(f"{sandbox.url}/v1/chat/completions", json=body)
            )
            while not sandbox.app.bill.in_flight:  # noqa: ASYNC110  # it has arrived
                await asyncio.sleep(0.005)
        with pytest.raises(aiohttp.ClientError):
            await asking

    assert 1 == len(sandbox.app.bill.page(0, 10)[0])


def test_a_full_bill_says_that_it_forgot():
    bill = Bill(limit=2)
    for name in "abc":
        bill.add(**entry_fields(client_request_id=name))

    entries, more = bill.page(0, 10)
    assert (["b", "c"], False, 1, 15) == (
        [e.client_request_id for e in entries],
        more,
        bill.dropped,
        bill.total_nano_usd,
    )
