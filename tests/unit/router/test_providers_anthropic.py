"""OpenAI's words in Anthropic's, and back."""

import json

import pytest

from common.errors import Invalid
from services.router.domain.provider_failure import ProviderFailure
from services.router.domain.reply import Naming
from services.router.domain.request import Usage
from services.router.domain.sse import Event
from services.router.providers.anthropic_answer import AnthropicStream, read_reply
from services.router.providers.anthropic_format import request_body
from services.router.providers.stream import ChunkNormaliser
from tests.router_builders import a_model

MODEL = a_model("anthropic/claude", upstream="claude-1")


def user(content):
    return {"role": "user", "content": content}


def sent(*messages, streamed=False, **fields):
    return request_body(
        {"messages": list(messages) or [user("hi")], **fields}, "claude-1", streamed=streamed
    )


def test_a_conversation_with_tools_keeps_its_meaning():
    call = {"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}

    body = sent(
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": [{"type": "text", "text": "and kind"}]},
        user("add"),
        {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "t2"}]},
        {"role": "tool", "tool_call_id": "t1", "content": "2"},
        {"role": "tool", "tool_call_id": "t2", "content": [{"type": "text", "text": "3"}]},
        user("thanks"),
    )

    assert body == {
        "model": "claude-1",
        "max_tokens": 4096,
        "system": [{"type": "text", "text": "be brief"}, {"type": "text", "text": "and kind"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "add"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
                    {"type": "tool_use", "id": "t2", "name": "add", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": [{"type": "text", "text": "2"}],
                    },
                    {
                        "type": "tool_result",
                        "tool_use_id": "t2",
                        "content": [{"type": "text", "text": "3"}],
                    },
                    {"type": "text", "text": "thanks"},
                ],
            },
        ],
    }


def test_settings_find_their_names():
    body = sent(
        max_completion_tokens=9,
        max_tokens=5,
        temperature=1.7,
        top_p=0.5,
        stop="x",
        user="u",
        n=1,
        seed=4,
        logit_bias={},
        metadata={"a": "b"},
        stream_options={},
        streamed=True,
    )

    del body["messages"]
    assert body == {
        "model": "claude-1",
        "max_tokens": 9,
        "temperature": 1,
        "top_p": 0.5,
        "stop_sequences": ["x"],
        "metadata": {"user_id": "u"},
        "stream": True,
    }


def test_fields_that_nobody_knows_pass_through():
    part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}

    body = sent(user([part, {"type": "tomorrow", "x": 1}]), thinking={"budget": 1}, top_k=3)

    assert (body["thinking"], body["top_k"]) == ({"budget": 1}, 3)
    assert body["messages"][0]["content"] == [part, {"type": "tomorrow", "x": 1}]


@pytest.mark.parametrize(
    ("url", "source"),
    [
        (
            "data:image/png;base64,aGk=",
            {"type": "base64", "media_type": "image/png", "data": "aGk="},
        ),
        ("https://x.example/a.png", {"type": "url", "url": "https://x.example/a.png"}),
    ],
)
def test_images_travel_as_data_or_by_address(url, source):
    body = sent(user([{"type": "image_url", "image_url": {"url": url}}]))

    assert body["messages"][0]["content"] == [{"type": "image", "source": source}]


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        ("required", None, {"type": "any"}),
        ("none", None, {"type": "none"}),
        ("auto", False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, None, None),
        ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
    ],
)
def test_the_choice_of_tools_keeps_its_meaning(choice, parallel, expected):
    tool = {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
    }

    body = sent(
        tools=[tool, {"type": "web_search"}], tool_choice=choice, parallel_tool_calls=parallel
    )

    assert body.get("tool_choice") == expected
    assert body["tools"] == [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}},
        {"type": "web_search"},
    ]


def test_a_schema_for_the_answer_is_passed_on():
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}

    body = sent(response_format=wanted)

    assert body["output_config"] == {
        "format": {"type": "json_schema", "schema": {"type": "object"}}
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"functions": [{}]}, "functions"),
        ({"messages": []}, "messages"),
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [user("")]}, "messages"),
        ({"messages": [user(7)]}, "messages[0].content"),
        (
            {"messages": [user([{"type": "image_url", "image_url": {"url": "file:///etc"}}])]},
            "messages[0].content",
        ),
        (
            {
                "messages": [
                    user([{"type": "image_url", "image_url": {"url": "data:image/png;base64,%"}}])
                ]
            },
            "messages[0].content",
        ),
        ({"messages": [user([{"type": "input_audio"}])]}, "messages[0].content"),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"function": {"arguments": "[1]"}}]}
                ]
            },
            "messages[0].tool_calls",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(fields, param):
    with pytest.raises(Invalid) as caught:
        request_body({"messages": [user("hi")], **fields}, "claude-1", streamed=False)

    assert caught.value.param == param


