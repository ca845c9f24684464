"""Needs: what a body requires, whatever shape a client gives it."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.router.domain.needs import last_user_text, needs_of
from tests.router_builders import a_model, an_ask

IMAGE = {"type": "image_url", "image_url": {"url": "data:..."}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, set()),
        ({"tools": [{"type": "function"}]}, {"tools"}),
        ({"tools": []}, set()),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, {"vision"}),
        ({"response_format": {"type": "json_schema"}}, {"json_schema"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"response_format": "json_schema"}, set()),
        ({"stream": True}, {"streaming"}),
        ({"stream": "yes"}, set()),
    ],
)
def test_the_body_says_which_capabilities_are_needed(body, expected):
    assert expected == needs_of(an_ask(**body)).capabilities


def test_a_streamed_request_needs_streaming():
    assert {"streaming"} == needs_of(an_ask(streamed=True)).capabilities


def test_answer_and_prompt_must_fit_together():
    model = a_model("acme/small", context_tokens=1_000)

    assert [] == needs_of(an_ask("x" * 2_000)).missing(model)
    assert needs_of(an_ask("x" * 2_000, max_tokens=900)).missing(model)
    assert needs_of(an_ask("x" * 2_000, max_completion_tokens=900)).missing(model)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "a"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "c"}], "c"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]}], "a"),
        ([{"role": "user", "content": "a"}, {"role": "tool", "content": "42"}], "a"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": None}], "a"),
        ([{"role": "system", "content": "s"}], "s"),  # no user turn: what there is
        ([{"role": 7, "content": {"text": 1}}, "a", None, []], ""),
        (None, ""),
        ("hello", ""),
    ],
)
def test_the_last_user_turn_is_what_must_be_answered(messages, expected):
    assert expected == last_user_text({"messages": messages})


VALUES = st.sampled_from(
    [None, True, -1, 10**30, math.nan, "", "text", "\ud800", [], {}, [[]], [7]]
)
PARTS = st.dictionaries(st.sampled_from(["type", "text", "image_url"]), VALUES, max_size=3)
MESSAGES = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls"]),
    VALUES | st.lists(PARTS | VALUES, max_size=2),
    max_size=3,
)
FIELDS = ["messages", "tools", "max_tokens", "n", "stream", "response_format", "input"]


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(FIELDS), VALUES | st.lists(MESSAGES | VALUES, max_size=3), max_size=4
    )
)
def test_any_body_can_be_read(body):
    needs = needs_of(an_ask(**body))

    assert needs.input_tokens >= 0
    assert needs.choices >= 1
    assert isinstance(last_user_text(body), str)


def test_deep_nesting_is_no_trouble():
    nested = []
    for _ in range(5_000):
        nested = [nested]

    assert needs_of(an_ask(tools=nested, messages=nested)).input_tokens >= 0
