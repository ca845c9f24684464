"""The OpenAI wire, as its clients know it."""

import base64
import json
import struct

import aiohttp
import pytest
from openai import AsyncOpenAI

from sandbox.__main__ import build
from sandbox.schema import smallest
from sandbox.settings import SandboxSettings

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 9},
        "age": {"type": "integer", "minimum": 18},
        "mood": {"enum": ["good", "bad"]},
        "friends": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/friend"}},
    },
    "required": ["name", "age", "mood", "friends"],
    "$defs": {
        "friend": {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}
    },
}


@pytest.fixture
def client(sandbox):
    return AsyncOpenAI(base_url=f"{sandbox.url}/v1", api_key="none", max_retries=0)


async def test_the_sdk_reads_a_plain_answer(client):
    answer = await client.chat.completions.create(
        model="small", messages=[{"role": "user", "content": "What is 6 * 7?"}]
    )

    assert ("6 * 7 is 42.", "stop") == (
        answer.choices[0].message.content,
        answer.choices[0].finish_reason,
    )
    assert "fp_sandbox" == answer.system_fingerprint


async def test_the_sdk_reads_a_stream_with_usage_last(client):
    stream = await client.chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": "What is 6 * 7?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "6 * 7 is 42." == text
    assert "assistant" == chunks[0].choices[0].delta.role
    assert [None] * (len(chunks) - 2) + ["stop"] == [
        c.choices[0].finish_reason for c in chunks if c.choices
    ]
    assert ([], 5) == (chunks[-1].choices, chunks[-1].usage.completion_tokens)


async def test_usage_is_streamed_only_when_asked_for(sandbox):
    _, _, body = await sandbox.ask("What is 6 * 7?", stream=True)

    assert b'"usage"' not in body
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_forced_tool_is_called(client, stream):
    tool = {"type": "function", "function": {"name": "greet", "parameters": PERSON}}
    asked = {
        "model": "medium",
        "messages": [{"role": "user", "content": "hello"}],
        "tools": [tool],
        "tool_choice": "required",
    }
    if stream:
        chunks = [c async for c in await client.chat.completions.create(**asked, stream=True)]
        calls = [c.choices[0].delta.tool_calls[0] for c in chunks[:-1]]
        name, arguments = calls[0].function.name, "".join(c.function.arguments for c in calls)
        finish_reason = chunks[-1].choices[0].finish_reason
    else:
        choice = (await client.chat.completions.create(**asked)).choices[0]
        function = choice.message.tool_calls[0].function
        name, arguments, finish_reason = function.name, function.arguments, choice.finish_reason

    assert ("greet", "tool_calls") == (name, finish_reason)
    assert smallest(PERSON) == json.loads(arguments)


def test_the_smallest_instance_obeys_its_schema():
    expected = {"name": "sandboxxx", "age": 18, "mood": "good", "friends": [{"x": False}]}
    expected["name"] = "sandboxxx"[:9]

    assert expected == smallest(PERSON)


NESTED = {"type": "array", "minItems": 99}
for _ in range(10):
    NESTED = {"type": "array", "minItems": 99, "items": NESTED}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 10**10},
        {"type": "string", "minLength": 10**10, "maxLength": 10**11},
        {"type": "array", "minItems": 10**10, "items": {"type": "string", "minLength": 10**10}},
        {"type": "array", "minItems": 10**10, "items": {"const": "x" * 1_000_000}},
        {"allOf": [{"$ref": "#"}] * 99},
        NESTED,
    ],
    ids=lambda schema: str(schema)[:60],
)
def test_bounds_that_ask_for_the_moon_get_a_stone(schema):
    assert len(json.dumps(smallest(schema))) < 3_000_000


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer", "exclusiveMinimum": 2**64 - 1}, 2**53 - 1),
        ({"type": "string", "maxLength": -3}, ""),
        ({"type": "string", "minLength": 9}, "sandboxxx"),
    ],
)
def test_an_odd_bound_is_answered(schema, expected):
    assert expected == smallest(schema)


def test_a_schema_that_refers_to_itself_ends():
    endless = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}

    assert json.dumps(smallest(endless)).count("a") < 20


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}},
    ],
)
async def test_json_mode_answers_json(sandbox, response_format):
    _, _, body = await sandbox.ask("hello", response_format=response_format)

    assert isinstance(json.loads(json.loads(body)["choices"][0]["message"]["content"]), dict)


async def test_max_tokens_cut_the_answer_and_say_so(sandbox):
    _, _, body = await sandbox.ask("Tell me about rivers", max_completion_tokens=3)

    answer = json.loads(body)
    assert ("This is a ", "length", 3) == (
        answer["choices"][0]["message"]["content"],
        answer["choices"][0]["finish_reason"],
        answer["usage"]["completion_tokens"],
    )


