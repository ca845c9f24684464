"""Which requests have their answer compared with the other arm's, and what that may cost. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from common.money import cost_nano_usd
from services.gateway.domain.judging import (
    MAX_ANSWER_CHARACTERS,
    MAX_QUESTION_CHARACTERS,
    MAX_VERDICT_TOKENS,
)

MAX_BODY_BYTES = 256 * 1024  # of a request that waits to be compared

# What a judge of texts cannot see, or what must not be done twice.
_BEYOND_TEXT = ("tools", "functions", "audio", "web_search_options")
_TEXT_ROLES = frozenset({"system", "developer", "user", "assistant"})

BYTES_PER_TOKEN = 3  # or more, in every language: fewer would be more tokens than there are
CALLS_OF_A_STRATEGY = 2  # a cascade may ask a second model, and so may a race
LEAST_OUTPUT_TOKENS = 1_024
TIMES_THE_OUTPUT = 4  # the other model may be wordier than the one that answered
RULES_TOKENS = 400  # of what the judge is told beside the texts
ORDERS = 2


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-USD per million tokens."""

    input: int
    output: int


def is_drawn(experiment_id: int, request_id: str, share: float) -> bool:
    """Return whether a request is among the share that is compared; every replica agrees."""
    digest = blake2b(f"{experiment_id}:{request_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def is_comparable(body: Mapping[str, Any]) -> bool:
    """Return whether a chat request asks for one text about texts, and calls no tools."""
    if any(body.get(name) not in (None, []) for name in _BEYOND_TEXT):  # {} means: as usual
        return False
    if (body.get("n") or 1) != 1 or body.get("modalities") not in (None, [], ["text"]):
        return False
    return all(_is_text(message) for message in body["messages"])


def most_nano_usd(
    *,
    body_bytes: int,
    limit_tokens: int | None,
    served_tokens: int,
    dearest: Price,
    judge: Price,
) -> int:
    """
    Estimate, from above, what the other answer and both verdicts cost.

    Args:
        body_bytes: Size of the request.
        limit_tokens: How long an answer it allows; None: as long as the model likes.
        served_tokens: How long the answer was that the client got.
        dearest: What the other arm's model costs at most.
        judge: What the judge costs.
    """
    input_tokens = body_bytes // BYTES_PER_TOKEN + 1
    output_tokens = max(LEAST_OUTPUT_TOKENS, TIMES_THE_OUTPUT * served_tokens)
    if limit_tokens is not None:
        output_tokens = min(output_tokens, limit_tokens)
    of_an_answer = min(output_tokens, MAX_ANSWER_CHARACTERS // BYTES_PER_TOKEN + 1)
    of_the_question = min(input_tokens, MAX_QUESTION_CHARACTERS // BYTES_PER_TOKEN + 1)
    read_tokens = RULES_TOKENS + of_the_question + 2 * of_an_answer
    return cost_nano_usd(
        (CALLS_OF_A_STRATEGY * input_tokens, dearest.input),
        (CALLS_OF_A_STRATEGY * output_tokens, dearest.output),
        (ORDERS * read_tokens, judge.input),
        (ORDERS * MAX_VERDICT_TOKENS, judge.output),
    )


def dearest_of(prices: Iterable[Price]) -> Price | None:
    """Return the highest prices of all; None if there are none."""
    listed = list(prices)
    if not listed:
        return None
    return Price(max(p.input for p in listed), max(p.output for p in listed))


def _is_text(message: Mapping[str, Any]) -> bool:
    if message.get("role") not in _TEXT_ROLES or message.get("tool_calls"):
        return False
    content = message.get("content")
    if isinstance(content, list):
        return all(isinstance(part, dict) and part.get("type") == "text" for part in content)
    return True
