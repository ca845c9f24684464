"""Routing options: what a client may say about one request beside its body."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import Invalid
from services.gateway.domain.openai_wire import MAX_USER_CHARACTERS

STRATEGY = "x-optimizer-strategy"
PARAMETERS = "x-optimizer-strategy-parameters"
EXPERIMENT = "x-optimizer-experiment-id"
USER = "x-optimizer-user-id"
CACHE = "x-optimizer-cache"
TAG = "x-optimizer-tag"
MAX_TAG = 200
MAX_ID = 2**63 - 1
MAX_PARAMETERS_BYTES = 2_000
NEEDS_USER = "user_id required when experiment_id is specified"


@dataclass(frozen=True, slots=True)
class Options:
    strategy: str = ""  # empty: not said
    experiment_id: int = 0  # 0: none
    user_id: str = ""
    use_cache: bool | None = None  # None: not said
    parameters_json: bytes = b""  # of the strategy, a JSON object; empty: none
    tag: str = ""  # what the request belongs to, in the caller's words


NOTHING_SAID = Options()


def read_options(headers: Mapping[bytes, bytes], *, strategies: Collection[str]) -> Options:
    """
    Read the `x-optimizer-...` headers.

    Args:
        headers: By lower-case name.
        strategies: The names there are.

    Raises:
        Invalid: a value is out of bounds; `param` is the header's name.
    """
    said = {
        name: _text(headers[name.encode()], name)
        for name in (STRATEGY, EXPERIMENT, USER, CACHE, PARAMETERS, TAG)
        if name.encode() in headers
    }
    if not said:
        return NOTHING_SAID
    cache = said.get(CACHE)
    if cache not in (None, "on", "off"):
        raise _wrong(CACHE, "must be on or off")
    user = said.get(USER, "")
    if USER in said and not 1 <= len(user) <= MAX_USER_CHARACTERS:
        raise _wrong(USER, f"must have 1 to {MAX_USER_CHARACTERS} characters")
    tag = said.get(TAG, "")
    if TAG in said and not (1 <= len(tag) <= MAX_TAG and "\x00" not in tag):
        raise _wrong(TAG, f"must have 1 to {MAX_TAG} characters")
    if STRATEGY in said and said[STRATEGY] not in strategies:
        raise _wrong(STRATEGY, f"must be one of {', '.join(strategies)}")
    return Options(
        strategy=said.get(STRATEGY, ""),
        experiment_id=_identifier(said[EXPERIMENT]) if EXPERIMENT in said else 0,
        user_id=user,
        use_cache=None if cache is None else cache == "on",
        parameters_json=_parameters(said[PARAMETERS]) if PARAMETERS in said else b"",
        tag=tag,
    )


def _parameters(text: str) -> bytes:
    """Check the form only: which names and values there are, the router knows."""
    if len(text.encode()) > MAX_PARAMETERS_BYTES:
        raise _wrong(PARAMETERS, f"must have at most {MAX_PARAMETERS_BYTES} bytes")
    try:
        read: Any = json.loads(text)
        # Written anew, strictly: what JSON has no word for (NaN, half a character) is refused.
        written = json.dumps(read, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        encoded = written.encode()
    except (ValueError, RecursionError):
        read, encoded = None, b""
    if not isinstance(read, dict):
        raise _wrong(PARAMETERS, 'must be a JSON object, such as {"preset": "economy"}')
    # What is left of backslashes once escaped ones are out begins an escape.
    if b"\\u0000" in encoded.replace(b"\\\\", b""):
        raise _wrong(PARAMETERS, "has a NUL character; remove it")
    return encoded if read else b""


def _identifier(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_ID))):
        raise _wrong(EXPERIMENT, "must be a whole number of at least 1")
    number = int(text)
    if not 1 <= number <= MAX_ID:
        raise _wrong(EXPERIMENT, "must be a whole number of at least 1")
    return number


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _wrong(name, "must be UTF-8") from None


def _wrong(header: str, what: str) -> Invalid:
    return Invalid(f"`{header}` {what}.", code="invalid_value", param=header)
