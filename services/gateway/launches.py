"""
Launching experiments: nothing is made that could not run, and what was made stays.

    Decide, as each arm with ──▶ Create ──▶ Decide, to freeze ──▶ Plan: what can
    parameters and the judge                what was learned      its size find?
        │ refused, silent          │ refused     │ silent              │ silent
        ▼                          ▼             ▼                     ▼
      nothing is made            nothing    the first request     nobody knows
                                            freezes it
"""

from dataclasses import dataclass
from typing import Protocol

import orjson
import structlog
from optimizer.experiments.v1 import experiments_pb2 as pb
from optimizer.router.v1 import router_pb2

from common.errors import Failure, Invalid, NotFound
from common.strategies import STRATEGIES
from services.gateway.usecases import frozen_for

_NEED_PARAMETERS = frozenset({"fixed"})
_HELLO = orjson.dumps({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1})

log = structlog.get_logger()


class Decides(Protocol):
    async def decide(self, ask: router_pb2.Ask) -> router_pb2.DecideResponse: ...


class MakesExperiments(Protocol):
    async def create(self, request: pb.CreateRequest) -> pb.Experiment: ...
    async def plan(self, request: pb.PlanRequest) -> pb.PlanResponse: ...


@dataclass(frozen=True, slots=True)
class Launched:
    experiment: pb.Experiment
    minimum_detectable_effect_ratio: float | None  # None: nobody knows just now


class Launches:
    def __init__(self, router: Decides, experiments: MakesExperiments) -> None:
        self._router = router
        self._experiments = experiments

    async def launch(self, wanted: pb.CreateRequest, *, request_id: str) -> Launched:
        """
        Make an experiment that can run, and freeze what it is to decide by.

        Args:
            wanted: The experiment, its arms named; *by* is the tenant that asks.
            request_id: Of the request that wants it: the router is asked under the same.

        Raises:
            Invalid: an arm or the judge is refused by the router; `param` names which.
            Unavailable, TimedOut: the router is silent, or nothing that an arm needs is on.
            Failure: whatever the experiments service says.
        """
        hello = router_pb2.Ask(request_id=request_id, tenant=wanted.by, body=_HELLO)
        for arm in wanted.arms:
            await self._check_arm(arm, hello)
        if wanted.options.HasField("comparing"):
            await self._check_judge(wanted.options.comparing.judge_model, hello)
        made = await self._experiments.create(wanted)
        if made.options.freeze_learning:
            await self._freeze(made, hello)
        return Launched(made, await self._effect(made))

    async def _check_arm(self, arm: pb.Arm, hello: router_pb2.Ask) -> None:
        """Have the router decide as the arm would: what it refuses now it would refuse callers."""
        if arm.strategy not in STRATEGIES:
            param = f"{arm.name}_strategy"
            raise Invalid(
                f"{param}: must be one of {', '.join(STRATEGIES)}",
                code="unknown_strategy",
                param=param,
            )
        if not arm.parameters_json and arm.strategy not in _NEED_PARAMETERS:
            return
        strategy = router_pb2.Strategy(name=arm.strategy, parameters_json=arm.parameters_json)
        try:
            await self._router.decide(_asking(hello, strategy=strategy))
        except (Invalid, NotFound) as failure:
            param = f"{arm.name}_parameters"
            raise Invalid(f"{param}: {failure.message}", code=failure.code, param=param) from None

    async def _check_judge(self, model: str, hello: router_pb2.Ask) -> None:
        try:
            await self._router.decide(_asking(hello, model=model))
        except (Invalid, NotFound) as failure:
            raise Invalid(f"judge_model: {failure.message}", param="comparing") from None

    async def _freeze(self, made: pb.Experiment, hello: router_pb2.Ask) -> None:
        """Have the router freeze what it has learned; if it cannot now, the first request does."""
        strategy = router_pb2.Strategy(snapshot=frozen_for(made.id))
        try:
            await self._router.decide(_asking(hello, strategy=strategy))
        except Failure as failure:
            log.warning("learning_not_frozen_yet", experiment=made.id, reason=failure.message)

    async def _effect(self, made: pb.Experiment) -> float | None:
        """
        Say what the size can find; that nobody knows just now undoes no experiment.

        The arm with the fewest users decides: it finds what it would if all had as many.
        """
        arms, weights = len(made.arms), [arm.weight for arm in made.arms]
        least = round(made.sample_size * arms * min(weights) / sum(weights))
        try:
            found = await self._experiments.plan(
                pb.PlanRequest(sample_size=max(least, 1), arms=arms)
            )
        except Failure:
            return None
        return found.minimum_detectable_effect_ratio


def _asking(
    hello: router_pb2.Ask, *, strategy: router_pb2.Strategy | None = None, model: str = ""
) -> router_pb2.Ask:
    """Ask for nothing but a decision."""
    ask = router_pb2.Ask(strategy=strategy, model=model)
    ask.MergeFrom(hello)
    return ask
