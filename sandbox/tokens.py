"""Counting and cutting tokens: simple rules that a test can redo by hand. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

_PIECE = re.compile(r"\S{1,12}\s*")
_PER_MESSAGE = 4
_PER_REPLY = 3
_PER_IMAGE = 85
_CACHEABLE = 1_024  # prompts below it are never cached
_CACHE_STEP = 128


def pieces_of(text: str) -> list[str]:
    """Cut a text into tokens: up to twelve characters of a word and the space after it."""
    return _PIECE.findall(text)


def tokens_in(text: str) -> int:
    """Count input tokens: four UTF-8 bytes each, rounded up."""
    return (len(text.encode()) + 3) // 4


def message_tokens(message: Mapping[str, Any]) -> int:
    """Count one message: its text, its images, its tool calls, and a little for the envelope."""
    content = message.get("content")
    count = _PER_MESSAGE
    if isinstance(content, str):
        count += tokens_in(content)
    elif isinstance(content, list):
        for part in content:
            text = part.get("text")
            count += tokens_in(text) if isinstance(text, str) else _PER_IMAGE
    if calls := message.get("tool_calls"):
        count += len(orjson.dumps(calls)) // 4
    return count


def prompt_tokens(messages: Sequence[Mapping[str, Any]], tools: Any) -> tuple[int, int]:
    """
    Count a prompt's tokens and how many of them count as cached.

    Cached is what a provider could have seen before: all but the last message, in whole steps, of
    a prompt long enough. A function of the prompt alone, so that every run is billed the same.
    """
    counts = [message_tokens(message) for message in messages]
    extra = _PER_REPLY + (len(orjson.dumps(tools)) // 4 if tools else 0)
    total = sum(counts) + extra
    if total < _CACHEABLE:
        return total, 0
    return total, sum(counts[:-1]) // _CACHE_STEP * _CACHE_STEP
