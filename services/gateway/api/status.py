"""Says whether the gateway is alive, ready, and with which providers."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from common.errors import Failure
from common.ops import OK, Ready
from services.gateway.api.forms import json
from services.gateway.clients.router import Router

try:
    VERSION = version("ai-cost-optimizer")
except PackageNotFoundError:  # an image may carry the files alone
    VERSION = "unknown"


class HealthAnswer(BaseModel):
    status: str
    providers_available: list[str]
    routing_engine: str
    auto_route_enabled: bool
    version: str


class AliveAnswer(BaseModel):
    status: str


class ReadyAnswer(BaseModel):
    status: str
    checks: dict[str, str]


def routes(router: Router, ready: Ready) -> APIRouter:
    api = APIRouter(tags=["status"])

    @api.get("/health", responses={200: {"model": HealthAnswer}})
    async def health() -> Response:
        return json(await _health(router))

    @api.get("/livez", responses={200: {"model": AliveAnswer}})
    async def livez() -> Response:
        return json({"status": OK})

    @api.get("/readyz", responses={200: {"model": ReadyAnswer}, 503: {"model": ReadyAnswer}})
    async def readyz() -> Response:
        checks = dict(await ready())
        fine = all(answer == OK for answer in checks.values())
        return Response(
            orjson.dumps({"status": OK if fine else "unready", "checks": checks}),
            status_code=200 if fine else 503,
            media_type="application/json",
        )

    for path, probe in (("/health", health), ("/livez", livez), ("/readyz", readyz)):
        api.add_api_route(path, probe, methods=["HEAD"], include_in_schema=False)
    return api


async def _health(router: Router) -> dict[str, Any]:
    """Answer even when the router does not: that is what one asks this for."""
    try:
        providers = (await router.providers()).providers
        engine = (await router.models()).default_strategy
    except Failure:
        return _shown("degraded", [], "unknown")
    on = [provider.name for provider in providers if provider.enabled]
    return _shown("healthy" if on else "degraded", on, engine)


def _shown(status: str, providers: list[str], engine: str) -> dict[str, Any]:
    return {
        "status": status,
        "providers_available": providers,
        "routing_engine": engine,
        "auto_route_enabled": True,
        "version": VERSION,
    }
