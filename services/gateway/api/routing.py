"""What would happen to a prompt, and which models and providers there are."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from optimizer.router.v1 import router_pb2
from pydantic import BaseModel
from starlette.responses import Response

from common.money import usd
from common.strategies import STRATEGIES
from services.gateway.api.body import check_text
from services.gateway.api.complete import body_of, check_strategy
from services.gateway.api.context import caller_of, context_of
from services.gateway.api.forms import answers, json
from services.gateway.clients.router import Router
from services.gateway.domain.openai_wire import AUTO, unknown_model
from services.gateway.domain.options import read_options

Prompt = Annotated[str, Query(min_length=1, max_length=10_000)]
_MAX_TOKENS = 1000  # what POST /complete assumes


class DecisionAnswer(BaseModel):
    provider: str
    model: str
    strategy: str
    confidence: str
    reasoning: str | None
    expected_cost: float | None
    routing_metadata: dict[str, Any]


class ProviderAnswer(BaseModel):
    name: str
    wire: str
    enabled: bool
    why_off: str | None
    models: int
    sandbox: bool


class ProvidersAnswer(BaseModel):
    providers: list[ProviderAnswer]


class ModelAnswer(BaseModel):
    id: str
    object: str
    created: int
    owned_by: str


class ModelsAnswer(BaseModel):
    object: str
    data: list[ModelAnswer]


def routes(router: Router) -> APIRouter:
    api = APIRouter(tags=["routing"])

    @api.get("/recommendation", responses=answers(DecisionAnswer))
    async def recommendation(
        request: Request, prompt: Prompt, strategy: str | None = None
    ) -> Response:
        check_strategy(strategy)
        return json(await _decide(router, request, prompt, strategy or ""))

    @api.get("/routing/decision", responses=answers(DecisionAnswer))
    async def routing_decision(
        request: Request, prompt: Prompt, auto_route: bool = False
    ) -> Response:
        strategy = "hybrid" if auto_route else "complexity"
        return json(await _decide(router, request, prompt, strategy))

    @api.get("/providers", responses=answers(ProvidersAnswer))
    async def providers() -> Response:
        listed = await router.providers()
        return json({"providers": [_provider(one) for one in listed.providers]})

    @api.get("/v1/models", responses={200: {"model": ModelsAnswer}}, tags=["openai"])
    async def list_models() -> Response:
        listed = await router.models()
        return json({"object": "list", "data": _models(listed)})

    @api.get("/v1/models/{model_id:path}", responses={200: {"model": ModelAnswer}}, tags=["openai"])
    async def get_model(model_id: str) -> Response:
        found = next((m for m in _models(await router.models()) if m["id"] == model_id), None)
        if found is None:
            raise unknown_model(model_id[:200])
        return json(found)

    return api


async def _decide(router: Router, request: Request, prompt: str, strategy: str) -> dict[str, Any]:
    context = context_of(request.scope)
    options = read_options(context.headers, strategies=STRATEGIES)
    decided = await router.decide(
        router_pb2.Ask(
            request_id=context.request_id,
            tenant=caller_of(request.scope).tenant,
            strategy=router_pb2.Strategy(name=strategy, parameters_json=options.parameters_json),
            body=body_of(check_text(prompt, "prompt"), _MAX_TOKENS),
        )
    )
    explanation = orjson.loads(decided.decision_json or b"{}")
    priced = decided.HasField("expected_cost_nano_usd")
    return {
        "provider": decided.provider,
        "model": decided.model,
        "strategy": decided.strategy,
        "confidence": decided.confidence,
        "reasoning": explanation.get("reasoning"),
        "expected_cost": usd(decided.expected_cost_nano_usd if priced else None),
        "routing_metadata": explanation,
    }


def _provider(provider: router_pb2.Provider) -> dict[str, Any]:
    return {
        "name": provider.name,
        "wire": provider.wire,
        "enabled": provider.enabled,
        "why_off": provider.why_off or None,
        "models": provider.models,
        "sandbox": provider.sandbox,
    }


def _models(listed: router_pb2.ListModelsResponse) -> list[dict[str, Any]]:
    """List what can be asked now: routing first, then the models that are on."""
    routed = [AUTO, *(f"{AUTO}:{strategy}" for strategy in listed.strategies)]
    return [
        *(
            {"id": name, "object": "model", "created": 0, "owned_by": "optimizer"}
            for name in routed
        ),
        *(_model(model) for model in listed.models if model.enabled),
    ]


def _model(model: router_pb2.Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": model.provider,
        "tier": model.tier,
        "context_tokens": model.context_tokens,
        "capabilities": list(model.capabilities),
        "price_usd_per_million": _prices(model),
    }


def _prices(model: router_pb2.Model) -> dict[str, float | None] | None:
    if not model.HasField("input_nano_usd_per_million"):
        return None
    cached = model.HasField("cached_input_nano_usd_per_million")
    return {
        "input": usd(model.input_nano_usd_per_million),
        "cached_input": usd(model.cached_input_nano_usd_per_million if cached else None),
        "output": usd(model.output_nano_usd_per_million),
    }