async def test_a_stop_sequence_ends_the_answer(sandbox):
    _, _, body = await sandbox.ask("Tell me about rivers", stop=["simulated"])

    assert "This is a " == json.loads(body)["choices"][0]["message"]["content"]


async def test_the_models_are_listed(client):
    listed = [model.id async for model in await client.models.list()]

    assert ["tiny", "small", "medium", "large", "frontier", "embed"] == listed


async def test_texts_that_share_words_are_close(client):
    answer = await client.embeddings.create(
        model="embed", input=["red apple", "green apple", "quantum chromodynamics"]
    )
    apple, other_apple, physics = (item.embedding for item in answer.data)

    def closeness(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert closeness(apple, other_apple) > closeness(apple, physics)


async def test_base64_embeddings_are_the_same_numbers(sandbox):
    found = {}
    for encoding in ("float", "base64"):
        body = {
            "model": "embed",
            "input": "red apple",
            "dimensions": 8,
            "encoding_format": encoding,
        }
        async with sandbox.session.post(f"{sandbox.url}/v1/embeddings", json=body) as answer:
            found[encoding] = (await answer.json())["data"][0]["embedding"]

    assert pytest.approx(found["float"]) == struct.unpack("<8f", base64.b64decode(found["base64"]))


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "gpt-9"}, 404, "model"),
        ({"model": 3}, 400, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": None}, 400, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [1]}]}, 400, "messages[0].content"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": True}, 400, "max_tokens"),
        ({"temperature": 3}, 400, "temperature"),
        ({"n": 2}, 400, "n"),
        ({"stop": ["a", "b", "c", "d", "e"]}, 400, "stop"),
        ({"stream": "yes"}, 400, "stream"),
        ({"stream_options": 1}, 400, "stream_options"),
        ({"tools": []}, 400, "tools"),
        ({"tools": [{"type": "function"}]}, 400, "tools[0].function.name"),
        ({"tool_choice": "required"}, 400, "tool_choice"),
        ({"response_format": {"type": "xml"}}, 400, "response_format"),
        (
            {"messages": [{"role": "user", "content": "a " * 20_000}], "model": "tiny"},
            400,
            "messages",
        ),
    ],
)
async def test_what_openai_refuses_is_refused(sandbox, fields, status, param):
    body = {"model": "small", "messages": [{"role": "user", "content": "x"}], **fields}
    async with sandbox.session.post(f"{sandbox.url}/v1/chat/completions", json=body) as answer:
        error = (await answer.json())["error"]

    assert (status, param) == (answer.status, error["param"])
    assert {"message", "type", "param", "code"} == error.keys()
    assert [] == await sandbox.entries()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": NaN}', b"[" * 5_000, b'"\\ud800"']
)
async def test_a_body_that_is_no_json_object_is_400(sandbox, body):
    async with sandbox.session.post(f"{sandbox.url}/v1/chat/completions", data=body) as answer:
        error = (await answer.json())["error"]

    assert (400, "invalid_request_error") == (answer.status, error["type"])


async def test_a_prompt_too_long_has_its_own_code(sandbox):
    status, _, body = await sandbox.ask("a " * 20_000, model="tiny")

    assert (400, "context_length_exceeded") == (status, json.loads(body)["error"]["code"])


async def test_an_unknown_route_is_404(sandbox):
    assert "Unknown route: GET /v2" == (await sandbox.get("/v2"))["error"]["message"]


EVIL = "http://evil.example"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"host": "evil.example", "origin": EVIL}, "foreign_host"),
        ({"host": "localhost.evil.example"}, "foreign_host"),
        ({"origin": EVIL}, "foreign_origin"),
        ({"origin": "http://localhost:3000"}, "foreign_origin"),
        ({"sec-fetch-site": "cross-site"}, "foreign_origin"),
    ],
    ids=str,
)
async def test_a_web_page_cannot_drive_it(sandbox, headers, code):
    faults = f"{sandbox.url}/faults"
    async with sandbox.session.post(faults, json={"fault": "hang"}, headers=headers) as answer:
        refused = await answer.json()

    assert (403, code) == (answer.status, refused["error"]["code"])
    assert {"rules": []} == await sandbox.get("/faults")


async def test_its_own_page_and_programs_may():
    settings = SandboxSettings(listen="127.0.0.1:0", latency_scale=0)
    async with build(settings) as running, aiohttp.ClientSession() as session:
        for headers in ({}, {"origin": running.url}):
            async with session.get(f"{running.url}/faults", headers=headers) as answer:
                assert 200 == answer.status


async def test_where_others_reach_it_a_name_is_as_good_as_another():
    settings = SandboxSettings(listen="0.0.0.0:0", latency_scale=0)
    async with build(settings) as running, aiohttp.ClientSession() as session:
        url = running.url.replace("0.0.0.0", "127.0.0.1")
        async with session.get(f"{url}/faults", headers={"host": "sandbox:8090"}) as answer:
            assert 200 == answer.status
