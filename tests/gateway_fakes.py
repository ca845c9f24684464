"""Scripted neighbours of the gateway, behind real gRPC, and the gateway itself on a free port."""
# ruff: noqa: N802 - RPC names are CamelCase by protocol

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
from optimizer.experiments.v1 import experiments_pb2 as exp
from optimizer.experiments.v1 import experiments_pb2_grpc
from optimizer.metrics.v1 import metrics_pb2, metrics_pb2_grpc
from optimizer.router.v1 import ledger_pb2, router_pb2, router_pb2_grpc

from common.errors import Failure, NotFound
from common.grpc_server import GrpcServer
from common.settings import ServiceSettings
from services.gateway.__main__ import Gateway, build
from services.gateway.settings import GatewaySettings

TOKEN = "shared-token"
NOWHERE = "postgresql://gateway@127.0.0.1:1/optimizer"
SNAPSHOT = b'{"total_decisions":3,"timestamp":"2025-01-01T00:00:00.000Z"}'


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
    """Answers what it is told to; a Failure in its place is raised, an Event is waited for."""

    answer: Any = None
    decision: Any = None
    stream: tuple[Any, ...] = GREETING
    asks: list[router_pb2.Ask] = field(default_factory=list)
    feedback: list[router_pb2.RecordFeedbackRequest] = field(default_factory=list)
    vote: Any = None
    votes: list[router_pb2.RecordVoteRequest] = field(default_factory=list)
    rows: list[ledger_pb2.LedgerRow] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def Complete(self, request: Any, context: Any) -> router_pb2.CompleteResponse:
        self.asks.append(request.ask)
        self.asked.set()
        try:
            answer = await _play(self.answer)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return answer or router_pb2.CompleteResponse(body=a_completion(), outcome=an_outcome())

    async def StreamComplete(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.asks.append(request.ask)
        self.asked.set()
        try:
            for step in self.stream:
                if (message := await _play(step)) is not None:
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
        await _play(self.decision)
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
        on = router_pb2.Provider(name="acme", wire="openai", enabled=True, models=1)
        off = router_pb2.Provider(name="dark", wire="openai", why_off="DARK_KEY is not set")
        return router_pb2.ListProvidersResponse(providers=[on, off])

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
        answer = await _play(self.vote)
        self.votes.append(request)
        return answer or router_pb2.RecordVoteResponse(quality_score=1 / 3, up=2, down=1)

    async def GetLearningStatus(
        self, request: Any, context: Any
    ) -> router_pb2.GetLearningStatusResponse:
        learned = router_pb2.LearnedModel(
            model="acme/small", difficulty="simple", quality=0.75, evidence=4
        )
        return router_pb2.GetLearningStatusResponse(models=[learned])

    async def ReadLedger(self, request: Any, context: Any) -> ledger_pb2.ReadLedgerResponse:
        seen = int(request.cursor or 0)
        return ledger_pb2.ReadLedgerResponse(
            rows=self.rows[seen:], next_cursor=str(len(self.rows)), more=False
        )


async def _play(step: Any) -> Any:
    if isinstance(step, Failure):
        raise step
    if isinstance(step, asyncio.Event):
        await step.wait()
        return None
    return step


@dataclass
class FakeExperiments(experiments_pb2_grpc.ExperimentsServiceServicer):
    recorded: bool = True
    silent: bool = False
    made: list[exp.CreateRequest] = field(default_factory=list)

    async def Create(self, request: Any, context: Any) -> exp.CreateResponse:
        self.made.append(request)
        return exp.CreateResponse(experiment=an_experiment(arms=request.arms, name=request.name))

    async def Get(self, request: Any, context: Any) -> exp.GetResponse:
        return exp.GetResponse(experiment=_known(request.id))

    async def List(self, request: Any, context: Any) -> exp.ListResponse:
        return exp.ListResponse(experiments=[an_experiment(id=2), an_experiment(id=1)])

    async def Assign(self, request: Any, context: Any) -> exp.AssignResponse:
        _known(request.experiment_id)
        if self.silent:
            await asyncio.Event().wait()
        arm = exp.Arm(name="test", strategy="cheapest", parameters_json=b'{"a":1}')
        return exp.AssignResponse(arm=arm, recorded=self.recorded)

    async def Analyze(self, request: Any, context: Any) -> exp.AnalyzeResponse:
        return exp.AnalyzeResponse(
            experiment=_known(request.experiment_id),
            arms=[
                exp.ArmResults(name="control", count=2, users=2, avg_cost_nano_usd=1_500.0),
                exp.ArmResults(name="test"),
            ],
            p_value_fixed=0.25,
            confidence_level=0.95,
        )

    async def Complete(self, request: Any, context: Any) -> exp.CompleteResponse:
        _known(request.id)
        ended = an_experiment(status=exp.Experiment.STATUS_COMPLETED, completed_at_ms=2_000)
        return exp.CompleteResponse(experiment=ended)

    async def Cancel(self, request: Any, context: Any) -> exp.CancelResponse:
        _known(request.id)
        return exp.CancelResponse(
            experiment=an_experiment(status=exp.Experiment.STATUS_CANCELLED, completed_at_ms=2_000)
        )


def an_experiment(**changes: Any) -> exp.Experiment:
    fields: dict[str, Any] = {
        "id": 1,
        "name": "cheaper?",
        "arms": [
            exp.Arm(name="control", strategy="complexity"),
            exp.Arm(name="test", strategy="cheapest"),
        ],
        "sample_size": 10,
        "status": exp.Experiment.STATUS_RUNNING,
        "created_at_ms": 1_000,
    }
    return exp.Experiment(**{**fields, **changes})


def _known(experiment_id: int) -> exp.Experiment:
    if experiment_id > 100:
        raise NotFound("no such experiment")
    return an_experiment(id=experiment_id)


@dataclass
class FakeMetrics(metrics_pb2_grpc.MetricsServiceServicer):
    snapshots: int = 0

    async def GetSnapshot(self, request: Any, context: Any) -> metrics_pb2.GetSnapshotResponse:
        self.snapshots += 1
        return metrics_pb2.GetSnapshotResponse(json=SNAPSHOT)

    async def GetStats(self, request: Any, context: Any) -> metrics_pb2.GetStatsResponse:
        totals = metrics_pb2.Totals(
            requests=5,
            cost_nano_usd=10**9,
            compared_cost_nano_usd=5 * 10**8,  # of the requests that the baseline speaks of
            baseline_cost_nano_usd=3 * 10**9,
        )
        return metrics_pb2.GetStatsResponse(totals=totals)


@dataclass
class Stack:
    """A gateway with its scripted neighbours."""

    settings: GatewaySettings
    router: FakeRouter
    experiments: FakeExperiments
    metrics: FakeMetrics
    gateway: Gateway
    client: httpx.AsyncClient
    router_server: GrpcServer
    metrics_server: GrpcServer
    stop: asyncio.Event

    @property
    def url(self) -> str:
        return f"http://{self.gateway.address}"

    @property
    def address(self) -> tuple[str, int]:
        host, _, number = self.gateway.address.rpartition(":")
        return host, int(number)

    def forget(self) -> None:
        """Let the neighbours answer as at the start."""
        for fake in (self.router, self.experiments, self.metrics):
            fake.__init__()  # type: ignore[misc]


@asynccontextmanager
async def a_stack(**changes: Any) -> AsyncIterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="gateway-"))
    router, experiments, metrics = FakeRouter(), FakeExperiments(), FakeMetrics()
    servers = {
        "router": router_pb2_grpc.add_RouterServiceServicer_to_server,
        "experiments": experiments_pb2_grpc.add_ExperimentsServiceServicer_to_server,
        "metrics": metrics_pb2_grpc.add_MetricsServiceServicer_to_server,
    }
    fakes = {"router": router, "experiments": experiments, "metrics": metrics}
    running = [
        GrpcServer(
            _server_settings(f"unix:{folder}/{name}"), [lambda s, n=name, a=add: a(fakes[n], s)]
        )
        for name, add in servers.items()
    ]
    for server in running:
        await server.start()
    settings = GatewaySettings(
        **{
            "database_url": NOWHERE,
            "database_pool_min": 0,
            "internal_token": TOKEN,
            "listen": "127.0.0.1:0",
            "operations_listen": "127.0.0.1:0",
            "router_target": f"unix:{folder}/router",
            "experiments_target": f"unix:{folder}/experiments",
            "metrics_target": f"unix:{folder}/metrics",
            "drain_s": 2,
            **changes,
        }
    )
    gateway, stop = build(settings), asyncio.Event()
    task = asyncio.create_task(gateway.run(stop))
    listening = asyncio.create_task(gateway.listening.wait())
    await asyncio.wait((task, listening), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        async with httpx.AsyncClient(base_url=f"http://{gateway.address}", timeout=10) as client:
            yield Stack(
                settings,
                router,
                experiments,
                metrics,
                gateway,
                client,
                running[0],
                running[2],
                stop,
            )
    finally:
        stop.set()
        await task
        for server in running:
            await server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _server_settings(listen: str) -> ServiceSettings:
    return ServiceSettings(
        database_url=NOWHERE, internal_token=TOKEN, grpc_listen=listen, drain_s=0
    )
