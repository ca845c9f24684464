"""What the gateway does with a request for a completion: place it, ask the router, count it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import structlog
from optimizer.experiments.v1 import experiments_pb2
from optimizer.router.v1 import router_pb2
from prometheus_client import Counter

from common.errors import Failure, Invalid, NotFound
from services.gateway.clients.router import Stream
from services.gateway.domain.defaults import Scope

log = structlog.get_logger()
_unassigned = Counter(
    "optimizer_unassigned_requests_total",
    "Requests of an experiment that were served without an arm: the service was silent.",
)

SILENT = "the experiments service did not answer in time: served without an arm"
ENDED = "the experiment, or this user's arm, has ended: served with its outcome, not recorded"


Response = TypeVar("Response", router_pb2.CompleteResponse, router_pb2.EmbedResponse)


class AsksRouter(Protocol):
    async def complete(self, ask: router_pb2.Ask) -> router_pb2.CompleteResponse: ...
    async def embed(self, ask: router_pb2.Ask) -> router_pb2.EmbedResponse: ...
    async def stream(self, ask: router_pb2.Ask) -> Stream: ...


class AssignsArms(Protocol):
    async def assign(self, experiment_id: int, user_id: str) -> experiments_pb2.AssignResponse: ...


class KnowsStanding(Protocol):
    def strategy_of(self, asked: Scope) -> router_pb2.Strategy | None: ...
    def experiment_of(self, asked: Scope, user_id: str) -> int: ...


class CountsSpend(Protocol):
    def expect(self, request_id: str, tenant: str) -> None: ...
    def answered(self, request_id: str, cost_nano_usd: int | None) -> None: ...
    def give_up(self, request_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Placement:
    """How a request is to be served, once experiments had their say."""

    strategy: router_pb2.Strategy
    experiment_id: int = 0  # 0: no result is recorded
    arm: str = ""
    note: str = ""  # why there is no arm although an experiment was named
    comparing: experiments_pb2.Comparing | None = None  # None: the answer is compared with none
    other: experiments_pb2.Arm = field(default_factory=experiments_pb2.Arm)  # with whose it is


class Completions:
    def __init__(
        self,
        router: AsksRouter,
        experiments: AssignsArms,
        spend: CountsSpend,
        standing: KnowsStanding,
    ) -> None:
        self._router = router
        self._experiments = experiments
        self._standing = standing
        self._spend = spend

    async def place(
        self,
        wanted: router_pb2.Strategy,
        *,
        experiment_id: int,
        user_id: str,
        undecided: Scope | None = None,
    ) -> Placement:
        """
        Find the strategy that serves a request: the arm's, if it is part of an experiment.

        An arm is a strategy with its own parameters: those of the caller have no say in it.
        A silent experiments service does not stop a completion.

        Args:
            wanted: The strategy that serves it otherwise.
            experiment_id: The one that the caller named; 0: none.
            user_id: Of the caller; empty: unknown.
            undecided: Whose request it is, if the caller left the strategy to us: it may join an
                experiment by itself, and a promoted default serves it.

        Raises:
            Invalid: the experiments service refuses the user's id.
            NotFound: there is no such experiment.
        """
        if experiment_id:
            return await self._named(wanted, experiment_id, user_id)
        if undecided is None:
            return Placement(wanted)
        if joined := self._standing.experiment_of(undecided, user_id):
            placement = await self._join(joined, user_id)
            if placement:
                return placement
        return Placement(self.default_of(undecided, wanted))

    def default_of(self, undecided: Scope, otherwise: router_pb2.Strategy) -> router_pb2.Strategy:
        """Return what serves who leaves the choice to us: what was promoted, or *otherwise*."""
        return self._standing.strategy_of(undecided) or otherwise

    async def _join(self, experiment_id: int, user_id: str) -> Placement | None:
        """Place a request that did not ask for it; None: it is served as if there were none."""
        try:
            assigned = await self._experiments.assign(experiment_id, user_id)
        except Failure as failure:
            _unassigned.inc()
            log.warning("not_enrolled", experiment=experiment_id, reason=failure.message)
            return None
        # A stopped arm's users get the control, and not a default that may be what did harm.
        joins = assigned.recorded or assigned.stopped
        return self._placed(assigned, experiment_id) if joins else None

    async def _named(
        self, wanted: router_pb2.Strategy, experiment_id: int, user_id: str
    ) -> Placement:
        try:
            assigned = await self._experiments.assign(experiment_id, user_id)
        except NotFound as failure:
            raise NotFound("Experiment not found", code="experiment_not_found") from failure
        except Invalid:
            raise
        except Failure as failure:
            _unassigned.inc()
            log.warning("served_without_arm", experiment=experiment_id, reason=failure.message)
            return Placement(wanted, note=SILENT)
        return self._placed(assigned, experiment_id)

    @staticmethod
    def _placed(assigned: experiments_pb2.AssignResponse, experiment_id: int) -> Placement:
        arm = assigned.arm
        strategy = router_pb2.Strategy(
            name=arm.strategy,
            parameters_json=arm.parameters_json,
            snapshot=frozen_for(experiment_id) if assigned.freeze_learning else "",
        )
        if not assigned.recorded:
            return Placement(strategy, note=ENDED)
        comparing = assigned.comparing if assigned.HasField("comparing") else None
        return Placement(
            strategy, experiment_id, arm.name, comparing=comparing, other=assigned.other
        )

    async def complete(self, ask: router_pb2.Ask) -> router_pb2.CompleteResponse:
        """
        Have one completion served; its cost counts from now on.

        Raises:
            Failure: whatever the router says.
        """
        return await self._counted(ask, self._router.complete)

    async def embed(self, ask: router_pb2.Ask) -> router_pb2.EmbedResponse:
        """Have texts embedded; otherwise as `complete`."""
        return await self._counted(ask, self._router.embed)

    async def stream(self, ask: router_pb2.Ask) -> Stream:
        """Begin a streamed completion; whoever reads it calls `finished` or `given_up`."""
        self._spend.expect(ask.request_id, ask.tenant)
        return await self._router.stream(ask)

    def finished(self, request_id: str, outcome: router_pb2.Outcome) -> None:
        self._spend.answered(request_id, cost_of(outcome))

    def given_up(self, request_id: str) -> None:
        self._spend.give_up(request_id)

    async def _counted(
        self, ask: router_pb2.Ask, serve: Callable[[router_pb2.Ask], Awaitable[Response]]
    ) -> Response:
        self._spend.expect(ask.request_id, ask.tenant)
        try:
            response = await serve(ask)
        except BaseException:
            self._spend.give_up(ask.request_id)
            raise
        self._spend.answered(ask.request_id, cost_of(response.outcome))
        return response


def frozen_for(experiment_id: int) -> str:
    """Name what was learned when an experiment began: its arms must not train each other."""
    return f"experiment:{experiment_id}"


def cost_of(outcome: router_pb2.Outcome) -> int | None:
    """Return the cost in nano-USD; None when unpriced."""
    return outcome.cost_nano_usd if outcome.HasField("cost_nano_usd") else None
