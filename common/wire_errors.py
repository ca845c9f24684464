"""
Our failures on the wire: as gRPC codes, back from them, and as HTTP statuses.

What a code cannot carry travels as JSON in the trailing metadata `optimizer-failure-bin`. Only
a failure that was raised on purpose has it: without it, a gRPC status speaks of the transport.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import orjson
from grpc import StatusCode
from grpc.aio import AioRpcError

from common import errors
from common.errors import Failure

FAILURE_METADATA = "optimizer-failure-bin"
INTERNAL_MESSAGE = "internal error"
Trailing: TypeAlias = tuple[tuple[str, bytes], ...]

NEVER_SENT = "service_unavailable"
CONNECTION_LOST = "connection_lost"  # the call may have arrived: a retry may do it twice

_CODES: dict[type[Failure], StatusCode] = {
    errors.Invalid: StatusCode.INVALID_ARGUMENT,
    errors.TooLarge: StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.Denied: StatusCode.PERMISSION_DENIED,
    errors.NotFound: StatusCode.NOT_FOUND,
    errors.Conflict: StatusCode.ALREADY_EXISTS,
    errors.OverBudget: StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: StatusCode.UNAVAILABLE,
    errors.AllFailed: StatusCode.ABORTED,
    errors.TimedOut: StatusCode.DEADLINE_EXCEEDED,
}
_STATUSES: dict[type[Failure], int] = {
    errors.Invalid: 400,
    errors.TooLarge: 413,
    errors.Unauthenticated: 401,
    errors.Denied: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.OverBudget: 429,
    errors.Unavailable: 503,
    errors.AllFailed: 502,
    errors.TimedOut: 504,
}
_KINDS = {kind.__name__: kind for kind in _CODES}
# gRPC says so when the call never left, in words that it promises nowhere; a test holds it to them.
_NOT_SENT = ("failed to connect", "connection refused", "dns resolution", "no such file")


def _of(failure: Failure, table: dict[type[Failure], Any], default: Any) -> Any:
    """Find the entry of the failure's class or of its nearest ancestor."""
    return next((table[kind] for kind in type(failure).__mro__ if kind in table), default)


def grpc_status(failure: Failure) -> tuple[StatusCode, Trailing]:
    """Return the code and the trailing metadata that carry *failure*."""
    kind = next((k.__name__ for k in type(failure).__mro__ if k in _CODES), None)
    details = {
        "kind": kind,
        "code": failure.code,
        "param": failure.param,
        "retry_after_s": failure.retry_after_s,
        "billed": failure.billed,
    }
    code: StatusCode = _of(failure, _CODES, StatusCode.INTERNAL)
    return code, ((FAILURE_METADATA, orjson.dumps(details)),)


def http_status(failure: Failure, *, openai: bool) -> int:
    """
    Return the HTTP status of *failure*.

    Outside the OpenAI and Anthropic wires a field out of bounds is 422: `Invalid` with a `param`.
    """
    if not openai and failure.param and isinstance(failure, errors.Invalid):
        return 422
    status: int = _of(failure, _STATUSES, 500)
    return status


def failure_of(error: AioRpcError) -> Failure:
    """
    Turn what a gRPC call raised into our failure.

    Without our details it is the transport that failed; its words name addresses, so they are
    not repeated. `code` tells then whether the call can have arrived (`connection_lost`).
    """
    details = _details(error)
    if details is None:
        return _transport_failure(error)
    kind = _KINDS.get(str(details.get("kind")), Failure)
    retry_after_s = details.get("retry_after_s")
    return kind(
        error.details() or INTERNAL_MESSAGE,
        code=details.get("code"),
        param=details.get("param"),
        retry_after_s=retry_after_s if isinstance(retry_after_s, int | float) else None,
        billed=details.get("billed") is True,
    )


def never_sent(error: AioRpcError) -> bool:
    """Return whether the transport failed, and before the call left: to repeat it does it once."""
    words = (error.details() or "").lower()
    return (
        error.code() is StatusCode.UNAVAILABLE
        and _details(error) is None
        and any(sign in words for sign in _NOT_SENT)
    )


def _details(error: AioRpcError) -> dict[str, Any] | None:
    trailing: Any = error.trailing_metadata() or ()
    for key, value in trailing:
        if key == FAILURE_METADATA:
            try:
                read = orjson.loads(value)
            except orjson.JSONDecodeError:
                return None
            return read if isinstance(read, dict) else None
    return None


def silent(code: str) -> errors.Unavailable:
    """Return the failure of a neighbour that cannot be reached."""
    return errors.Unavailable("a part of the service is silent; try again", code=code)


_TRANSPORT: dict[StatusCode, Callable[[], Failure]] = {
    StatusCode.DEADLINE_EXCEEDED: lambda: errors.TimedOut(
        "a part of the service did not answer in time"
    ),
    StatusCode.CANCELLED: lambda: errors.Unavailable(
        "the call was cancelled", code=CONNECTION_LOST
    ),
    # gRPC's own: a message above the limit
    StatusCode.RESOURCE_EXHAUSTED: lambda: errors.TooLarge(
        "the message is larger than the service accepts"
    ),
    StatusCode.UNIMPLEMENTED: lambda: errors.Unavailable(
        "this is not served yet", code="not_implemented"
    ),
    # The services' tokens differ: no fault of the client.
    StatusCode.UNAUTHENTICATED: lambda: errors.Unavailable(
        "the services do not trust each other", code="misconfigured"
    ),
}


def _transport_failure(error: AioRpcError) -> Failure:
    if error.code() is StatusCode.UNAVAILABLE:
        return silent(NEVER_SENT if never_sent(error) else CONNECTION_LOST)
    make = _TRANSPORT.get(error.code())
    return make() if make else Failure(INTERNAL_MESSAGE)
