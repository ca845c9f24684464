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
from optimizer.experiments.v1 import experiments_pb2 as exp
from optimizer.experiments.v1 import experiments_pb2_grpc
from optimizer.metrics.v1 import metrics_pb2, metrics_pb2_grpc
from optimizer.router.v1 import router_pb2_grpc

from common.errors import Invalid, NotFound
from common.grpc_server import GrpcServer
from common.settings import ServiceSettings
from services.gateway.__main__ import Gateway, build
from services.gateway.settings import GatewaySettings
from tests.fake_router import FakeRouter, play

TOKEN = "shared-token"
NOWHERE = "postgresql://gateway@127.0.0.1:1/optimizer"
SNAPSHOT = b'{"total_decisions":3,"timestamp":"2025-01-01T00:00:00.000Z"}'


@dataclass
class FakeExperiments(experiments_pb2_grpc.ExperimentsServiceServicer):
    recorded: bool = True
    stopped: bool = False
    silent: bool = False
    freeze_learning: bool = False
    made: list[exp.CreateRequest] = field(default_factory=list)
    planned: list[exp.PlanRequest] = field(default_factory=list)
    imported: list[exp.ImportRequest] = field(default_factory=list)
    promoted: list[exp.Promotion] = field(default_factory=list)
    enrolling: list[exp.Enrolling] = field(default_factory=list)
    listed: asyncio.Event = field(default_factory=asyncio.Event)  # the gateway asked what stands
    comparing: exp.Comparing | None = None
    reservation: Any = None  # a Failure is raised, an Event is waited for
    reservations: list[exp.ReserveComparisonRequest] = field(default_factory=list)
    keeping: list[Any] = field(default_factory=list)  # the same, for one call after the other
    comparisons: asyncio.Queue[exp.RecordComparisonRequest] = field(default_factory=asyncio.Queue)

    async def Create(self, request: Any, context: Any) -> exp.CreateResponse:
        self.made.append(request)
        made = an_experiment(arms=request.arms, name=request.name, options=request.options)
        return exp.CreateResponse(experiment=made)

    async def Get(self, request: Any, context: Any) -> exp.GetResponse:
        return exp.GetResponse(experiment=_known(request.id))

    async def List(self, request: Any, context: Any) -> exp.ListResponse:
        return exp.ListResponse(experiments=[an_experiment(id=2), an_experiment(id=1)])

    async def Assign(self, request: Any, context: Any) -> exp.AssignResponse:
        _known(request.experiment_id)
        if self.silent:
            await asyncio.Event().wait()
        arm = exp.Arm(name="test", strategy="cheapest", parameters_json=b'{"a":1}')
        other = exp.Arm(name="control", strategy="best", parameters_json=b'{"b":2}')
        return exp.AssignResponse(
            arm=arm,
            recorded=self.recorded,
            stopped=self.stopped,
            freeze_learning=self.freeze_learning,
            comparing=self.comparing,
            other=other if self.comparing else None,
        )

    async def ReserveComparison(self, request: Any, context: Any) -> exp.ReserveComparisonResponse:
        self.reservations.append(request)
        await play(self.reservation)
        return exp.ReserveComparisonResponse()

    async def RecordComparison(self, request: Any, context: Any) -> exp.RecordComparisonResponse:
        await play(self.keeping.pop(0) if self.keeping else None)
        self.comparisons.put_nowait(request)
        return exp.RecordComparisonResponse()

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

    async def Plan(self, request: Any, context: Any) -> exp.PlanResponse:
        self.planned.append(request)
        return exp.PlanResponse(
            users_per_arm=100,
            users=100 * request.arms,
            requests=request.sample_size or 1_000,
            minimum_detectable_effect_ratio=request.minimum_detectable_effect_ratio or 0.2,
            variation=1.4,
            requests_per_user=5,
        )

    async def Import(self, request: Any, context: Any) -> exp.ImportResponse:
        _known(request.experiment_id)
        self.imported.append(request)
        return exp.ImportResponse(imported=len(request.results))

    async def Promote(self, request: Any, context: Any) -> exp.PromoteResponse:
        _known(request.id)
        arm = exp.Arm(name="test", strategy="cheapest")
        made = exp.Promotion(id=1, arm=arm, experiment_id=request.id, promoted_at_ms=1_000)
        self.promoted.append(made)
        return exp.PromoteResponse(promotion=made)

    async def RevertPromotion(self, request: Any, context: Any) -> exp.RevertPromotionResponse:
        if not self.promoted:
            raise NotFound("Promotion not found")
        made = self.promoted.pop()
        made.reverted_at_ms = 2_000
        made.reverted_by = request.by
        return exp.RevertPromotionResponse(promotion=made)

    async def ListPromotions(self, request: Any, context: Any) -> exp.ListPromotionsResponse:
        return exp.ListPromotionsResponse(promotions=self.promoted)

    async def ListEnrolling(self, request: Any, context: Any) -> exp.ListEnrollingResponse:
        self.listed.set()
        return exp.ListEnrollingResponse(experiments=self.enrolling)


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
    histories: list[metrics_pb2.GetHistoryRequest] = field(default_factory=list)

    async def GetHistory(self, request: Any, context: Any) -> metrics_pb2.GetHistoryResponse:
        self.histories.append(request)
        if request.window_s > 750 * request.step_s:
            raise Invalid("at most 750 steps: choose a larger step", param="step")
        busy = metrics_pb2.Totals(
            requests=3,
            failures=1,
            unpriced=1,
            input_tokens=20,
            cost_nano_usd=10**9,
            compared=1,
            compared_cost_nano_usd=5 * 10**8,
            baseline_cost_nano_usd=3 * 10**9,
            cache_compared=1,
            cache_saved_nano_usd=25 * 10**7,
            p50_ms=12.5,
        )
        steps = [busy, metrics_pb2.Totals(from_ms=60_000)]
        told = metrics_pb2.GetHistoryResponse(start_ms=0, count=2)
        if request.by:
            told.series.add(name="acme/small", steps=steps)
        else:
            told.steps.extend(steps)
        return told

    async def GetSnapshot(self, request: Any, context: Any) -> metrics_pb2.GetSnapshotResponse:
        self.snapshots += 1
        return metrics_pb2.GetSnapshotResponse(json=SNAPSHOT)

    async def GetStats(self, request: Any, context: Any) -> metrics_pb2.GetStatsResponse:
        totals = metrics_pb2.Totals(
            requests=5,
            cost_nano_usd=10**9,
            compared_cost_nano_usd=5 * 10**8,  # of the requests that the baseline speaks of
            baseline_cost_nano_usd=3 * 10**9,
            cache_saved_nano_usd=25 * 10**7,
            failures=1,
            p95_ms=12.5 if request.with_latency else None,
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
        async with httpx.AsyncClient(
            base_url=f"http://{gateway.address}",
            timeout=10,
            verify=False,  # no TLS here, so that nobody needs the world's certificates # noqa: S501
        ) as client:
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
