"""Launching experiments: what cannot run is not made, and what was made stays."""

from dataclasses import dataclass, field

import orjson
import pytest
from optimizer.experiments.v1 import experiments_pb2 as pb
from optimizer.router.v1 import router_pb2
from structlog.testing import capture_logs

from common.errors import Failure, Invalid, NotFound, Unavailable
from services.gateway.launches import Launches

SILENT = Unavailable("silent")
PRESET = b'{"preset":"economy"}'


@dataclass
class Neighbours:
    """The router and the experiments service; a Failure in place of an answer is raised."""

    decisions: dict[str, Failure] = field(default_factory=dict)  # by what is told
    making: Failure | None = None
    planning: Failure | None = None
    asks: list[router_pb2.Ask] = field(default_factory=list)
    told: list[str] = field(default_factory=list)  # everything, in order

    async def decide(self, ask):
        strategy = ask.strategy
        self.asks.append(ask)
        self._tell(strategy.snapshot or strategy.name or ask.model)
        return router_pb2.DecideResponse()

    async def create(self, request):
        self._tell("create", self.making)
        return pb.Experiment(
            id=7, arms=request.arms, sample_size=request.sample_size, options=request.options
        )

    async def plan(self, request):
        self._tell(f"plan {request.sample_size} for {request.arms}", self.planning)
        return pb.PlanResponse(minimum_detectable_effect_ratio=0.2)

    def _tell(self, what, failure=None):
        self.told.append(what)
        if failure := failure or self.decisions.get(what):
            raise failure


def wanted(*, test="fixed", freeze=True, judge="acme/judge"):
    return pb.CreateRequest(
        arms=[
            pb.Arm(name="control", strategy="best", weight=3),
            pb.Arm(name="test", strategy=test, weight=1),
            pb.Arm(name="clever", strategy="hybrid", parameters_json=PRESET, weight=1),
        ],
        sample_size=100,
        options=pb.Options(
            freeze_learning=freeze, comparing=pb.Comparing(judge_model=judge) if judge else None
        ),
        by="acme",
    )


async def launch(neighbours, request):
    return await Launches(neighbours, neighbours).launch(request, request_id="r")


async def test_the_router_is_asked_before_an_experiment_is_made_and_freezes_after():
    neighbours = Neighbours()

    made = await launch(neighbours, wanted())

    checked = ["fixed", "hybrid", "acme/judge"]  # of "best" alone there is nothing to refuse
    assert [*checked, "create", "experiment:7", "plan 60 for 3"] == neighbours.told
    assert (7, 0.2) == (made.experiment.id, made.minimum_detectable_effect_ratio)


async def test_the_router_is_asked_for_a_word_in_the_name_of_who_asks():
    neighbours = Neighbours()

    await launch(neighbours, wanted())

    hello = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    assert [("r", "acme", hello)] * 4 == [
        (ask.request_id, ask.tenant, orjson.loads(ask.body)) for ask in neighbours.asks
    ]
    assert PRESET == neighbours.asks[1].strategy.parameters_json


async def test_who_wants_neither_a_judge_nor_anything_frozen_asks_for_neither():
    neighbours = Neighbours()

    await launch(neighbours, wanted(freeze=False, judge=""))

    assert ["fixed", "hybrid", "create", "plan 60 for 3"] == neighbours.told


@pytest.mark.parametrize(
    ("refused", "failure", "message", "param"),
    [
        ("fixed", NotFound("no model"), "test_parameters: no model", "test_parameters"),
        ("hybrid", Invalid("no preset"), "clever_parameters: no preset", "clever_parameters"),
        ("acme/judge", NotFound("no model"), "judge_model: no model", "comparing"),
    ],
)
async def test_what_the_router_refuses_is_not_made(refused, failure, message, param):
    neighbours = Neighbours(decisions={refused: failure})

    with pytest.raises(Invalid) as told:
        await launch(neighbours, wanted())

    assert (message, param) == (told.value.message, told.value.param)
    assert "create" not in neighbours.told


async def test_a_strategy_that_nobody_knows_is_refused_without_asking_the_router():
    neighbours = Neighbours()

    with pytest.raises(Invalid, match="test_strategy: must be one of complexity, ") as told:
        await launch(neighbours, wanted(test="magic"))

    assert ("unknown_strategy", []) == (told.value.code, neighbours.told)


@pytest.mark.parametrize("silent", ["fixed", "acme/judge"])
async def test_where_the_router_is_silent_nothing_is_made(silent):
    neighbours = Neighbours(decisions={silent: SILENT})

    with pytest.raises(Unavailable):
        await launch(neighbours, wanted())

    assert "create" not in neighbours.told


async def test_what_is_not_made_is_not_frozen():
    neighbours = Neighbours(making=Invalid("no"))

    with pytest.raises(Invalid):
        await launch(neighbours, wanted())

    assert "create" == neighbours.told[-1]


async def test_a_router_that_cannot_freeze_undoes_nothing_and_is_logged_once():
    neighbours = Neighbours(decisions={"experiment:7": SILENT})

    with capture_logs() as logs:
        made = await launch(neighbours, wanted())

    assert (7, 0.2) == (made.experiment.id, made.minimum_detectable_effect_ratio)
    [line] = logs
    assert ("learning_not_frozen_yet", 7, "silent") == (
        line["event"],
        line["experiment"],
        line["reason"],
    )


async def test_an_effect_that_nobody_knows_just_now_undoes_nothing():
    made = await launch(Neighbours(planning=SILENT), wanted())

    assert (7, None) == (made.experiment.id, made.minimum_detectable_effect_ratio)
