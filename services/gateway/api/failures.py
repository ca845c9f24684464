"""Every failure's shape: whatever was raised, what the client is told."""

import math
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from common.errors import Failure, Invalid, NotFound
from common.wire_errors import INTERNAL_MESSAGE, http_status
from services.gateway.api.body import raise_invalid
from services.gateway.domain.openai_wire import error_body

Headers = list[tuple[bytes, bytes]]

_RETRY_AFTER_S = 5  # when nobody knows better
_CODES = {405: "method_not_allowed", 408: "request_timeout"}
_SPENT = frozenset({"insufficient_quota", "budget_exceeded"})


@dataclass(frozen=True, slots=True)
class Told:
    """What a client is told of a failure."""

    status: int
    body: bytes
    headers: Headers = field(default_factory=list)


def tell(error: Exception, *, openai: bool) -> Told:
    """Shape *error* for a client; what is not foreseen is an internal error and no more."""
    if isinstance(error, RequestValidationError):
        error = _invalid(error)
    elif isinstance(error, HTTPException):
        if error.status_code != HTTPStatus.NOT_FOUND:
            return _refused(error, openai=openai)
        error = NotFound("There is no such route.")
    failure = error if isinstance(error, Failure) else Failure(INTERNAL_MESSAGE)
    status = http_status(failure, openai=openai)
    body = orjson.dumps(failure_body(failure, openai=openai))
    return Told(status, body, _headers(failure, status))


def failure_body(failure: Failure, *, openai: bool) -> dict[str, Any]:
    if not openai:
        return {"detail": failure.message, "code": failure.code}
    status = http_status(failure, openai=True)
    unknown = status == HTTPStatus.NOT_FOUND and failure.code == NotFound.default_code
    code = "model_not_found" if unknown else failure.code
    return error_body(failure.message, status=status, param=failure.param, code=code)


def _invalid(error: RequestValidationError) -> Failure:
    # The first part of a location says query or path: the name behind it is enough.
    try:
        raise_invalid([{**problem, "loc": problem["loc"][1:]} for problem in error.errors()])
    except Invalid as failure:
        return failure


def _refused(error: HTTPException, *, openai: bool) -> Told:
    """Shape what never came to be a request that could fail: its method, its time."""
    wrong_method = error.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    message = "This route does not answer to this method." if wrong_method else str(error.detail)
    code = _CODES.get(error.status_code, "bad_request")
    body: dict[str, Any] = {"detail": message, "code": code}
    if openai:
        body = error_body(message, status=error.status_code, param=None, code=code)
    headers = [(k.lower().encode(), v.encode()) for k, v in (error.headers or {}).items()]
    return Told(error.status_code, orjson.dumps(body), headers)


def _headers(failure: Failure, status: int) -> Headers:
    headers: Headers = []
    if failure.billed or failure.code in _SPENT:
        headers.append((b"x-should-retry", b"false"))
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    wait_s = failure.retry_after_s
    spent = status == HTTPStatus.TOO_MANY_REQUESTS
    if wait_s is None and spent:
        wait_s = _RETRY_AFTER_S
    if wait_s is not None and math.isfinite(wait_s):
        seconds = b"%d" % max(1, math.ceil(wait_s))
        headers.append((b"retry-after", seconds))
        if spent:
            headers.append((b"x-ratelimit-remaining-requests", b"0"))
            headers.append((b"x-ratelimit-reset-requests", seconds + b"s"))
    return headers
