"""The OpenAI wire, spoken by the real openai SDK and by hand."""

import asyncio

import openai
import orjson
import pytest
from optimizer.router.v1 import router_pb2
from prometheus_client import REGISTRY

from common.errors import AllFailed, Invalid, NotFound, OverBudget
from tests.fake_router import GREETING, a_chunk, an_outcome, chunks, started
from tests.gateway_fakes import Stack, a_stack

HELLO = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
CHAT = "/v1/chat/completions"


def sdk(stack: Stack, **options) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0, **options)


async def test_the_openai_sdk_gets_an_answer(stack):
    async with sdk(stack) as client:
        answer = await client.chat.completions.create(**HELLO)

    assert answer.choices[0].message.content == "Hello!"


async def test_the_openai_sdk_gets_a_stream(stack):
    async with sdk(stack) as client:
        stream = await client.chat.completions.create(**HELLO, stream=True)
        seen = [chunk async for chunk in stream]

    assert "".join(c.choices[0].delta.content or "" for c in seen) == "Hello!"
    assert [c.choices[0].finish_reason for c in seen] == [None, None, None, "stop"]


async def test_the_openai_sdk_lists_models(stack):
    async with sdk(stack) as client:
        listed = [model.id async for model in client.models.list()]
        one = await client.models.retrieve("acme/small")
        with pytest.raises(openai.NotFoundError) as off:
            await client.models.retrieve("dark/large")

    assert listed == ["auto", "auto:hybrid", "auto:cheapest", "acme/small"]
    assert one.owned_by == "acme"
    assert off.value.code == "model_not_found"


async def test_the_openai_sdk_embeds(stack):
    async with sdk(stack) as client:
        answer = await client.embeddings.create(
            model="acme/embed", input="Hello", encoding_format="float"
        )

    assert answer.data[0].embedding == [0.5]


async def test_the_body_reaches_the_router_as_it_came(stack):
    body = b'{"model":"acme/small", "messages":[{"role":"user","content":"a"}], "x_new":{"b":1}}'

    await stack.client.post(CHAT, content=body)

    ask = stack.router.asks[0]
    assert ask.body == body
    assert (ask.model, ask.strategy.name, ask.use_cache) == ("acme/small", "", False)
    assert ask.tenant == "anonymous"


async def test_headers_choose_and_tell(stack):
    answer = await stack.client.post(
        CHAT,
        json=HELLO,
        headers={
            "x-optimizer-strategy": "cheapest",
            "x-optimizer-cache": "on",
            "x-optimizer-user-id": "zoë".encode(),
        },
    )

    ask = stack.router.asks[0]
    assert (ask.strategy.name, ask.use_cache, ask.user_id) == ("cheapest", True, "zoë")
    told = {k: v for k, v in answer.headers.items() if k.startswith("x-optimizer-")}
    assert told == {
        "x-optimizer-cache-key": "k",
        "x-optimizer-model": "acme/small",
        "x-optimizer-strategy": "hybrid",
        "x-optimizer-cost-usd": "0.000001500",
        "x-optimizer-cache": "miss",
        "x-optimizer-experiment-arm": "none",
        "x-optimizer-fallbacks": "0",
    }
    assert answer.headers["x-request-id"] == answer.headers["request-id"] == ask.request_id


async def test_a_long_user_is_cut_where_we_keep_it(stack):
    await stack.client.post(CHAT, json={**HELLO, "user": "u" * 300})
    chat = stack.router.asks[-1]
    await stack.client.post(
        "/v1/embeddings", json={"model": "acme/embed", "input": "a", "user": "u" * 300}
    )
    embedding = stack.router.asks[-1]

    assert (chat.user_id, embedding.user_id) == ("u" * 100, "u" * 100)
    assert orjson.loads(chat.body)["user"] == "u" * 300


async def test_a_long_user_is_no_user_of_an_experiment(stack):
    answer = await stack.client.post(
        CHAT,
        json={**HELLO, "user": "u" * 101},
        headers={"x-optimizer-experiment-id": "1"},
    )

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "user")
    assert stack.router.asks == []


async def test_the_model_may_name_the_strategy(stack):
    await stack.client.post(CHAT, json={**HELLO, "model": "auto:best"})

    assert (stack.router.asks[0].model, stack.router.asks[0].strategy.name) == ("", "best")


async def test_unpriced_is_not_free(stack):
    stack.router.answer = router_pb2.CompleteResponse(
        body=b"{}", outcome=an_outcome(cost_nano_usd=None, pricing="unpriced")
    )

    answer = await stack.client.post(CHAT, json=HELLO)

    assert answer.headers["x-optimizer-cost-usd"] == "unpriced"


