"""OpenAI's words in Gemini's, and back."""

import json

import pytest

from common.errors import Invalid
from services.router.domain.provider_failure import ProviderFailure
from services.router.domain.reply import Naming
from services.router.domain.request import Usage
from services.router.domain.sse import Event
from services.router.providers.gemini_answer import GeminiStream, read_reply
from services.router.providers.gemini_format import request_body
from services.router.providers.stream import ChunkNormaliser
from tests.router_builders import a_model

MODEL = a_model("gemini/flash", upstream="flash-3")
USAGE = {
    "promptTokenCount": 10,
    "candidatesTokenCount": 4,
    "thoughtsTokenCount": 6,
    "cachedContentTokenCount": 3,
}


def user(content):
    return {"role": "user", "content": content}


def sent(*messages, **fields):
    return request_body({"messages": list(messages) or [user("hi")], "model": "auto", **fields})


def test_a_conversation_with_tools_keeps_its_meaning():
    signed = {"google": {"thought_signature": "sig"}}
    call = {
        "id": "t1",
        "function": {"name": "add", "arguments": '{"a":1}'},
        "extra_content": signed,
    }

    body = sent(
        {"role": "system", "content": "be brief"},
        user("add"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": '{"sum": 2}'},
        {"role": "tool", "tool_call_id": "t1", "content": "two"},
    )

    assert body == {
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "add"}]},
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"name": "add", "args": {"a": 1}}, "thoughtSignature": "sig"}
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "add", "response": {"sum": 2}}},
                    {"functionResponse": {"name": "add", "response": {"result": "two"}}},
                ],
            },
        ],
    }


def test_settings_find_their_names():
    body = sent(
        max_tokens=5,
        temperature=1.7,
        top_p=0.5,
        stop="x",
        n=2,
        seed=4,
        presence_penalty=0.1,
        user="u",
        stream=True,
        stream_options={},
        generationConfig={"thinkingConfig": {"x": 1}},
    )

    del body["contents"]
    assert body == {
        "generationConfig": {
            "maxOutputTokens": 5,
            "temperature": 1.7,
            "topP": 0.5,
            "stopSequences": ["x"],
            "candidateCount": 2,
            "seed": 4,
            "presencePenalty": 0.1,
            "thinkingConfig": {"x": 1},
        }
    }


def test_fields_that_nobody_knows_pass_through():
    body = sent(user([{"text": "native"}, {"tomorrow": 1}]), safetySettings=[1], cachedContent="c")

    assert (body["safetySettings"], body["cachedContent"]) == ([1], "c")
    assert body["contents"][0]["parts"] == [{"text": "native"}, {"tomorrow": 1}]


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("data:image/png;base64,aGk=", {"inlineData": {"mimeType": "image/png", "data": "aGk="}}),
        (
            "https://x.example/a.png?b",
            {"fileData": {"mimeType": "image/png", "fileUri": "https://x.example/a.png?b"}},
        ),
    ],
)
def test_images_travel_as_data_or_by_address(url, part):
    body = sent(user([{"type": "image_url", "image_url": {"url": url}}]))

    assert body["contents"][0]["parts"] == [part]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        (
            {"type": "function", "function": {"name": "f"}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_the_choice_of_tools_keeps_its_meaning(choice, expected):
    tool = {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
    }

    body = sent(tools=[tool, {"googleSearch": {}}], tool_choice=choice)

    assert body["toolConfig"] == {"functionCallingConfig": expected}
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}}
            ]
        },
        {"googleSearch": {}},
    ]


def test_a_schema_for_the_answer_is_passed_on():
    wanted = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}

    body = sent(response_format=wanted)

    assert body["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
    }


def test_what_cannot_be_said_is_refused_by_name():
    with pytest.raises(Invalid) as caught:
        sent(function_call="auto")

    assert caught.value.param == "function_call"


def an_answer(parts, reason="STOP", **fields):
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": reason}
    return {
        "responseId": "r1",
        "modelVersion": "flash-3-001",
        "candidates": [candidate],
        "usageMetadata": USAGE,
    } | fields


def test_an_answer_comes_back_in_openais_words():
    said = an_answer(
        [
            {"text": "hm", "thought": True},
            {"text": "a"},
            {"text": "b"},
            {"functionCall": {"name": "add", "args": {"a": 1}}, "thoughtSignature": "sig"},
        ]
    )

    reply = read_reply(said, Naming(MODEL))

    body = json.loads(reply.body)
    assert body["choices"][0]["message"] == {
        "role": "assistant",
        "content": "ab",
        "reasoning_content": "hm",
        "tool_calls": [
            {
                "id": "call_r1_0_0",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a":1}'},
                "extra_content": {"google": {"thought_signature": "sig"}},
            }
        ],
    }
    assert (body["id"], body["model"]) == ("r1", "gemini/flash")
    assert (reply.finish_reason, reply.usage) == ("tool_calls", Usage(10, 10, 3))


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("TOMORROW", "stop"),
    ],
)
def test_reasons_find_their_names(reason, expected):
    assert read_reply(an_answer([{"text": "a"}], reason), Naming(MODEL)).finish_reason == expected


def test_a_blocked_prompt_is_a_filtered_answer():
    said = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}

    reply = read_reply(said, Naming(MODEL))

    assert (reply.finish_reason, reply.usage) == ("content_filter", Usage(4, 0))


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (None, "garbage"),
        ({}, "garbage"),
        ({"candidates": []}, "garbage"),
        (an_answer([], "MALFORMED_FUNCTION_CALL"), "garbage"),
        (
            [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x"}}],
            "rate_limited",
        ),
    ],
)
def test_what_is_no_answer_is_a_failure(said, kind):
    with pytest.raises(ProviderFailure) as caught:
        read_reply(said, Naming(MODEL))

    assert caught.value.kind == kind


def streamed(*pieces):
    reader, normaliser = GeminiStream(), ChunkNormaliser(Naming(MODEL), wants_usage=True)
    for piece in pieces:
        for chunk, raw in reader.chunks(Event("", json.dumps(piece).encode())):
            normaliser.add(chunk, raw)
    ready = [json.loads(c) for c in normaliser.take()]
    return ready, [json.loads(c) for c in normaliser.end()], normaliser.facts


def test_a_stream_comes_back_in_openais_words():
    call = {"functionCall": {"name": "add", "args": {}}}

    ready, tail, facts = streamed(
        an_answer([{"text": "a"}], None, usageMetadata={"promptTokenCount": 10}),
        an_answer([call], None),
        an_answer([{"text": "b"}, call], "STOP"),
    )

    calls = [c["choices"][0]["delta"].get("tool_calls") for c in ready]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in ready) == "ab"
    assert [c[0]["index"] for c in calls if c] == [0, 1]
    assert [c["choices"][0]["finish_reason"] for c in tail[:1]] == ["tool_calls"]
    assert tail[1]["usage"]["completion_tokens"] == 10
    assert (facts.usage, facts.response_id) == (Usage(10, 10, 3), "r1")


def test_a_stream_without_a_reason_was_cut():
    with pytest.raises(ProviderFailure) as caught:
        streamed(an_answer([{"text": "a"}], None))

    assert caught.value.kind == "truncated"
