"""The router, as the gateway sees it: every call with its deadline, its failures as ours."""

import time
from collections.abc import AsyncGenerator
from typing import Any, TypeAlias, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from optimizer.router.v1 import router_pb2, router_pb2_grpc

from common.errors import Failure, TimedOut, Unavailable
from common.grpc_client import call, ready
from common.ops import OK
from common.wire_errors import CONNECTION_LOST, failure_of

_END = grpc.aio.EOF  # type: ignore[attr-defined]  # its stubs forgot it
_StreamCall: TypeAlias = (
    "grpc.aio.UnaryStreamCall[router_pb2.StreamCompleteRequest, router_pb2.StreamCompleteResponse]"
)

DECIDE_S = 1.0
LIST_S = 1.0
FEEDBACK_S = 2.0
STATUS_S = 2.0
RETRAIN_S = 60.0
SUMMARY_S = 5.0
ESTIMATE_S = 5.0
EMBED_S = 60.0
REQUESTS_S = 2.0
USAGE_S = 120.0
HEALTH_S = 1.0
CATALOG_FRESH_S = 5.0
PROVIDERS_FRESH_S = 1.0  # how they stand changes by the second


class Router:
    def __init__(self, channel: grpc.aio.Channel, *, request_timeout_s: float) -> None:
        self._channel = channel
        self._stub = router_pb2_grpc.RouterServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)
        self._request_timeout_s = request_timeout_s
        self._models: tuple[float, router_pb2.ListModelsResponse] | None = None
        self._providers: tuple[float, router_pb2.ListProvidersResponse] | None = None

    async def complete(self, ask: router_pb2.Ask) -> router_pb2.CompleteResponse:
        response: router_pb2.CompleteResponse = await _paid_call(
            self._stub.Complete,
            router_pb2.CompleteRequest(ask=ask),
            timeout_s=self._request_timeout_s,
        )
        return response

    async def stream(self, ask: router_pb2.Ask) -> "Stream":
        """Begin a streamed completion; a router that restarts is waited for, for a moment."""
        await ready(self._channel)
        return Stream(
            self._stub.StreamComplete(
                router_pb2.StreamCompleteRequest(ask=ask), timeout=self._request_timeout_s
            )
        )

    async def embed(self, ask: router_pb2.Ask) -> router_pb2.EmbedResponse:
        response: router_pb2.EmbedResponse = await _paid_call(
            self._stub.Embed, router_pb2.EmbedRequest(ask=ask), timeout_s=EMBED_S
        )
        return response

    async def decide(self, ask: router_pb2.Ask) -> router_pb2.DecideResponse:
        request = router_pb2.DecideRequest(ask=ask)
        response: router_pb2.DecideResponse = await call(
            self._stub.Decide, request, timeout_s=DECIDE_S
        )
        return response

    async def models(self) -> router_pb2.ListModelsResponse:
        """List the models, as of a moment ago; as of any time if the router is away."""
        if self._models and time.monotonic() - self._models[0] < CATALOG_FRESH_S:
            return self._models[1]
        try:
            listed: router_pb2.ListModelsResponse = await call(
                self._stub.ListModels, router_pb2.ListModelsRequest(), timeout_s=LIST_S
            )
        except (Unavailable, TimedOut):
            if self._models:
                return self._models[1]
            raise
        self._models = (time.monotonic(), listed)
        return listed

    async def providers(self) -> router_pb2.ListProvidersResponse:
        """List the providers. Not from memory when the router is away: health asks this."""
        if self._providers and time.monotonic() - self._providers[0] < PROVIDERS_FRESH_S:
            return self._providers[1]
        listed: router_pb2.ListProvidersResponse = await call(
            self._stub.ListProviders, router_pb2.ListProvidersRequest(), timeout_s=LIST_S
        )
        self._providers = (time.monotonic(), listed)
        return listed

    async def record_feedback(
        self, request: router_pb2.RecordFeedbackRequest
    ) -> router_pb2.RecordFeedbackResponse:
        response: router_pb2.RecordFeedbackResponse = await call(
            self._stub.RecordFeedback, request, timeout_s=FEEDBACK_S
        )
        return response

    async def record_vote(
        self, request: router_pb2.RecordVoteRequest
    ) -> router_pb2.RecordVoteResponse:
        response: router_pb2.RecordVoteResponse = await call(
            self._stub.RecordVote, request, timeout_s=FEEDBACK_S
        )
        return response

    async def learning_status(self) -> router_pb2.GetLearningStatusResponse:
        response: router_pb2.GetLearningStatusResponse = await call(
            self._stub.GetLearningStatus,
            router_pb2.GetLearningStatusRequest(),
            timeout_s=STATUS_S,
        )
        return response

    async def retrain(
        self, request: router_pb2.RetrainLearningRequest
    ) -> router_pb2.RetrainLearningResponse:
        response: router_pb2.RetrainLearningResponse = await call(
            self._stub.RetrainLearning, request, timeout_s=RETRAIN_S
        )
        return response

    async def feedback_summary(
        self, request: router_pb2.GetFeedbackSummaryRequest
    ) -> router_pb2.GetFeedbackSummaryResponse:
        response: router_pb2.GetFeedbackSummaryResponse = await call(
            self._stub.GetFeedbackSummary, request, timeout_s=SUMMARY_S
        )
        return response

    async def performance_trends(
        self, request: router_pb2.GetPerformanceTrendsRequest
    ) -> router_pb2.GetPerformanceTrendsResponse:
        response: router_pb2.GetPerformanceTrendsResponse = await call(
            self._stub.GetPerformanceTrends, request, timeout_s=SUMMARY_S
        )
        return response

    async def estimate(
        self, request: router_pb2.EstimateStrategyRequest
    ) -> router_pb2.EstimateStrategyResponse:
        response: router_pb2.EstimateStrategyResponse = await call(
            self._stub.EstimateStrategy, request, timeout_s=ESTIMATE_S
        )
        return response

    async def requests(
        self, request: router_pb2.ListRequestsRequest
    ) -> router_pb2.ListRequestsResponse:
        response: router_pb2.ListRequestsResponse = await call(
            self._stub.ListRequests, request, timeout_s=REQUESTS_S
        )
        return response

    async def request(self, request: router_pb2.GetRequestRequest) -> router_pb2.GetRequestResponse:
        response: router_pb2.GetRequestResponse = await call(
            self._stub.GetRequest, request, timeout_s=REQUESTS_S
        )
        return response

    async def usage(
        self, request: router_pb2.ReadUsageRequest
    ) -> AsyncGenerator[router_pb2.ReadUsageResponse, None]:
        """Read the hours of a day as they come."""
        await ready(self._channel)
        try:
            async for hour in self._stub.ReadUsage(request, timeout=USAGE_S):
                yield hour
        except grpc.aio.AioRpcError as error:
            raise failure_of(error) from error

    async def health(self) -> str:
        """Say "ok", or what is wrong."""
        try:
            answer = await call(
                self._health.Check, health_pb2.HealthCheckRequest(), timeout_s=HEALTH_S
            )
        except Failure as failure:
            return failure.message
        serving = health_pb2.HealthCheckResponse.SERVING
        return OK if answer.status == serving else "the router is not ready"


class Stream:
    """A completion that arrives in pieces; cancelling it makes the router drain and account."""

    def __init__(self, stream: _StreamCall) -> None:
        self._stream = stream

    async def next(self) -> router_pb2.StreamCompleteResponse | None:
        """Return the next message; None at the end. Cancelling this cancels the stream."""
        try:
            message = await self._stream.read()
        except grpc.aio.AioRpcError as error:
            failure = failure_of(error)
            _mark_if_perhaps_paid(failure)
            raise failure from error
        if message is _END:
            return None
        return cast("router_pb2.StreamCompleteResponse", message)

    def cancel(self) -> None:
        self._stream.cancel()


async def _paid_call(method: Any, request: Any, *, timeout_s: float) -> Any:
    try:
        return await call(method, request, timeout_s=timeout_s)
    except Failure as failure:
        _mark_if_perhaps_paid(failure)
        raise


def _mark_if_perhaps_paid(failure: Failure) -> None:
    """
    Mark a failure after which nobody knows whether a provider was paid.

    The router says so itself, unless it went away or ran out of time under the call.
    """
    if isinstance(failure, TimedOut) or failure.code == CONNECTION_LOST:
        failure.billed = True
