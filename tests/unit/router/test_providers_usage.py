"""Tokens: the provider's figures where they make sense, our count where they do not."""

import pytest

from services.router.domain.request import Usage
from services.router.domain.usage import estimated_input_tokens, estimated_usage, openai_usage


def told(**details):
    return {"prompt_tokens": 7, "completion_tokens": 3, **details}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (told(), Usage(7, 3)),
        (told(prompt_tokens_details={"cached_tokens": 5}), Usage(7, 3, 5)),
        (told(prompt_tokens_details={"cached_tokens": -5}), Usage(7, 3)),
        (told(prompt_cache_hit_tokens=5), Usage(7, 3, 5)),
        (told(prompt_cache_hit_tokens=50), Usage(7, 3, 7, estimated=True)),
        (told(completion_tokens=float("inf")), None),
        (told(completion_tokens=None), None),
        (None, None),
        ("7", None),
    ],
)
def test_a_usage_is_believed_if_it_makes_sense(told, expected):
    assert openai_usage(told) == expected


def body_of(content):
    return {"messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (body_of("x" * 40), 14),
        (body_of([{"type": "text", "text": "x" * 40}]), 15),
        (body_of([{"type": "image_url", "image_url": {"url": "data:" + "x" * 10**6}}]), 804),
        (body_of("漢" * 40), 34),
        (body_of(None), 4),
        ({"messages": 7}, 0),
        ({}, 0),
    ],
)
def test_about_four_bytes_are_a_token(body, expected):
    assert estimated_input_tokens(body) == expected


def test_depth_is_no_danger_to_counting():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]

    assert estimated_input_tokens(body_of(deep)) == 4


def test_a_piece_of_a_stream_is_a_token_at_least():
    assert estimated_usage(body_of("x" * 40), written_bytes=8, pieces=5) == Usage(
        14, 5, estimated=True
    )
