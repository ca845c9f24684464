"""The application: every route, and what surrounds them all."""

from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from common.errors import Failure, Invalid
from common.ops import Ready
from common.wire_errors import http_status
from services.gateway.api import experiments, feedback, metrics, routing, status
from services.gateway.api.auth import Gate
from services.gateway.api.body import raise_invalid
from services.gateway.api.complete import Complete
from services.gateway.api.context import is_openai
from services.gateway.api.edge import Edge, internal_error
from services.gateway.api.embeddings import Embeddings
from services.gateway.api.live import LiveSocket
from services.gateway.api.openai import ChatCompletions
from services.gateway.api.openapi import document
from services.gateway.api.respond import failure_body, failure_headers
from services.gateway.clients.experiments import Experiments
from services.gateway.clients.metrics import Metrics
from services.gateway.clients.router import Router
from services.gateway.domain.openai_wire import error_body
from services.gateway.live import Live
from services.gateway.settings import Settings
from services.gateway.snapshots import Snapshots
from services.gateway.store.spend import Spend
from services.gateway.usecases import Completions

NOT_FOUND = 404
WORDS = {404: ("There is no such route.", "not_found"), 405: ("", "method_not_allowed")}


@dataclass(frozen=True, slots=True)
class Parts:
    router: Router
    experiments: Experiments
    metrics: Metrics
    spend: Spend
    snapshots: Snapshots
    live: Live
    ready: Ready


def make_app(settings: Settings, parts: Parts) -> ASGIApp:
    """Put the routes together; the frequent ones first, as plain ASGI."""
    app = _Documented(
        title="AI cost optimizer",
        version=status.VERSION,
        summary="Every prompt to the cheapest model that is good enough.",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    completions = Completions(parts.router, parts.experiments, parts.spend)
    limit = settings.max_body_bytes
    gate = Gate(settings.admin_key)
    chat = ChatCompletions(completions, max_body_bytes=limit, heartbeat_s=settings.heartbeat_s)
    _add(app, chat, "POST")
    _add(app, Complete(completions, parts.spend, max_body_bytes=limit), "POST")
    _add(app, metrics.RoutingMetrics(parts.snapshots), "GET")
    _add(app, Embeddings(completions, max_body_bytes=limit), "POST")
    for included in (
        status.routes(parts.router, parts.ready),
        routing.routes(parts.router),
        experiments.routes(parts.experiments, max_body_bytes=limit),
        metrics.routes(parts.metrics, parts.snapshots),
        feedback.routes(parts.router, max_body_bytes=limit),
    ):
        app.include_router(included)
    app.router.add_websocket_route(
        LiveSocket.route_path,
        LiveSocket(  # type: ignore[arg-type]  # an ASGI application will do
            parts.live,
            max_clients=settings.live_clients,
            checks_origin=gate.checks_keys,
            allowed_origins=settings.allowed_origin_set,
        ),
    )
    app.add_exception_handler(Failure, _on_failure)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_bug)
    return Edge(app, gate, max_body_bytes=limit)


class _Documented(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = document(super().openapi())
        return self.openapi_schema


def _add(app: FastAPI, handler: Any, method: str) -> None:
    app.add_route(handler.route_path, handler, methods=[method], include_in_schema=False)


async def _on_failure(request: Request, failure: Exception) -> Response:
    if not isinstance(failure, Failure):
        raise TypeError("a handler for failures got something else") from failure
    openai = is_openai(request.scope)
    code = http_status(failure, openai=openai)
    answer = _json(code, failure_body(failure, openai=openai))
    answer.raw_headers.extend(failure_headers(failure, code))
    return answer


async def _on_invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError("a handler for invalid requests got something else") from error
    # The first part of a location says query or path: the name behind it is enough.
    found = [{**problem, "loc": problem["loc"][1:]} for problem in error.errors()]
    try:
        raise_invalid(found)
    except Invalid as failure:
        return await _on_failure(request, failure)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError("a handler for HTTP exceptions got something else") from error
    message, code = WORDS.get(error.status_code, (str(error.detail), "bad_request"))
    message = message or f"This route does not answer to {request.method}."
    if not is_openai(request.scope):
        body: dict[str, Any] = {"detail": message, "code": code}
    else:
        code = "model_not_found" if error.status_code == NOT_FOUND else code
        body = error_body(message, status=error.status_code, param=None, code=code)
    answer = _json(error.status_code, body)
    answer.headers.update(error.headers or {})
    return answer


async def _on_bug(request: Request, _: Exception) -> Response:
    """The edge logs it: it is raised on after this answer."""
    body = internal_error(openai=is_openai(request.scope))
    return Response(body, status_code=500, media_type="application/json")


def _json(code: int, body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), status_code=code, media_type="application/json")
