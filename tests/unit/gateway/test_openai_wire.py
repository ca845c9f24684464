"""The OpenAI wire format, as far as the edge must know it."""

import pytest

from common.errors import Invalid, NotFound
from services.gateway.domain.openai_wire import (
    ChatRequest,
    ModelChoice,
    choose_model,
    error_body,
    frames,
    read_chat,
    read_embedding,
)

HELLO = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (HELLO, ChatRequest("auto", stream=False, user="")),
        ({**HELLO, "stream": None, "user": None}, ChatRequest("auto", stream=False, user="")),
        ({**HELLO, "stream": True, "user": "u"}, ChatRequest("auto", stream=True, user="u")),
        ({**HELLO, "temperature": 2, "n": 128}, ChatRequest("auto", stream=False, user="")),
        ({**HELLO, "x_unknown": {"a": [1]}}, ChatRequest("auto", stream=False, user="")),
    ],
)
def test_a_chat_request_is_read(body, expected):
    assert expected == read_chat(body)


@pytest.mark.parametrize("content", ["text", [], [{"type": "text", "text": "a"}], None])
def test_content_may_be_text_parts_or_nothing(content):
    read_chat({**HELLO, "messages": [{"role": "assistant", "content": content}]})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", float("nan")),
        ("temperature", -0.1),
        ("top_p", 1.1),
        ("n", 129),
        ("max_tokens", 2**31),
        ("stream", "true"),
    ],
)
def test_a_field_out_of_bounds_is_named(name, value):
    with pytest.raises(Invalid) as refused:
        read_chat({**HELLO, name: value})

    assert name == refused.value.param


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("auto", ModelChoice("", "")),
        ("auto:cheapest", ModelChoice("", "cheapest")),
        ("acme/small", ModelChoice("acme/small", "")),
        ("acme/small:free", ModelChoice("acme/small:free", "")),
        ("automatic", ModelChoice("automatic", "")),
    ],
)
def test_a_model_is_pinned_or_routed(model, expected):
    assert expected == choose_model(model)


def test_auto_with_an_empty_strategy_is_no_model():
    with pytest.raises(NotFound, match="auto:"):
        choose_model("auto:")


@pytest.mark.parametrize("wanted", [None, "", [], 5, {}])
def test_an_embedding_needs_an_input(wanted):
    with pytest.raises(Invalid) as refused:
        read_embedding({"model": "acme/embed", "input": wanted})

    assert refused.value.param == "input"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (404, "invalid_request_error"),
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (502, "server_error"),
    ],
)
def test_an_error_has_all_four_keys(status, kind):
    expected = {"message": "why", "type": kind, "param": None, "code": "c"}

    assert {"error": expected} == error_body("why", status=status, param=None, code="c")


def test_chunks_are_framed():
    assert b"data: {}\n\ndata: []\n\n" == frames([b"{}", b"[]"])
