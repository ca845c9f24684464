"""Tokens: the provider's own figures where they make sense, our count where they do not. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from services.router.domain.request import Usage

BYTES_PER_TOKEN = 4  # of UTF-8; English text averages about this over the common tokenizers
TOKENS_PER_MESSAGE = 4  # role and separators
TOKENS_PER_IMAGE = 800  # the middle of what the large providers charge for one picture
MOST_TOKENS = 100_000_000  # no model reads or writes as many in one call: more is absurd
BEYOND_CONTEXT = 8  # times the declared context: it may be declared too small, not that much


def openai_usage(found: Any, *, context_tokens: int | None = None) -> Usage | None:
    """
    Read an OpenAI usage object; None when it is missing or makes no sense.

    Args:
        found: May be anything.
        context_tokens: Of the model, as declared; no call uses a multiple of it.
    """
    if not isinstance(found, dict):
        return None
    details = found.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    if cached is None:
        cached = found.get("prompt_cache_hit_tokens")  # DeepSeek's word for it
    usage = sound_usage(found.get("prompt_tokens"), found.get("completion_tokens"), cached)
    if usage is None or context_tokens is None:
        return usage
    most = BEYOND_CONTEXT * context_tokens
    return usage if max(usage.input_tokens, usage.output_tokens) <= most else None


def sound_usage(read: Any, written: Any, cached: Any = 0) -> Usage | None:
    """
    Make a Usage of figures that may be anything.

    None when input or output is no sound count: then they are counted by us and flagged.
    More cached tokens than tokens read is clamped and flagged.
    """
    if not (_is_count(read) and _is_count(written)):
        return None
    hits = cached if _is_count(cached) else 0
    return Usage(read, written, min(hits, read), estimated=hits > read)


def openai_usage_json(usage: Usage) -> dict[str, Any]:
    """Say a usage in OpenAI's words."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
    }


def estimated_usage(body: Mapping[str, Any], *, written_bytes: int, pieces: int = 0) -> Usage:
    """
    Count what a provider did not report.

    Args:
        body: The OpenAI request.
        written_bytes: UTF-8 bytes of answer that were received.
        pieces: Stream chunks with content; a piece is at least one token.
    """
    return Usage(
        input_tokens=estimated_input_tokens(body),
        output_tokens=max(math.ceil(written_bytes / BYTES_PER_TOKEN), pieces),
        estimated=True,
    )


def estimated_input_tokens(body: Mapping[str, Any]) -> int:
    """Count about how many tokens a provider reads in this request."""
    messages = body.get("messages")
    count = TOKENS_PER_MESSAGE * len(messages) if isinstance(messages, list) else 0
    texts, images = _texts([messages, body.get("tools"), body.get("input")])
    count += math.ceil(texts / BYTES_PER_TOKEN) + images * TOKENS_PER_IMAGE
    return count + _ready_tokens(body.get("input"))


def _texts(value: Any) -> tuple[int, int]:
    """Sum (bytes of text, images) below *value*; no recursion, for depth is the caller's."""
    size = images = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            size += len(item.encode("utf-8", "replace"))
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            if item.get("type") == "image_url":
                images += 1
            else:
                waiting.extend(v for k, v in item.items() if k != "role")
    return size, images


def _ready_tokens(value: Any) -> int:
    """Count what an embeddings request holds as tokens: one text, or a list of them."""
    if not isinstance(value, list):
        return 0
    lists = [value, *(item for item in value if isinstance(item, list))]
    return sum(isinstance(item, int) for tokens in lists for item in tokens)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
