"""Each fault does to a client what real providers do, and bills what it says."""

import asyncio
import contextlib
import json

import aiohttp
import pytest

from sandbox.faults import KINDS, fault_from
from sandbox.refusal import Refusal

ANSWERED_ANYWAY = ["no_usage", "absurd_usage", "no_done", "reports_model=other", "white_space"]


def events_of(body):
    return [part.removeprefix("data: ") for part in body.decode().split("\n\n") if part]


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        ("status=503", (503, None, None)),
        ("status=500", (500, None, None)),
        ("status=429", (429, "rate_limit_exceeded", "1")),
        ("status=429,retry_after=2", (429, "rate_limit_exceeded", "2")),
        ("status=503,retry_after=0.5", (503, None, "0.5")),
        ("unauthorized", (401, "invalid_api_key", None)),
        ("content_policy", (400, "content_policy_violation", None)),
        ("context_length", (400, "context_length_exceeded", None)),
        ("insufficient_quota", (429, "insufficient_quota", None)),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_status_is_answered_and_not_billed(sandbox, directive, expected, stream):
    status, headers, body = await sandbox.ask(f"x [[fault:{directive}]]", stream=stream)

    assert expected == (
        status,
        json.loads(body)["error"]["code"],
        headers.get("retry-after"),
    )
    assert [] == await sandbox.entries()


async def test_an_error_may_come_after_billing(sandbox):
    status, _, _ = await sandbox.ask("x [[fault:error_after_billing]]")

    (entry,) = await sandbox.entries()
    assert (500, False) == (status, entry["delivered"])
    assert entry["output_tokens"] > 0


async def test_a_fault_can_be_limited_to_models(sandbox):
    found = {
        model: (await sandbox.ask("x [[fault:status=503,models=tiny|small]]", model=model))[0]
        for model in ("tiny", "small", "large")
    }

    assert {"tiny": 503, "small": 503, "large": 200} == found


async def test_a_fault_can_be_limited_in_number(sandbox):
    found = [(await sandbox.ask("x [[fault:status=500,times=2,id=a]]"))[0] for _ in range(3)]
    other = (await sandbox.ask("x [[fault:status=500,times=2,id=b]]"))[0]

    assert [500, 500, 200] == found
    assert 500 == other


async def test_the_first_directive_that_strikes_wins(sandbox):
    prompt = "x [[fault:status=500,times=1]] [[fault:status=503,models=small]]"
    found = [(await sandbox.ask(prompt))[0] for _ in range(2)]

    assert [500, 503] == found


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_is_a_reset_of_the_connection(sandbox, stream):
    with pytest.raises(aiohttp.ClientError):
        await sandbox.ask("Tell me about rivers [[fault:cut_after=3]]", stream=stream)

    (entry,) = await sandbox.entries()
    assert not entry["delivered"]
    if stream:
        assert 3 == entry["output_tokens"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_before_the_first_token_owes_nothing(sandbox, stream):
    with pytest.raises(aiohttp.ClientError):
        await sandbox.ask("Tell me about rivers [[fault:cut_after=0]]", stream=stream)

    assert [] == await sandbox.entries()


async def test_what_was_generated_before_a_cut_arrives(sandbox):
    body = {"model": "small", "stream": True}
    body["messages"] = [{"role": "user", "content": "rivers [[fault:cut_after=3]]"}]
    received = b""
    async with sandbox.session.post(f"{sandbox.url}/v1/chat/completions", json=body) as answer:
        with contextlib.suppress(aiohttp.ClientError):
            while data := await answer.content.readany():
                received += data

    assert 4 == received.count(b"\n\n")  # the role and three tokens


@pytest.mark.parametrize("directive", ["hang", "stall_after=0", "stall_after=3", "heartbeats"])
@pytest.mark.parametrize("stream", [False, True])
async def test_silence_lasts_until_the_client_leaves(sandbox, directive, stream):
    expected = {"stall_after=3": 1}.get(directive, 0)
    asked = asyncio.create_task(sandbox.ask(f"rivers [[fault:{directive}]]", stream=stream))
    await sandbox.busy(billed=expected)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asked, 0.15)

    await sandbox.quiet()
    assert expected == len(await sandbox.entries())


async def test_a_stream_may_just_end(sandbox):
    status, _, body = await sandbox.ask("rivers [[fault:end_after=2]]", stream=True)

    assert 200 == status
    assert 3 == len(events_of(body))
    assert b'finish_reason":"' not in body


async def test_a_plain_answer_may_just_end(sandbox):
    with pytest.raises(aiohttp.ClientPayloadError):
        await sandbox.ask("rivers [[fault:end_after=2]]")


async def test_a_chunk_may_be_garbage(sandbox):
    _, _, body = await sandbox.ask("rivers [[fault:garbage_after=1]]", stream=True)

    broken = []
    for event in events_of(body)[:-1]:
        try:
            json.loads(event)
        except ValueError:
            broken.append(event)
    assert 1 == len(broken)
    assert "[DONE]" == events_of(body)[-1]


