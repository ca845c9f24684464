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

from common.errors import NotFound
from common.grpc_server import GrpcServer
from common.settings import ServiceSettings
from services.gateway.__main__ import Gateway, build
from services.gateway.settings import GatewaySettings
from tests.fake_router import FakeRouter

TOKEN = "shared-token"
NOWHERE = "postgresql://gateway@127.0.0.1:1/optimizer"
SNAPSHOT = b'{"total_decisions":3,"timestamp":"2025-01-01T00:00:00.000Z"}'


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
