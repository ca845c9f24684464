"""
What Prometheus learns about requests.

Labels come from closed sets only: routes from the application's own table, models and providers
from the router's catalog. What is not known there is "other", whatever a client types.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Literal, Protocol

from optimizer.router.v1 import router_pb2
from prometheus_client import Counter, Histogram

from common.errors import Failure
from common.labels import ClosedSet

LEARN_EVERY_S = 30.0
LEARN_AGAIN_S = 1.0  # while the router is silent

Ending = Literal["ok", "client_error", "server_error", "cancelled"]

_REQUESTS = Counter(
    "optimizer_requests_total",
    "Requests by how they ended; model and provider of whoever answered.",
    ["route", "model", "provider", "outcome"],
)
_DURATION = Histogram(
    "optimizer_request_duration_seconds",
    "From the request's headers to the answer's last byte.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600),
)
_OVERHEAD = Histogram(
    "optimizer_overhead_seconds",
    "Of a plain answer that a provider gave: its duration less the wait for providers.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
_FIRST_TOKEN = Histogram(
    "optimizer_time_to_first_token_seconds",
    "Of a stream: from the request's headers to the first content.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40),
)
_models = ClosedSet()
_providers = ClosedSet()


class ListsModels(Protocol):
    async def models(self) -> router_pb2.ListModelsResponse: ...


async def learn_names(router: ListsModels) -> None:
    """Follow the router's catalog, for ever."""
    while True:
        try:
            hold_names((await router.models()).models)
            pause_s = LEARN_EVERY_S
        except Failure:  # those who ask the router for more say so
            pause_s = LEARN_AGAIN_S
        await asyncio.sleep(pause_s)


def hold_names(models: Iterable[router_pb2.Model]) -> None:
    listed = list(models)
    _models.hold(one.name for one in listed)
    _providers.hold(one.provider for one in listed)


def count(route: str, ending: Ending, *, model: str = "", provider: str = "") -> None:
    """Count one request; empty names: nobody answered."""
    known = _models.value_of(model), _providers.value_of(provider)
    _REQUESTS.labels(route, *known, ending).inc()


def took(route: str, duration_s: float) -> None:
    _DURATION.labels(route).observe(duration_s)


def spent_on_our_own(duration_s: float, outcome: router_pb2.Outcome) -> None:
    """
    Observe what a plain answer took apart from its providers.

    A hit is left out: all of it is ours, unless it waited for an equal call, and nobody knows.
    """
    if not outcome.cache_hit:
        provider_s = (outcome.latency_ms - outcome.overhead_ms) / 1000
        _OVERHEAD.observe(max(duration_s - provider_s, 0.0))


def first_token(began: float) -> None:
    """Observe the first content of a stream; *began* is on time.perf_counter."""
    _FIRST_TOKEN.observe(time.perf_counter() - began)
