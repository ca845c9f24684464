"""Answers as plain ASGI messages: what is on every answer, and every failure's shape."""

import math
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.types import Send

from common.errors import Failure
from common.wire_errors import http_status
from services.gateway.domain.openai_wire import error_body

Headers = Sequence[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
_RETRY_AFTER_S = 5  # when nobody knows better
_SPENT = frozenset({"insufficient_quota", "budget_exceeded"})


async def send_json(send: Send, status: int, body: bytes, headers: Headers = ()) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [JSON, (b"content-length", b"%d" % len(body)), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_failure(send: Send, failure: Failure, *, openai: bool) -> None:
    status = http_status(failure, openai=openai)
    body = failure_body(failure, openai=openai)
    await send_json(send, status, orjson.dumps(body), failure_headers(failure, status))


def failure_body(failure: Failure, *, openai: bool) -> dict[str, Any]:
    if not openai:
        return {"detail": failure.message, "code": failure.code}
    status = http_status(failure, openai=True)
    code = "model_not_found" if status == 404 and failure.code == "not_found" else failure.code  # noqa: PLR2004 - HTTP
    return error_body(failure.message, status=status, param=failure.param, code=code)


def failure_headers(failure: Failure, status: int) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    if failure.billed or failure.code in _SPENT:
        headers.append((b"x-should-retry", b"false"))
    wait_s = failure.retry_after_s
    if wait_s is None and status == 429:  # noqa: PLR2004 - HTTP
        wait_s = _RETRY_AFTER_S
    if wait_s is not None and math.isfinite(wait_s):
        seconds = b"%d" % max(1, math.ceil(wait_s))
        headers.append((b"retry-after", seconds))
        if status == 429:  # noqa: PLR2004 - HTTP
            headers.append((b"x-ratelimit-remaining-requests", b"0"))
            headers.append((b"x-ratelimit-reset-requests", seconds + b"s"))
    if status == 401:  # noqa: PLR2004 - HTTP
        headers.append((b"www-authenticate", b"Bearer"))
    return headers