async def test_a_plain_answer_may_be_garbage(sandbox):
    status, _, body = await sandbox.ask("rivers [[fault:garbage_after=1]]")

    assert 200 == status
    with pytest.raises(UnicodeDecodeError):
        json.loads(body)


async def test_a_proxy_may_answer_instead(sandbox):
    status, headers, body = await sandbox.ask("x [[fault:html]]")

    assert (200, "text/html") == (status, headers["content-type"])
    assert body.startswith(b"<!doctype html>")


async def test_a_body_may_be_empty(sandbox):
    assert (200, b"") == (await sandbox.ask("x [[fault:empty_body]]"))[::2]


async def test_a_redirect_may_tempt(sandbox):
    status, headers, _ = await sandbox.ask("x [[fault:redirect]]")

    assert (307, "/v1/elsewhere/chat/completions") == (status, headers["location"])


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_may_be_far_larger_than_it_looks(sandbox, stream):
    url = f"{sandbox.url}/v1/chat/completions"
    body = {"model": "small", "stream": stream}
    body["messages"] = [{"role": "user", "content": "x [[fault:gzip_bomb]]"}]
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        answer = await session.post(url, json=body)
        packed = await answer.read()

    assert ("gzip", True) == (answer.headers["content-encoding"], len(packed) < 1_000_000)
    assert 96 * 1024 * 1024 == int.from_bytes(packed[-4:], "little")  # its size unpacked


async def test_an_answer_begun_may_be_refused(sandbox):
    begun = [
        {"role": "user", "content": "x [[fault:refuses_prefill]]"},
        {"role": "assistant", "content": "It is"},
    ]
    refused, _, _ = await sandbox.ask("", messages=begun)
    answered, _, _ = await sandbox.ask("", messages=begun[:1])

    assert (400, 200) == (refused, answered)


async def test_choices_may_be_empty(sandbox):
    _, _, plain = await sandbox.ask("x [[fault:empty_choices]]")
    _, _, streamed = await sandbox.ask("x [[fault:empty_choices]]", stream=True)

    assert [] == json.loads(plain)["choices"]
    assert [[]] == [json.loads(e)["choices"] for e in events_of(streamed)[:-1]]


@pytest.mark.parametrize("directive", ANSWERED_ANYWAY)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_odd_answer_is_an_answer_and_is_billed(sandbox, directive, stream):
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    status, _, body = await sandbox.ask(f"rivers [[fault:{directive}]]", **options)

    assert (200, 1) == (status, len(await sandbox.entries()))
    assert (directive == "no_usage") == (b'"usage"' not in body)
    assert (directive == "absurd_usage") == (b"9007199254740993" in body)
    assert (directive.startswith("reports_model")) == (b'"model":"other"' in body)
    if stream:
        assert (directive == "no_done") == (b"[DONE]" not in body)


async def test_another_model_may_answer_at_its_own_price(sandbox):
    await sandbox.ask("What is 6 * 7? [[fault:reports_model=tiny]]", model="frontier")

    assert ["tiny"] == [e["model"] for e in await sandbox.entries()]


async def test_an_operator_can_rule_a_fault(sandbox):
    url = f"{sandbox.url}/faults"
    async with sandbox.session.post(url, json={"fault": "status=503,models=tiny,times=2"}):
        pass
    found = [(await sandbox.ask("x", model="tiny"))[0] for _ in range(3)]
    listed = (await sandbox.get("/faults"))["rules"]

    assert [503, 503, 200] == found
    assert [] == listed


async def test_an_operator_can_end_every_fault(sandbox):
    url = f"{sandbox.url}/faults"
    async with sandbox.session.post(url, json={"fault": "hang"}), sandbox.session.delete(url):
        pass

    assert 200 == (await sandbox.ask("x"))[0]


@pytest.mark.parametrize(
    "directive",
    [
        "bogus",
        "",
        "status",
        "status=200",
        "status=abc",
        "cut_after=-1",
        "cut_after=nan",
        "tokens_per_s=0",
        "hang,models=gpt",
        "hang,loudly=1",
        "hang,times=x",
    ],
)
async def test_a_misspelt_fault_does_not_pass_silently(sandbox, directive):
    status, _, body = await sandbox.ask(f"x [[fault:{directive}]]")

    assert (400, "fault") == (status, json.loads(body)["error"]["param"])


def test_every_kind_can_be_written():
    values = {"": "", "int": "=500", "seconds": "=1", "rate": "=1", "text": "=x"}

    assert list(KINDS) == [fault_from(kind + values[takes]).kind for kind, takes in KINDS.items()]


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(Refusal, match="insufficient_quota"):
        fault_from("quota")
