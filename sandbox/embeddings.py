"""Embeddings: hashed bags of words, so that texts that share words lie close together. Pure."""

import array
import base64
import hashlib
import math
import re
import sys
from collections.abc import Sequence
from typing import Any

from sandbox.models import EMBEDDING_MODELS, SandboxModel
from sandbox.refusal import bad, too_long, unknown_model
from sandbox.tokens import tokens_in

_DIMENSIONS = 256
_MOST_DIMENSIONS = 4_096
_MOST_INPUTS = 2_048
_WORD = re.compile(r"\w+")


def embeddings_answer(raw: dict[str, Any]) -> tuple[dict[str, Any], SandboxModel, int]:
    """
    Return the answer to an embeddings request, its model, and how many tokens it took.

    Raises:
        Refusal: as OpenAI would refuse it.
    """
    name = raw.get("model")
    if not isinstance(name, str) or not name:
        raise bad("model", "expected the name of a model")
    if name not in EMBEDDING_MODELS:
        raise unknown_model(name)
    model = EMBEDDING_MODELS[name]
    inputs = _inputs(raw.get("input"))
    counts = [len(i) if isinstance(i, list) else tokens_in(i) for i in inputs]
    if max(counts) > model.context_tokens:
        raise too_long(max(counts), model.context_tokens)
    dimensions = raw.get("dimensions", _DIMENSIONS)
    if isinstance(dimensions, bool) or not isinstance(dimensions, int):
        raise bad("dimensions", "expected an integer")
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise bad("dimensions", f"expected from 1 to {_MOST_DIMENSIONS}")
    encoding = raw.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise bad("encoding_format", "expected float or base64")
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, encoding)}
        for index, vector in enumerate(_vector(i, dimensions) for i in inputs)
    ]
    tokens = sum(counts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": data, "model": name, "usage": usage, "sandbox": True}
    return answer, model, tokens


def _inputs(value: Any) -> Sequence[str | list[int]]:
    if isinstance(value, str) or _is_tokens(value):
        value = [value]
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_INPUTS:
        raise bad("input", f"expected a string or an array of 1 to {_MOST_INPUTS}")
    if not all((isinstance(item, str) and item) or _is_tokens(item) for item in value):
        raise bad("input", "expected non-empty strings or arrays of tokens")
    return value


def _is_tokens(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(token, int) and not isinstance(token, bool) for token in value)
    )


def _vector(item: str | list[int], dimensions: int) -> list[float]:
    words = _WORD.findall(item.lower()) if isinstance(item, str) else [str(t) for t in item]
    sums = [0.0] * dimensions
    for word in words or [""]:
        bits = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
        sums[(bits >> 1) % dimensions] += 1.0 if bits & 1 else -1.0
    length = math.sqrt(sum(value * value for value in sums))
    return [value / length for value in sums] if length else [1.0, *sums[1:]]


def _encoded(vector: list[float], encoding: str) -> list[float] | str:
    if encoding == "float":
        return vector
    floats = array.array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()
