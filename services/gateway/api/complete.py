"""POST /complete: a prompt in, an answer out, and everything that is known about it."""

from typing import Any

import orjson
from optimizer.router.v1 import router_pb2
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from common.errors import Invalid
from common.money import usd
from common.strategies import STRATEGIES
from services.gateway.api.body import BodyReader, parse_form
from services.gateway.api.context import Caller, caller_of, context_of
from services.gateway.api.hangup import StopOnHangUp
from services.gateway.api.outcome import cost_header, headers
from services.gateway.api.respond import send_json
from services.gateway.comparisons import Comparisons
from services.gateway.domain import defaults
from services.gateway.domain.openai_wire import text_of
from services.gateway.domain.options import MAX_ID, NEEDS_USER, Options, read_options
from services.gateway.store.spend import Spend
from services.gateway.usecases import Completions, Placement, cost_of


class CompleteForm(BaseModel):
    prompt: str = Field(min_length=1, max_length=10_000)
    max_tokens: int = Field(default=1000, ge=1, le=10_000)
    auto_route: bool = Field(default=False, description="true: hybrid, false: complexity")
    strategy: str | None = Field(default=None, description="wins over auto_route")
    experiment_id: int | None = Field(default=None, ge=1, le=MAX_ID)
    user_id: str | None = Field(default=None, min_length=1, max_length=100)
    tokenizer_id: str | None = Field(default=None, min_length=1, max_length=200)


class CompleteAnswer(BaseModel):
    request_id: str
    response: str
    provider: str
    model: str
    strategy_used: str
    confidence: str = Field(description="high, medium or low")
    routing_metadata: dict[str, Any]
    tokens_in: int | None
    tokens_out: int | None
    tokens_estimated: bool
    cost: float | None = Field(description="USD; null: unpriced")
    total_cost_today: float = Field(description="USD since 00:00 UTC, this request included")
    latency_ms: float
    cache_hit: bool
    original_cost: float | None = Field(description="of a hit: what the cached answer cost")
    savings: float = Field(description="USD that the cache saved")
    cache_key: str | None
    experiment_assignment: str | None = Field(
        description="an arm, such as control or test; or null"
    )
    pricing: str = Field(description="priced, unpriced or cached")
    baseline_cost: float | None = Field(description="USD of the same tokens on the baseline model")
    tokenizer_id: str | None
    tokenizer_tokens_in: int | None


class Complete:
    route_path = "/complete"

    def __init__(
        self,
        completions: Completions,
        spend: Spend,
        comparisons: Comparisons,
        *,
        read_body: BodyReader,
    ) -> None:
        self._completions = completions
        self._spend = spend
        self._comparisons = comparisons
        self._read_body = read_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context, caller = context_of(scope), caller_of(scope)
        raw = await self._read_body(receive)
        form = parse_form(CompleteForm, raw)
        options = read_options(context.headers, strategies=STRATEGIES)
        placement = await self._place(form, options, caller)
        ask = router_pb2.Ask(
            request_id=context.request_id,
            tenant=caller.tenant,
            user_id=form.user_id or "",
            strategy=placement.strategy,
            body=body_of(form.prompt, form.max_tokens),
            use_cache=options.use_cache is not False,
            experiment_id=placement.experiment_id,
            arm=placement.arm,
        )
        async with StopOnHangUp(receive):
            response = await self._completions.complete(ask)
        context.outcome = response.outcome
        answer = self._answer(response, ask, placement, caller)
        told = [*headers(response.outcome, placement), cost_header(response.outcome)]
        await send_json(send, 200, orjson.dumps(answer), told)
        self._comparisons.offer(ask, placement, response)

    async def _place(self, form: CompleteForm, options: Options, caller: Caller) -> Placement:
        check_strategy(form.strategy)
        if form.experiment_id and form.user_id is None:
            raise Invalid(NEEDS_USER, code="user_id_required")
        wanted = router_pb2.Strategy(
            name=form.strategy or ("hybrid" if form.auto_route else "complexity"),
            parameters_json=options.parameters_json,
        )
        return await self._completions.place(
            wanted,
            experiment_id=form.experiment_id or 0,
            user_id=form.user_id or "",
            undecided=defaults.Scope(caller.tenant, options.tag)
            if form.auto_route and not form.strategy and not options.parameters_json
            else None,
        )

    def _answer(
        self,
        response: router_pb2.CompleteResponse,
        ask: router_pb2.Ask,
        placement: Placement,
        caller: Caller,
    ) -> dict[str, Any]:
        outcome = response.outcome
        cost = cost_of(outcome)
        usage = outcome.usage if outcome.HasField("usage") else None
        return {
            "request_id": ask.request_id,
            "response": text_of(orjson.loads(response.body)),
            "provider": outcome.provider,
            "model": outcome.model,
            "strategy_used": outcome.strategy,
            "confidence": outcome.confidence,
            "routing_metadata": explained(outcome.decision_json, placement.note),
            "tokens_in": usage.input_tokens if usage else None,
            "tokens_out": usage.output_tokens if usage else None,
            "tokens_estimated": usage.estimated if usage else False,
            "cost": usd(cost),
            "total_cost_today": usd(
                self._spend.today_nano_usd(None if caller.everyone else caller.tenant)
            ),
            "latency_ms": outcome.latency_ms,
            "cache_hit": outcome.cache_hit,
            **_saved(outcome, cost),
            "cache_key": outcome.cache_key or None,
            "experiment_assignment": placement.arm or None,
            "pricing": outcome.pricing,
            "baseline_cost": usd(_optional(outcome, "baseline_cost_nano_usd")),
            "tokenizer_id": None,
            "tokenizer_tokens_in": None,
        }


def check_strategy(name: str | None) -> None:
    if name is not None and name not in STRATEGIES:
        raise Invalid(
            f"strategy: must be one of {', '.join(STRATEGIES)}",
            code="invalid_value",
            param="strategy",
        )


def body_of(prompt: str, max_tokens: int) -> bytes:
    """Write a prompt as a chat completion request; equal prompts give equal bytes."""
    return orjson.dumps(
        {"messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens}
    )


def explained(decision_json: bytes, note: str) -> dict[str, Any]:
    """Return the decision's explanation, with what the gateway has to add."""
    explanation: dict[str, Any] = orjson.loads(decision_json) if decision_json else {}
    if note:
        explanation["note"] = note
    return explanation


def _saved(outcome: router_pb2.Outcome, cost: int | None) -> dict[str, float | None]:
    original = _optional(outcome, "original_cost_nano_usd") if outcome.cache_hit else None
    return {
        "original_cost": usd(original),
        "savings": usd(original - (cost or 0)) if original is not None else 0.0,
    }


def _optional(outcome: router_pb2.Outcome, name: str) -> int | None:
    value: int | None = getattr(outcome, name) if outcome.HasField(name) else None  # type: ignore[arg-type]
    return value
