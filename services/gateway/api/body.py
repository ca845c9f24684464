"""Request bodies: read up to a bound, parsed strictly, and nothing in them that cannot be kept."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from common.errors import Invalid, TooLarge

MAX_DEPTH = 128  # levels: deeper than any schema of a tool, shallower than any parser's limit
MAX_PROBLEMS = 50  # that one answer names
TOO_SLOW = "The request came too slowly; send it at once."

Form = TypeVar("Form", bound=BaseModel)


class ClientGone(Exception):  # noqa: N818 - not a failure: there is nobody to tell
    """The client hung up before its request was complete."""


@dataclass(frozen=True, slots=True)
class BodyReader:
    """Reads bodies within bounds."""

    max_bytes: int
    wait_s: float  # for each piece

    async def __call__(self, receive: Receive) -> bytes:
        """
        Read a whole body.

        Raises:
            TooLarge: it has more than `max_bytes`, whatever its headers promised.
            HTTPException: 408, a piece of it was not there in time.
            ClientGone: it never became complete.
        """
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._next(receive)
            if message["type"] == "http.disconnect":
                raise ClientGone
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self.max_bytes:
                raise too_large(self.max_bytes)
            if not message.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _next(self, receive: Receive) -> Message:
        try:
            async with asyncio.timeout(self.wait_s):
                return await receive()
        except TimeoutError:
            # What may still come of it must not be taken for the next request.
            raise HTTPException(408, TOO_SLOW, headers={"connection": "close"}) from None


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes; send a smaller one.")


def parse_object(raw: bytes) -> dict[str, Any]:
    """
    Parse a JSON object. Strict: no NaN, no lone surrogates, no NUL characters, no endless nesting.

    Raises:
        Invalid: it is not that; the message says where.
    """
    value = _parse(raw)
    if not isinstance(value, dict):
        raise Invalid("The body must be a JSON object.", code="invalid_body", param="body")
    # Counting bytes is cheap; only a body that might be at fault is walked.
    if b"\\u0000" in raw or raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_leaves(value)
    return value


def parse_rows(form: type[Form], raw: bytes, *, most: int) -> list[Form]:
    """
    Parse a JSON array of *form*, as strictly as one of it, all or nothing.

    Raises:
        Invalid: it is no such array, or longer than *most*; each wrong row is named.
    """
    value = _parse(raw)
    if not isinstance(value, list):
        raise Invalid("The body must be a JSON array.", code="invalid_body", param="body")
    if not 1 <= len(value) <= most:
        raise Invalid(f"The body must have 1 to {most} rows.", code="invalid_value", param="body")
    if b"\\u0000" in raw or raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_leaves({f"results[{index}]": row for index, row in enumerate(value)})
    rows, problems = [], []
    for index, row in enumerate(value):
        try:
            rows.append(form.model_validate(row, strict=True))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            problems += [{**one, "loc": (f"results[{index}]", *one["loc"])} for one in found]
    if problems:
        raise_invalid(problems[:MAX_PROBLEMS])
    return rows


def parse_form(form: type[Form], raw: bytes) -> Form:
    """
    Parse a body into *form*, without turning texts into numbers or the like.

    Raises:
        Invalid: a field is missing, of the wrong type or out of bounds; `param` names the first.
    """
    try:
        return form.model_validate(parse_object(raw), strict=True)
    except ValidationError as error:
        raise_invalid(error.errors(include_url=False, include_input=False))


def raise_invalid(problems: Iterable[Mapping[str, Any]]) -> NoReturn:
    """Turn pydantic's findings into one failure that names every field."""
    told = [
        (".".join(str(part) for part in problem["loc"]), str(problem["msg"]))
        for problem in problems
    ]
    message = "; ".join(f"{name}: {what}" if name else what for name, what in told)
    raise Invalid(message, code="invalid_value", param=told[0][0] or None if told else None)


def check_text(value: str, param: str) -> str:
    """Return *value* unless it has a NUL character, which no database keeps."""
    if "\x00" in value:
        raise Invalid(f"`{param}` has a NUL character; remove it.", param=param)
    return value


def _parse(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"The body is not valid JSON: {error}.", code="invalid_json") from None


def _check_leaves(value: dict[str, Any]) -> None:
    # A loop, not recursion: what it is looking for may be deeper than the stack.
    waiting: list[tuple[Any, str, int]] = [(value, "", 1)]
    while waiting:
        node, top, depth = waiting.pop()
        if isinstance(node, str):
            if "\x00" in node:
                raise Invalid(f"`{top}` has a NUL character; remove it.", param=top)
            continue
        if not isinstance(node, dict | list):
            continue
        if depth > MAX_DEPTH:
            raise Invalid(
                f"`{top}` is nested more than {MAX_DEPTH} levels deep; flatten it.", param=top
            )
        if isinstance(node, dict):
            waiting.extend((key, top or "body", depth + 1) for key in node)
            waiting.extend((child, top or key, depth + 1) for key, child in node.items())
        else:
            waiting.extend((child, top, depth + 1) for child in node)
