"""A server and a client of ours, and services that do what a test tells them."""

import asyncio

from optimizer.metrics.v1 import metrics_pb2, metrics_pb2_grpc
from optimizer.router.v1 import router_pb2, router_pb2_grpc

from common.grpc_client import call, open_channel
from common.grpc_server import GrpcServer
from common.settings import ServiceSettings

SNAPSHOT = metrics_pb2.GetSnapshotRequest()
STREAM = router_pb2.StreamCompleteRequest()


class Metrics(metrics_pb2_grpc.MetricsServiceServicer):
    """Does what a test tells it to."""

    def __init__(self):
        self.work = self.nothing

    async def nothing(self, context):
        return b""

    async def GetSnapshot(self, request, context):  # noqa: N802
        return metrics_pb2.GetSnapshotResponse(json=await self.work(context))


class Router(router_pb2_grpc.RouterServiceServicer):
    def __init__(self):
        self.ended = asyncio.Event()
        self.failure = None

    async def StreamComplete(self, request, context):  # noqa: N802
        try:
            for _ in range(2):
                yield router_pb2.StreamCompleteResponse()
            if self.failure:
                raise self.failure
            await asyncio.Event().wait()
        finally:
            self.ended.set()


class Stack:
    def __init__(self, settings):
        self.settings = settings
        self.metrics, self.router = Metrics(), Router()

    async def start(self, **changed):
        settings = self.settings.model_copy(update=changed)
        self.server = GrpcServer(
            settings,
            [
                lambda s: metrics_pb2_grpc.add_MetricsServiceServicer_to_server(self.metrics, s),
                lambda s: router_pb2_grpc.add_RouterServiceServicer_to_server(self.router, s),
            ],
        )
        await self.server.start()
        return self.server.target

    def connect(self):
        self.channel = open_channel(self.server.target, self.settings)
        self.stub = metrics_pb2_grpc.MetricsServiceStub(self.channel)
        self.stream = router_pb2_grpc.RouterServiceStub(self.channel).StreamComplete

    async def ask(self, timeout_s=5):
        return (await call(self.stub.GetSnapshot, SNAPSHOT, timeout_s=timeout_s)).json


def settings_with(**other):
    usual = {
        "database_url": "postgresql://unused",
        "internal_token": "right",
        "grpc_listen": "127.0.0.1:0",
        "drain_s": 0,
    }
    return ServiceSettings(**usual | other)
