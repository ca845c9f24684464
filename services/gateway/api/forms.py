"""Bodies and answers of the routes that FastAPI serves: read strictly, written fast, documented."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import Request
from google.protobuf.message import Message
from pydantic import BaseModel
from starlette.responses import Response

from services.gateway.api.body import BodyReader, Form, parse_form, parse_rows


class Problem(BaseModel):
    """Every failure outside /v1."""

    detail: str
    code: str


# Named, not as a model: FastAPI would build a validator for each of them, on every route.
PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"content": PROBLEM, "description": "malformed"},
    401: {"content": PROBLEM, "description": "no valid key"},
    403: {"content": PROBLEM, "description": "not from there"},
    404: {"content": PROBLEM, "description": "not there"},
    413: {"content": PROBLEM, "description": "too large"},
    422: {"content": PROBLEM, "description": "out of bounds"},
    503: {"content": PROBLEM, "description": "a part of the service is silent"},
    504: {"content": PROBLEM, "description": "a part of the service was too slow"},
}


def json(value: Any) -> Response:
    """Write JSON; a number that is not finite becomes null."""
    return Response(orjson.dumps(value), media_type="application/json")


def answers(model: type[BaseModel], *, many: bool = False) -> dict[int | str, dict[str, Any]]:
    """Document what a route answers."""
    return {200: {"model": list[model] if many else model}, **PROBLEMS}  # type: ignore[valid-type]


def reads(
    form: type[Form], read_body: BodyReader, *, optional: bool = False
) -> Callable[[Request], Awaitable[Form]]:
    """Make a dependency that reads the body as *form*; FastAPI's own is not strict enough."""

    async def read(request: Request) -> Form:
        raw = await read_body(request.receive)
        return parse_form(form, b"{}" if optional and not raw else raw)

    return read


def reads_rows(
    form: type[Form], read_body: BodyReader, *, most: int
) -> Callable[[Request], Awaitable[list[Form]]]:
    """Make a dependency that reads the body as an array of *form*, at most so many."""

    async def read(request: Request) -> list[Form]:
        return parse_rows(form, await read_body(request.receive), most=most)

    return read


def body(form: type[BaseModel], *, optional: bool = False, many: bool = False) -> dict[str, Any]:
    """Document the body of a route that reads it with `reads`, or with `reads_rows`: *many*."""
    schema = form.model_json_schema()
    if many:
        schema = {"type": "array", "items": schema}
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": not optional, "content": content}}


def known(message: Message, name: str) -> Any:
    """Return a field that may be absent; None if it is."""
    return getattr(message, name) if message.HasField(name) else None


def rfc3339(at_ms: int) -> str:
    """Write a Unix time in ms as all answers have it: in UTC."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
