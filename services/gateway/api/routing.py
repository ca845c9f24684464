"""What would happen to a prompt, what would have cost how much, and which models there are."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request
from optimizer.router.v1 import router_pb2
from pydantic import BaseModel, Field
from starlette.responses import Response

from common.money import usd
from common.strategies import STRATEGIES
from services.gateway.api.body import BodyReader, check_text
from services.gateway.api.complete import body_of, check_strategy
from services.gateway.api.context import caller_of, context_of
from services.gateway.api.forms import answers, body, json, known, reads, rfc3339
from services.gateway.clients.router import Router
from services.gateway.domain.defaults import Scope
from services.gateway.domain.openai_wire import AUTO, unknown_model
from services.gateway.domain.options import read_options
from services.gateway.usecases import Completions

Usual = Callable[[Scope, router_pb2.Strategy], router_pb2.Strategy]
Prompt = Annotated[str, Query(min_length=1, max_length=10_000)]
_MAX_TOKENS = 1000  # what POST /complete assumes
_STATES = {
    router_pb2.Breaker.STATE_CLOSED: "closed",
    router_pb2.Breaker.STATE_OPEN: "open",
    router_pb2.Breaker.STATE_HALF_OPEN: "half_open",
}


class DecisionAnswer(BaseModel):
    provider: str
    model: str
    strategy: str
    confidence: str
    reasoning: str | None
    expected_cost: float | None
    routing_metadata: dict[str, Any]


class EstimateForm(BaseModel):
    strategy: str = Field(description="cheapest, best, complexity or fixed")
    parameters: dict[str, Any] = Field(default_factory=dict)
    days: int = Field(default=7, ge=1, le=30, description="looked back on")


class EstimateAnswer(BaseModel):
    """What another strategy would have cost: an estimate, never a measurement."""

    label: Literal["estimate"]
    strategy: str
    requests: int = Field(description="it was told from; 50,000 at most, the newest")
    actual_avg_cost: float | None = Field(description="of these requests, USD")
    estimated_avg_cost: float | None = Field(description="with that strategy, USD")
    low: float | None = Field(description="95 % interval of the estimate, USD")
    high: float | None
    saved_ratio: float | None = Field(description="of the actual cost; below 0: it would cost more")
    effective_sample_size: float = Field(
        description="requests that went where it would have sent them, by weight"
    )
    overlap_ratio: float | None = Field(
        description="share of requests that could have gone where it would have sent them, 0 to 1"
    )
    reason: str | None = Field(description="why something is null; null: nothing is")


class BreakerAnswer(BaseModel):
    model: str
    state: Literal["closed", "open", "half_open"] = Field(
        description="in use; left alone; rested, so that the next call shows whether it is back"
    )
    open_until: str | None = Field(description="RFC 3339, UTC; null: it is not open")
    reason: str | None = Field(
        description="the kind of failure, such as overloaded; null: it is closed"
    )


class ProviderAnswer(BaseModel):
    name: str
    wire: str
    enabled: bool
    why_off: str | None
    models: int
    sandbox: bool
    breakers: list[BreakerAnswer] = Field(description="of its models; empty while it is off")


class ProvidersAnswer(BaseModel):
    providers: list[ProviderAnswer]
    replica: str | None = Field(
        description="the router whose breakers these are: each has its own; random, until it"
        " restarts"
    )


class ModelAnswer(BaseModel):
    id: str
    object: str
    created: int
    owned_by: str


class ModelsAnswer(BaseModel):
    object: str
    data: list[ModelAnswer]
    baseline_model: str | None = Field(
        description="what savings are measured against; null: there is nothing to compare with"
    )


def routes(router: Router, completions: Completions, *, read_body: BodyReader) -> APIRouter:
    api = APIRouter(tags=["routing"])
    form = Depends(reads(EstimateForm, read_body))

    @api.get("/recommendation", responses=answers(DecisionAnswer))
    async def recommendation(
        request: Request, prompt: Prompt, strategy: str | None = None
    ) -> Response:
        check_strategy(strategy)
        usual = None if strategy else completions.default_of
        return json(await _decide(router, request, prompt, strategy or "", usual))

    @api.get("/routing/decision", responses=answers(DecisionAnswer))
    async def routing_decision(
        request: Request, prompt: Prompt, auto_route: bool = False
    ) -> Response:
        strategy = "hybrid" if auto_route else "complexity"
        usual = completions.default_of if auto_route else None
        return json(await _decide(router, request, prompt, strategy, usual))

    @api.post(
        "/routing/estimate", responses=answers(EstimateAnswer), openapi_extra=body(EstimateForm)
    )
    async def estimate_strategy(wanted: Annotated[EstimateForm, form]) -> Response:
        check_strategy(wanted.strategy)
        parameters = orjson.dumps(wanted.parameters) if wanted.parameters else b""
        strategy = router_pb2.Strategy(name=wanted.strategy, parameters_json=parameters)
        request = router_pb2.EstimateStrategyRequest(strategy=strategy, days=wanted.days)
        return json(_estimate(wanted.strategy, await router.estimate(request)))

    @api.get("/providers", responses=answers(ProvidersAnswer))
    async def providers() -> Response:
        listed = await router.providers()
        return json(
            {
                "providers": [_provider(one) for one in listed.providers],
                "replica": listed.replica or None,
            }
        )

    @api.get("/v1/models", responses={200: {"model": ModelsAnswer}}, tags=["openai"])
    async def list_models() -> Response:
        listed = await router.models()
        return json(
            {
                "object": "list",
                "data": _models(listed),
                "baseline_model": listed.baseline_model or None,
            }
        )

    @api.get("/v1/models/{model_id:path}", responses={200: {"model": ModelAnswer}}, tags=["openai"])
    async def get_model(model_id: str) -> Response:
        found = next((m for m in _models(await router.models()) if m["id"] == model_id), None)
        if found is None:
            raise unknown_model(model_id[:200])
        return json(found)

    return api


async def _decide(
    router: Router, request: Request, prompt: str, name: str, usual: Usual | None
) -> dict[str, Any]:
    """Decide as a completion would be: *usual* knows what serves it if the choice is left to us."""
    context, tenant = context_of(request.scope), caller_of(request.scope).tenant
    options = read_options(context.headers, strategies=STRATEGIES)
    strategy = router_pb2.Strategy(name=name, parameters_json=options.parameters_json)
    if usual and not options.parameters_json:
        strategy = usual(Scope(tenant, options.tag), strategy)
    decided = await router.decide(
        router_pb2.Ask(
            request_id=context.request_id,
            tenant=tenant,
            strategy=strategy,
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


def _estimate(strategy: str, found: router_pb2.EstimateStrategyResponse) -> dict[str, Any]:
    return {
        "label": "estimate",
        "strategy": strategy,
        "requests": found.requests,
        "actual_avg_cost": usd(known(found, "actual_avg_cost_nano_usd")),
        "estimated_avg_cost": usd(known(found, "estimated_avg_cost_nano_usd")),
        "low": usd(known(found, "low_nano_usd")),
        "high": usd(known(found, "high_nano_usd")),
        "saved_ratio": known(found, "saved_ratio"),
        "effective_sample_size": found.effective_sample_size,
        "overlap_ratio": known(found, "overlap_ratio"),
        "reason": found.reason or None,
    }


def _provider(provider: router_pb2.Provider) -> dict[str, Any]:
    return {
        "name": provider.name,
        "wire": provider.wire,
        "enabled": provider.enabled,
        "why_off": provider.why_off or None,
        "models": provider.models,
        "sandbox": provider.sandbox,
        "breakers": [_breaker(one) for one in provider.breakers],
    }


def _breaker(breaker: router_pb2.Breaker) -> dict[str, Any]:
    until_ms = known(breaker, "open_until_ms")
    return {
        "model": breaker.model,
        "state": _STATES.get(breaker.state, "closed"),
        "open_until": None if until_ms is None else rfc3339(until_ms),
        "reason": breaker.reason or None,
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
