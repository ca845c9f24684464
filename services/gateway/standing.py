"""What experiments and promotions say of requests in general, as known at this moment."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import structlog
from optimizer.experiments.v1 import experiments_pb2 as pb
from optimizer.router.v1 import router_pb2

from common.errors import Failure
from services.gateway.domain.defaults import (
    Default,
    Enrolling,
    Scope,
    default_of,
    experiment_of,
)

REFRESH_S = 5.0  # without Redis, this old may be what is known

log = structlog.get_logger()


class ListsStanding(Protocol):
    async def promotions(self) -> Sequence[pb.Promotion]: ...
    async def enrolling(self) -> Sequence[pb.Enrolling]: ...


class Standing:
    """Kept in memory: no request waits for it, and a silent neighbour leaves what was known."""

    def __init__(self, experiments: ListsStanding, *, refresh_s: float = REFRESH_S) -> None:
        self._experiments = experiments
        self._refresh_s = refresh_s
        self._moved = asyncio.Event()
        self._defaults: Sequence[Default[router_pb2.Strategy]] = ()
        self._enrolling: Sequence[Enrolling] = ()
        self._lost = False

    def strategy_of(self, asked: Scope) -> router_pb2.Strategy | None:
        return default_of(self._defaults, asked)

    def experiment_of(self, asked: Scope, user_id: str) -> int:
        return experiment_of(self._enrolling, asked, user_id)

    def moved(self, _: bytes = b"") -> None:
        """Somebody said that it changed."""
        self._moved.set()

    async def run(self) -> None:
        """Keep it fresh, for ever."""
        while True:
            self._moved.clear()
            try:
                await self.refresh()
                self._lost = False
            except Failure as failure:
                if not self._lost:
                    log.warning("defaults_are_as_known", reason=failure.message)
                self._lost = True
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_s):
                    await self._moved.wait()

    async def refresh(self) -> None:
        """
        Ask again.

        Raises:
            Failure: the experiments service is silent; what was known stays.
        """
        promoted, enrolling = await asyncio.gather(
            self._experiments.promotions(), self._experiments.enrolling()
        )
        self._defaults = [
            Default(
                _scope(one.scope),
                router_pb2.Strategy(name=one.arm.strategy, parameters_json=one.arm.parameters_json),
            )
            for one in promoted
        ]
        self._enrolling = [
            Enrolling(one.experiment_id, _scope(one.scope), one.layer, one.low, one.high)
            for one in enrolling
        ]


def _scope(scope: pb.Scope) -> Scope:
    return Scope(scope.tenant, scope.tag)