async def test_a_stream_is_framed_and_ends_clean(stack):
    answer = await stack.client.post(CHAT, json={**HELLO, "stream": True})

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-optimizer-model"] == "acme/small"
    assert "x-optimizer-cost-usd" not in answer.headers
    frames = answer.content.split(b"\n\n")
    assert frames[0] == b"data: " + a_chunk({"role": "assistant", "content": ""})
    assert frames[-2:] == [b"data: [DONE]", b""]


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (NotFound("no such model", code="model_not_found", param="model"), 404, "model_not_found"),
        (Invalid("the provider refuses it", param="tools"), 400, "invalid_request"),
        (AllFailed("acme/small: 500; acme/large: timeout"), 502, "all_candidates_failed"),
        (OverBudget("out of credit", retry_after_s=7.2), 429, "rate_limit_exceeded"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_byte_is_an_error_answer(
    stack, failure, status, code, stream
):
    stack.router.answer, stack.router.stream = failure, (failure,)

    answer = await stack.client.post(CHAT, json={**HELLO, "stream": stream})

    assert answer.status_code == status
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["message"], error["code"], error["param"]) == (
        failure.message,
        code,
        failure.param,
    )
    if status == 429:
        assert answer.headers["retry-after"] == "8"
        assert answer.headers["x-ratelimit-reset-requests"] == "8s"


async def test_what_was_billed_is_not_to_be_retried(stack):
    stack.router.answer = AllFailed("acme/small: cut off", billed=True)

    billed = await stack.client.post(CHAT, json=HELLO)
    stack.router.answer = AllFailed("acme/small: 500")
    free = await stack.client.post(CHAT, json=HELLO)

    assert billed.headers["x-should-retry"] == "false"
    assert "x-should-retry" not in free.headers


async def test_a_failure_after_the_first_byte_is_an_event_and_no_clean_end(stack):
    stack.router.stream = (*GREETING[:2], AllFailed("acme/small broke off", billed=True))

    answer = await stack.client.post(CHAT, json={**HELLO, "stream": True})

    assert answer.status_code == 200
    last = answer.content.split(b"\n\n")[-2]
    assert orjson.loads(last.removeprefix(b"data: "))["error"]["message"] == "acme/small broke off"
    assert b"[DONE]" not in answer.content
    assert b'"finish_reason":"stop"' not in answer.content


async def test_the_sdk_raises_when_a_stream_breaks_off(stack):
    stack.router.stream = GREETING[:2]  # it ends without `finished`

    async with sdk(stack) as client:
        stream = await client.chat.completions.create(**HELLO, stream=True)
        with pytest.raises(openai.APIError, match="broke off"):
            async for _ in stream:
                pass


async def test_silence_is_filled_with_signs_of_life(a_nervous_stack):
    stack = a_nervous_stack
    first, second = asyncio.Event(), asyncio.Event()
    stack.router.stream = (first, started(), *GREETING[1:2], second, *GREETING[2:])

    async with stack.client.stream("POST", CHAT, json={**HELLO, "stream": True}) as answer:
        pieces = answer.aiter_raw()
        before = await anext(pieces)
        first.set()
        rest = b""
        while b": keep-alive" not in rest:
            rest += await anext(pieces)
        second.set()
        async for piece in pieces:
            rest += piece

    assert before == b": keep-alive\n\n"
    assert answer.status_code == 200
    assert rest.endswith(b"data: [DONE]\n\n")


@pytest.fixture
async def a_nervous_stack():
    async with a_stack(heartbeat_s=0.05) as running:
        yield running


def ended(outcome: str, **names: str) -> float:
    labels = {"route": CHAT, "model": "none", "provider": "none", **names, "outcome": outcome}
    return REGISTRY.get_sample_value("optimizer_requests_total", labels) or 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_hangs_up_cancels_the_call(stack, stream):
    never = asyncio.Event()
    broken = ended("server_error")
    stack.router.answer, stack.router.stream = never, (*GREETING[:2], never)
    reader, writer = await asyncio.open_connection(*stack.address)
    body = orjson.dumps({**HELLO, "stream": stream})
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    async with asyncio.timeout(5):
        await stack.router.asked.wait()
        if stream:
            await reader.readuntil(b"Hel")
        writer.close()

        await stack.router.cancelled.wait()
    assert broken == ended("server_error")


async def test_a_router_that_went_away_is_a_clear_failure(own_stack):
    await own_stack.router_server.stop()

    answer = await own_stack.client.post(CHAT, json=HELLO)
    streamed = await own_stack.client.post(CHAT, json={**HELLO, "stream": True})

    assert (answer.status_code, streamed.status_code) == (503, 503)
    assert answer.json()["error"]["code"] == "service_unavailable"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_router_that_dies_under_a_call_may_have_paid(own_stack, stream):
    never = asyncio.Event()
    own_stack.router.answer, own_stack.router.stream = never, (never,)
    asked = asyncio.create_task(own_stack.client.post(CHAT, json={**HELLO, "stream": stream}))
    await own_stack.router.asked.wait()
    await own_stack.router_server.stop()

    answer = await asked

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "connection_lost")
    assert answer.headers["x-should-retry"] == "false"


async def test_many_chunks_at_once_are_one_write(stack):
    many = [a_chunk({"content": str(n)}) for n in range(500)]
    stack.router.stream = (started(), chunks(*many), *GREETING[2:])

    answer = await stack.client.post(CHAT, json={**HELLO, "stream": True})

    assert answer.content.startswith(b"".join(b"data: %b\n\n" % chunk for chunk in many))
