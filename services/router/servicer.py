"""The router's gRPC face: decode, delegate, encode. Nothing is decided here."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeAlias

import orjson
from optimizer.router.v1 import ledger_pb2, router_pb2, router_pb2_grpc

from common.errors import Invalid
from common.grpc_server import LONGEST_CALL_S, Context, remaining_s
from common.wire import json_field, uuid_field
from services.router import learning_wire, provider_wire, request_wire
from services.router.domain.catalog import Catalog, Model
from services.router.domain.request import Ask, StrategyChoice
from services.router.estimates import Estimates
from services.router.feedback import Feedback
from services.router.providers.breaker import Breakers
from services.router.store.feedback_stats import FeedbackStats
from services.router.store.learned import Learned
from services.router.store.ledger_reader import LedgerReader
from services.router.store.requests import Requests
from services.router.store.usage import Used
from services.router.usecases import Answer, Routing

LONGEST_EMBED_S = 60.0

ReadsUsage: TypeAlias = Callable[[date, str | None], AsyncIterator[tuple[datetime, Sequence[Used]]]]


def _check_messages(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages must be a list of at least one message", param="messages")


def _check_input(body: Mapping[str, Any]) -> None:
    wanted = body.get("input")
    if not isinstance(wanted, str | list) or not wanted:
        raise Invalid("input must be text or a list, and not empty", param="input")


class RouterServicer(router_pb2_grpc.RouterServiceServicer):
    """Failures are raised as `common.errors`; the server's interceptor gives them their code."""

    def __init__(
        self,
        routing: Routing,
        reader: LedgerReader,
        learned: Learned,
        *,
        feedback: Feedback,
        stats: FeedbackStats,
        estimates: Estimates,
        requests: Requests,
        breakers: Breakers,
        replica: str,
        usage: ReadsUsage,
        longest_s: float = LONGEST_CALL_S,
    ) -> None:
        self._routing = routing
        self._longest_s = longest_s
        self._reader = reader
        self._learned = learned
        self._feedback = feedback
        self._stats = stats
        self._estimates = estimates
        self._requests = requests
        self._breakers = breakers
        self._replica = replica
        self._usage = usage

    async def Complete(
        self, request: router_pb2.CompleteRequest, context: Context
    ) -> router_pb2.CompleteResponse:
        ask = self._ask(request.ask)
        answer = await self._routing.complete(ask, timeout_s=self._time_for(context))
        return router_pb2.CompleteResponse(body=answer.body, outcome=_outcome(answer))

    async def StreamComplete(
        self, request: router_pb2.StreamCompleteRequest, context: Context
    ) -> AsyncIterator[router_pb2.StreamCompleteResponse]:
        ask = self._ask(request.ask, streamed=True)
        async for event in self._routing.stream(ask, timeout_s=self._time_for(context)):
            if not isinstance(event, Answer):
                yield router_pb2.StreamCompleteResponse(chunks=router_pb2.Chunks(json=event))
            elif event.finished:
                yield router_pb2.StreamCompleteResponse(finished=_outcome(event), tail=event.tail)
            else:
                yield router_pb2.StreamCompleteResponse(started=_outcome(event))

    async def Decide(
        self, request: router_pb2.DecideRequest, _context: Context
    ) -> router_pb2.DecideResponse:
        decision = await self._routing.decide(self._ask(request.ask))
        chosen = decision.chosen
        return router_pb2.DecideResponse(
            provider=chosen.model.provider,
            model=chosen.model.name,
            strategy=decision.strategy,
            confidence=decision.confidence,
            decision_json=orjson.dumps(decision.explanation),
            expected_cost_nano_usd=chosen.expected_cost_nano_usd,
        )

    async def ListModels(
        self, _request: router_pb2.ListModelsRequest, _context: Context
    ) -> router_pb2.ListModelsResponse:
        catalog = self._routing.catalog
        baseline = catalog.baseline()
        return router_pb2.ListModelsResponse(
            models=[_model(m, catalog) for m in catalog.models.values()],
            default_strategy=catalog.default_strategy,
            baseline_model=baseline.name if baseline else "",
            strategies=self._routing.strategy_names(),
        )

    async def ListProviders(
        self, _request: router_pb2.ListProvidersRequest, _context: Context
    ) -> router_pb2.ListProvidersResponse:
        catalog = self._routing.catalog
        return router_pb2.ListProvidersResponse(
            providers=[
                provider_wire.provider(p, catalog, self._breakers)
                for p in catalog.providers.values()
            ],
            replica=self._replica,
        )

    async def RecordFeedback(
        self, request: router_pb2.RecordFeedbackRequest, _context: Context
    ) -> router_pb2.RecordFeedbackResponse:
        request_id = uuid_field(request.request_id, "request_id")
        revision = await self._feedback.rate(
            request_id,
            tenant=request.tenant,
            quality_score=request.quality_score,
            is_correct=request.is_correct,
            is_helpful=request.is_helpful if request.HasField("is_helpful") else None,
            comment=request.comment,
        )
        return router_pb2.RecordFeedbackResponse(
            feedback_id=f"{request_id}.{revision}", revision=revision
        )

    async def RecordVote(
        self, request: router_pb2.RecordVoteRequest, _context: Context
    ) -> router_pb2.RecordVoteResponse:
        voted = await self._feedback.vote(
            request.cache_key,
            tenant=request.tenant,
            rating=request.rating,
            comment=request.comment,
        )
        return router_pb2.RecordVoteResponse(
            quality_score=voted.score,
            up=voted.up,
            down=voted.down,
            invalidated=voted.invalidated,
        )

    async def GetFeedbackSummary(
        self, request: router_pb2.GetFeedbackSummaryRequest, _context: Context
    ) -> router_pb2.GetFeedbackSummaryResponse:
        return learning_wire.summary(await self._stats.summary(request.days))

    async def GetPerformanceTrends(
        self, request: router_pb2.GetPerformanceTrendsRequest, _context: Context
    ) -> router_pb2.GetPerformanceTrendsResponse:
        return learning_wire.trends(await self._stats.trends(request.pattern, request.days))

    async def EstimateStrategy(
        self, request: router_pb2.EstimateStrategyRequest, _context: Context
    ) -> router_pb2.EstimateStrategyResponse:
        choice = self._choice(request.strategy)
        return learning_wire.estimate(await self._estimates.of(choice, request.days))

    async def ListRequests(
        self, request: router_pb2.ListRequestsRequest, _context: Context
    ) -> router_pb2.ListRequestsResponse:
        page = await self._requests.page(
            request_wire.wanted(request),
            before=uuid_field(request.before, "before") if request.before else None,
            limit=request.limit,
        )
        return router_pb2.ListRequestsResponse(
            requests=map(request_wire.listed, page.requests),
            next=str(page.next) if page.next else "",
        )

    async def GetRequest(
        self, request: router_pb2.GetRequestRequest, _context: Context
    ) -> router_pb2.GetRequestResponse:
        found = await self._requests.find(
            uuid_field(request.request_id, "request_id"), tenant=request.tenant or None
        )
        return request_wire.story(found)

    async def ReadUsage(
        self, request: router_pb2.ReadUsageRequest, _context: Context
    ) -> AsyncIterator[router_pb2.ReadUsageResponse]:
        day = request_wire.day(request.day)
        async for hour, used in self._usage(day, request.tenant or None):
            yield request_wire.usage(hour, used)

    async def ReadLedger(
        self, request: ledger_pb2.ReadLedgerRequest, _context: Context
    ) -> ledger_pb2.ReadLedgerResponse:
        return await self._reader.read(request.consumer, request.cursor, request.limit)

    async def GetLearningStatus(
        self, _request: router_pb2.GetLearningStatusRequest, _context: Context
    ) -> router_pb2.GetLearningStatusResponse:
        return learning_wire.status(self._learned.status())

    async def RetrainLearning(
        self, request: router_pb2.RetrainLearningRequest, _context: Context
    ) -> router_pb2.RetrainLearningResponse:
        return learning_wire.retrained(await self._learned.retrain(dry_run=request.dry_run))

    async def Embed(
        self, request: router_pb2.EmbedRequest, context: Context
    ) -> router_pb2.EmbedResponse:
        ask = self._ask(request.ask, check=_check_input)
        if ask.model is None:
            raise Invalid("pin a model: vectors of two models cannot be compared", param="model")
        timeout_s = min(self._time_for(context), LONGEST_EMBED_S)
        answer = await self._routing.embed(ask, timeout_s=timeout_s)
        return router_pb2.EmbedResponse(body=answer.body, outcome=_outcome(answer))

    def _time_for(self, context: Context) -> float:
        return min(remaining_s(context), self._longest_s)

    def _ask(
        self,
        ask: router_pb2.Ask,
        *,
        streamed: bool = False,
        check: Callable[[Mapping[str, Any]], None] = _check_messages,
    ) -> Ask:
        body = json_field(ask.body, "body")
        check(body)
        return Ask(
            request_id=uuid_field(ask.request_id, "request_id"),
            tenant=ask.tenant,
            user_id=ask.user_id or None,
            model=ask.model or None,
            strategy=self._choice(ask.strategy),
            body=body,
            use_cache=ask.use_cache,
            streamed=streamed,
            experiment_id=ask.experiment_id or None,
            arm=ask.arm or None,
            internal=ask.internal,
        )

    def _choice(self, strategy: router_pb2.Strategy) -> StrategyChoice:
        return StrategyChoice(
            strategy.name or self._routing.catalog.default_strategy,
            json_field(strategy.parameters_json, "strategy.parameters"),
            strategy.snapshot,
        )


