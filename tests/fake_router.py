"""The router, scripted, as the gateway's tests meet it."""
# ruff: noqa: N802 - RPC names are CamelCase by protocol

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from optimizer.router.v1 import ledger_pb2, router_pb2, router_pb2_grpc

from common.errors import Failure, NotFound
from common.ids import new_id


def an_outcome(**changes: Any) -> router_pb2.Outcome:
    fields: dict[str, Any] = {
        "provider": "acme",
        "model": "acme/small",
        "strategy": "hybrid",
        "confidence": "high",
        "decision_json": b'{"complexity":"simple","reasoning":"short","candidates":[]}',
        "usage": router_pb2.Usage(input_tokens=7, output_tokens=2),
        "cost_nano_usd": 1_500,
        "pricing": "priced",
        "cache_key": "k",
        "baseline_cost_nano_usd": 9_000,
        "latency_ms": 3.5,
    }
    wanted = {**fields, **changes}
    return router_pb2.Outcome(**{k: v for k, v in wanted.items() if v is not None})


def a_completion(text: Any = "Hello!") -> bytes:
    return orjson.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "acme/small",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
        }
    )


def a_chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    return orjson.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "acme/small",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        }
    )


def chunks(*json: bytes) -> router_pb2.StreamCompleteResponse:
    return router_pb2.StreamCompleteResponse(chunks=router_pb2.Chunks(json=json))


def started() -> router_pb2.StreamCompleteResponse:
    outcome = an_outcome(cost_nano_usd=None, usage=None)
    return router_pb2.StreamCompleteResponse(started=outcome)


def finished(*tail: bytes) -> router_pb2.StreamCompleteResponse:
    return router_pb2.StreamCompleteResponse(finished=an_outcome(), tail=tail)


GREETING = (
    started(),
    chunks(a_chunk({"role": "assistant", "content": ""}), a_chunk({"content": "Hel"})),
    chunks(a_chunk({"content": "lo!"})),
    finished(a_chunk({}, "stop")),
)