ANSWER = {
    "id": "msg_1",
    "type": "message",
    "model": "claude-1-20260101",
    "stop_reason": "tool_use",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
    ],
    "usage": {
        "input_tokens": 5,
        "cache_creation_input_tokens": 10,
        "cache_read_input_tokens": 20,
        "output_tokens": 3,
    },
}


def test_an_answer_comes_back_in_openais_words():
    reply = read_reply(ANSWER, Naming(MODEL))

    body = json.loads(reply.body)
    assert body["choices"] == [
        {
            "index": 0,
            "logprobs": None,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "ab",
                "reasoning_content": "hm",
                "tool_calls": [
                    {
                        "id": "t1",
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"a":1}'},
                    }
                ],
            },
        }
    ]
    assert (body["id"], body["model"]) == ("msg_1", "anthropic/claude")
    assert body["usage"]["prompt_tokens"] == 35
    assert reply.usage == Usage(35, 3, cached_input_tokens=20)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (None, "garbage"),
        ([], "garbage"),
        ({"type": "message"}, "garbage"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, "overloaded"),
    ],
)
def test_what_is_no_message_is_a_failure(said, kind):
    with pytest.raises(ProviderFailure) as caught:
        read_reply(said, Naming(MODEL))

    assert caught.value.kind == kind


EVENTS = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "model": "claude-1",
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 1},
        },
    },
    {"type": "ping"},
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "thinking", "thinking": ""},
    },
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "thinking_delta", "thinking": "hm"},
    },
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "signature_delta", "signature": "s"},
    },
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "a"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "t1", "name": "add", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 2,
        "delta": {"type": "input_json_delta", "partial_json": '{"a"'},
    },
    {
        "type": "content_block_delta",
        "index": 2,
        "delta": {"type": "input_json_delta", "partial_json": ":1}"},
    },
    {"type": "content_block_stop", "index": 2},
    {
        "type": "content_block_start",
        "index": 3,
        "content_block": {"type": "tool_use", "id": "t2", "name": "now", "input": {}},
    },
    {"type": "content_block_stop", "index": 3},
    {"type": "tomorrow"},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]


def streamed(events):
    reader, normaliser = AnthropicStream(), ChunkNormaliser(Naming(MODEL), wants_usage=True)
    for event in events:
        for chunk, raw in reader.chunks(Event(event["type"], json.dumps(event).encode())):
            normaliser.add(chunk, raw)
    ready = [json.loads(c) for c in normaliser.take()]
    return reader, ready, [json.loads(c) for c in normaliser.end()], normaliser.facts


def test_a_stream_comes_back_in_openais_words():
    reader, ready, tail, facts = streamed(EVENTS)

    def call(index, **fields):
        return {"tool_calls": [{"index": index, **fields}]}

    assert [c["choices"][0]["delta"] for c in ready] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": "a"},
        call(0, id="t1", type="function", function={"name": "add", "arguments": ""}),
        call(0, function={"arguments": '{"a"'}),
        call(0, function={"arguments": ":1}"}),
        call(1, id="t2", type="function", function={"name": "now", "arguments": ""}),
        call(1, function={"arguments": "{}"}),
    ]
    assert tail[0]["choices"][0]["finish_reason"] == "tool_calls"
    assert tail[1]["usage"]["completion_tokens"] == 9
    assert (reader.done, facts.usage, facts.response_id) == (True, Usage(7, 9, 2), "msg_1")


def test_an_error_within_a_stream_is_a_failure():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

    with pytest.raises(ProviderFailure) as caught:
        streamed([*EVENTS[:8], error])

    assert caught.value.kind == "overloaded"


def test_a_stream_without_a_stop_reason_was_cut():
    with pytest.raises(ProviderFailure) as caught:
        streamed(EVENTS[:9])

    assert (caught.value.kind, caught.value.response_id) == ("truncated", "msg_1")