def _outcome(answer: Answer) -> router_pb2.Outcome:
    return router_pb2.Outcome(
        provider=answer.provider,
        model=answer.model,
        strategy=answer.strategy,
        confidence=answer.confidence,
        decision_json=answer.decision_json,
        usage=router_pb2.Usage(
            input_tokens=answer.usage.input_tokens,
            output_tokens=answer.usage.output_tokens,
            cached_input_tokens=answer.usage.cached_input_tokens,
            estimated=answer.usage.estimated,
        ),
        cost_nano_usd=answer.cost_nano_usd,
        pricing=answer.pricing,
        cache_hit=answer.cache_hit,
        cache_key=answer.cache_key or "",
        original_cost_nano_usd=answer.original_cost_nano_usd,
        baseline_cost_nano_usd=answer.baseline_cost_nano_usd,
        fallbacks=answer.fallbacks,
        latency_ms=answer.latency_ms,
        overhead_ms=answer.overhead_ms,
    )


def _model(model: Model, catalog: Catalog) -> router_pb2.Model:
    price = model.price
    return router_pb2.Model(
        name=model.name,
        provider=model.provider,
        tier=model.tier,
        capability=model.capability,
        context_tokens=model.context_tokens,
        capabilities=sorted(model.capabilities),
        enabled=model.enabled and catalog.providers[model.provider].enabled,
        input_nano_usd_per_million=price.input if price else None,
        cached_input_nano_usd_per_million=price.cached_input if price else None,
        output_nano_usd_per_million=price.output if price else None,
        price_version=price.version if price else 0,
    )