@dataclass
class FakeRouter(router_pb2_grpc.RouterServiceServicer):
    """
    Answers what it is told to; a Failure in its place is raised, an Event is waited for.

    A function in the place of `answer` is given the ask, and says which of these it is.
    """

    answer: Any = None
    decision: Any = None
    stream: tuple[Any, ...] = GREETING
    asks: list[router_pb2.Ask] = field(default_factory=list)
    feedback: list[router_pb2.RecordFeedbackRequest] = field(default_factory=list)
    vote: Any = None
    votes: list[router_pb2.RecordVoteRequest] = field(default_factory=list)
    learning: Any = None  # in place of what status, retrain, summary, trends and estimates say
    learning_asks: list[Any] = field(default_factory=list)
    looks: list[Any] = field(default_factory=list)  # at requests and usage
    given: router_pb2.GivenFeedback | None = None
    usage: tuple[Any, ...] = ()
    breakers: tuple[router_pb2.Breaker, ...] = ()
    replica: str = ""  # as an older router says
    rows: list[ledger_pb2.LedgerRow] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def Complete(self, request: Any, context: Any) -> router_pb2.CompleteResponse:
        self.asks.append(request.ask)
        self.asked.set()
        try:
            answer = await play(self.answer(request.ask) if callable(self.answer) else self.answer)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return answer or router_pb2.CompleteResponse(body=a_completion(), outcome=an_outcome())

    async def StreamComplete(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.asks.append(request.ask)
        self.asked.set()
        try:
            for step in self.stream:
                if (message := await play(step)) is not None:
                    yield message
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise

    async def Embed(self, request: Any, context: Any) -> router_pb2.EmbedResponse:
        self.asks.append(request.ask)
        vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        body = orjson.dumps(
            {"object": "list", "data": [vector], "model": "acme/embed", "usage": usage}
        )
        return router_pb2.EmbedResponse(body=body, outcome=an_outcome(model="acme/embed"))

    async def Decide(self, request: Any, context: Any) -> router_pb2.DecideResponse:
        self.asks.append(request.ask)
        await play(self.decision)
        return router_pb2.DecideResponse(
            provider="acme",
            model="acme/small",
            strategy=request.ask.strategy.name,
            confidence="medium",
            decision_json=b'{"reasoning":"short","complexity":"simple"}',
            expected_cost_nano_usd=1_000,
        )

    async def ListModels(self, request: Any, context: Any) -> router_pb2.ListModelsResponse:
        on = router_pb2.Model(
            name="acme/small",
            provider="acme",
            enabled=True,
            input_nano_usd_per_million=100_000_000,
            output_nano_usd_per_million=200_000_000,
        )
        off = router_pb2.Model(name="dark/large", provider="dark", enabled=False)
        return router_pb2.ListModelsResponse(
            models=[on, off], default_strategy="hybrid", strategies=["hybrid", "cheapest"]
        )

    async def ListProviders(self, request: Any, context: Any) -> router_pb2.ListProvidersResponse:
        on = router_pb2.Provider(
            name="acme", wire="openai", enabled=True, models=1, breakers=self.breakers
        )
        off = router_pb2.Provider(name="dark", wire="openai", why_off="DARK_KEY is not set")
        return router_pb2.ListProvidersResponse(providers=[on, off], replica=self.replica)

    async def RecordFeedback(self, request: Any, context: Any) -> router_pb2.RecordFeedbackResponse:
        if request.request_id.startswith("00000000"):
            raise NotFound("no such request")
        self.feedback.append(request)
        revision = len(self.feedback)
        return router_pb2.RecordFeedbackResponse(
            feedback_id=f"{request.request_id}.{revision}", revision=revision
        )

    async def RecordVote(self, request: Any, context: Any) -> router_pb2.RecordVoteResponse:
        if request.cache_key == "unknown":
            raise NotFound("there is no answer under sha256:...")
        answer = await play(self.vote)
        self.votes.append(request)
        return answer or router_pb2.RecordVoteResponse(quality_score=1 / 3, up=2, down=1)

    async def GetLearningStatus(
        self, request: Any, context: Any
    ) -> router_pb2.GetLearningStatusResponse:
        answer = await play(self.learning)
        return answer or router_pb2.GetLearningStatusResponse(models=[a_belief()])

    async def RetrainLearning(
        self, request: Any, context: Any
    ) -> router_pb2.RetrainLearningResponse:
        self.learning_asks.append(request)
        answer = await play(self.learning)
        return answer or router_pb2.RetrainLearningResponse(
            before=[a_belief()], after=[a_belief(quality=0.5)], outcomes=40
        )

    async def GetFeedbackSummary(
        self, request: Any, context: Any
    ) -> router_pb2.GetFeedbackSummaryResponse:
        self.learning_asks.append(request)
        answer = await play(self.learning)
        return answer or router_pb2.GetFeedbackSummaryResponse(days=request.days)

    async def GetPerformanceTrends(
        self, request: Any, context: Any
    ) -> router_pb2.GetPerformanceTrendsResponse:
        self.learning_asks.append(request)
        answer = await play(self.learning)
        return answer or router_pb2.GetPerformanceTrendsResponse(
            days=request.days, patterns=["code", "mathematics"]
        )

    async def EstimateStrategy(
        self, request: Any, context: Any
    ) -> router_pb2.EstimateStrategyResponse:
        self.learning_asks.append(request)
        answer = await play(self.learning)
        return answer or router_pb2.EstimateStrategyResponse(reason="no request was routed")

    async def ListRequests(self, request: Any, context: Any) -> router_pb2.ListRequestsResponse:
        self.looks.append(request)
        return router_pb2.ListRequestsResponse(requests=[a_request()], next=str(new_id()))

    async def GetRequest(self, request: Any, context: Any) -> router_pb2.GetRequestResponse:
        self.looks.append(request)
        if request.request_id.startswith("00000000"):
            raise NotFound("no such request")
        return router_pb2.GetRequestResponse(
            request=a_request(request_id=request.request_id, error="timeout"),
            decision_json=b'{"reasoning":"short"}',
            attempts=[
                router_pb2.Attempt(model="acme/large", outcome="failed", error="x"),
                router_pb2.Attempt(model="acme/small", provider="acme", outcome="ok"),
            ],
            feedback=self.given,
        )

    async def ReadUsage(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.looks.append(request)
        for step in self.usage:
            yield await play(step)

    async def ReadLedger(self, request: Any, context: Any) -> ledger_pb2.ReadLedgerResponse:
        seen = int(request.cursor or 0)
        return ledger_pb2.ReadLedgerResponse(
            rows=self.rows[seen:], next_cursor=str(len(self.rows)), more=False
        )


def a_request(**changes: Any) -> router_pb2.Request:
    fields: dict[str, Any] = {
        "request_id": "01890000-0000-7000-8000-000000000000",
        "at_ms": 1_000,
        "strategy": "hybrid",
        "model": "acme/small",
        "provider": "acme",
        "outcome": "ok",
        "confidence": "high",
        "cost_nano_usd": 1_500,
        "latency_ms": 3.5,
        "input_tokens": 7,
        "output_tokens": 2,
    }
    return router_pb2.Request(**{**fields, **changes})


def a_belief(**changes: Any) -> router_pb2.LearnedModel:
    fields: dict[str, Any] = {
        "model": "acme/small",
        "difficulty": "simple",
        "quality": 0.75,
        "evidence": 4.0,
        "spread": 0.125,
        "outcomes": 5,
    }
    return router_pb2.LearnedModel(**{**fields, **changes})


async def play(step: Any) -> Any:
    if isinstance(step, Failure):
        raise step
    if isinstance(step, asyncio.Event):
        await step.wait()
        return None
    return step
