"""The application: every route, and what surrounds them all."""

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.types import ASGIApp

from common.ops import Ready
from services.gateway.api import (
    experiment_moves,
    experiments,
    export,
    feedback,
    history,
    learning,
    metrics,
    quality,
    requests,
    routing,
    status,
)
from services.gateway.api.auth import Gate
from services.gateway.api.body import BodyReader
from services.gateway.api.complete import Complete
from services.gateway.api.dashboard import page_files
from services.gateway.api.edge import Edge
from services.gateway.api.embeddings import Embeddings
from services.gateway.api.live import LiveSocket
from services.gateway.api.openai import ChatCompletions
from services.gateway.api.openapi import document
from services.gateway.clients.experiments import Experiments
from services.gateway.clients.metrics import Metrics
from services.gateway.clients.router import Router
from services.gateway.comparisons import Comparisons
from services.gateway.launches import Launches
from services.gateway.live import Live
from services.gateway.settings import GatewaySettings
from services.gateway.snapshots import Snapshots
from services.gateway.store.spend import Spend
from services.gateway.usecases import Completions


@dataclass(frozen=True, slots=True)
class Parts:
    router: Router
    experiments: Experiments
    metrics: Metrics
    spend: Spend
    completions: Completions
    comparisons: Comparisons
    launches: Launches
    snapshots: Snapshots
    live: Live
    ready: Ready


def make_app(settings: GatewaySettings, parts: Parts) -> ASGIApp:
    """Put the routes together; the frequent ones first, as plain ASGI."""
    app = _Application(
        title="AI cost optimizer",
        version=status.VERSION,
        summary="Every prompt to the cheapest model that is good enough.",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        # Ours is told at the edge; FastAPI's own would also say what clients sent.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    read_body = BodyReader(settings.max_body_bytes, settings.client_wait_s)
    page = page_files()
    gate = Gate(
        settings.admin_key,
        allowed_origins=settings.allowed_origin_set,
        open_paths={file.route_path for file in page},
    )
    chat = ChatCompletions(
        parts.completions, parts.comparisons, read_body=read_body, heartbeat_s=settings.heartbeat_s
    )
    _add(app, chat, "POST")
    complete = Complete(parts.completions, parts.spend, parts.comparisons, read_body=read_body)
    _add(app, complete, "POST")
    _add(app, metrics.RoutingMetrics(parts.snapshots), "GET")
    _add(app, Embeddings(parts.completions, read_body=read_body), "POST")
    for included in (
        status.routes(parts.router, parts.ready),
        routing.routes(parts.router, parts.completions, read_body=read_body),
        experiments.routes(parts.experiments, parts.launches, read_body=read_body),
        experiment_moves.routes(parts.experiments, read_body=read_body),
        experiment_moves.promotion_routes(parts.experiments, read_body=read_body),
        metrics.routes(parts.metrics, parts.snapshots),
        history.routes(parts.metrics),
        feedback.routes(parts.router, read_body=read_body),
        learning.routes(parts.router),
        quality.routes(parts.router),
        requests.routes(parts.router),
        export.routes(parts.router),
    ):
        app.include_router(included)
    for file in page:
        _add(app, file, "GET")
    app.router.add_websocket_route(
        LiveSocket.route_path,
        LiveSocket(  # type: ignore[arg-type]  # an ASGI application will do
            parts.live,
            max_clients=settings.live_clients,
            allowed_origins=settings.allowed_origin_set,
        ),
    )
    return Edge(app, gate, max_body_bytes=settings.max_body_bytes)


class _Application(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        """Let whatever is raised pass: the edge gives every failure its shape."""
        return AsyncExitStackMiddleware(self.router)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = document(super().openapi())
        return self.openapi_schema


def _add(app: FastAPI, handler: Any, method: str) -> None:
    app.add_route(handler.route_path, handler, methods=[method], include_in_schema=False)
