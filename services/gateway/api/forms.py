"""Bodies and answers of the routes that FastAPI serves: read strictly, written fast, documented."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import Request
from google.protobuf.message import Message
from pydantic import BaseModel
from starlette.responses import Response

from services.gateway.api.body import BodyReader, Form, parse_form


class Problem(BaseModel):
    """Every failure outside /v1."""

    detail: str
    code: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "malformed"},
    401: {"model": Problem, "description": "no valid key"},
    403: {"model": Problem, "description": "not from there"},
    404: {"model": Problem, "description": "not there"},
    413: {"model": Problem, "description": "too large"},
    422: {"model": Problem, "description": "out of bounds"},
    503: {"model": Problem, "description": "a part of the service is silent"},
    504: {"model": Problem, "description": "a part of the service was too slow"},
}


def json(value: Any) -> Response:
    """Write JSON; a number that is not finite becomes null."""
    return Response(orjson.dumps(value), media_type="application/json")


def answers(model: type[BaseModel], *, many: bool = False) -> dict[int | str, dict[str, Any]]:
    """Document what a route answers."""
    return {200: {"model": list[model] if many else model}, **PROBLEMS}  # type: ignore[valid-type]


def reads(form: type[Form], read_body: BodyReader) -> Callable[[Request], Awaitable[Form]]:
    """Make a dependency that reads the body as *form*; FastAPI's own is not strict enough."""

    async def read(request: Request) -> Form:
        return parse_form(form, await read_body(request.receive))

    return read


def body(form: type[BaseModel]) -> dict[str, Any]:
    """Document the body of a route that reads it with `reads`."""
    schema = form.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def known(message: Message, name: str) -> Any:
    """Return a field that may be absent; None if it is."""
    return getattr(message, name) if message.HasField(name) else None


def rfc3339(unix_ms: int) -> str:
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
