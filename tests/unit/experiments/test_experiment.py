"""Experiments: what may be compared, and who is in which arm."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from common.errors import Invalid
from common.strategies import STRATEGIES
from services.experiments.domain.experiment import (
    Arm,
    Experiment,
    Plan,
    checked_plan,
    checked_user,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PLAN = Plan(
    name="cheaper?",
    description=None,
    arms=(Arm("control", "complexity"), Arm("test", "hybrid")),
    sample_size=100,
)


def check(**changes):
    return checked_plan(replace(PLAN, **changes), strategies=STRATEGIES)


def arms(control, test):
    return {"arms": (Arm("control", *control), Arm("test", *test))}


@pytest.mark.parametrize("name", ["x", "x" * 200, "ünïcödé", " "])
def test_a_name_of_1_to_200_characters_is_fine(name):
    assert name == check(name=name).name


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"description": "a\x00b"}, "description"),
        ({"description": "x" * 10_001}, "description"),
        ({"sample_size": 0}, "sample_size"),
        ({"sample_size": -1}, "sample_size"),
        ({"sample_size": 2**63 - 1}, "sample_size"),
        ({"arms": ()}, "arms"),
        ({"arms": PLAN.arms[:1]}, "arms"),
        ({"arms": PLAN.arms[::-1]}, "arms"),
        (arms(["complexity"], ["telepathy"]), "test_strategy"),
        (arms(["\x00"], ["hybrid"]), "control_strategy"),
        (arms(["hybrid"], ["hybrid"]), "test_strategy"),
        (arms(["hybrid"], ["fixed"]), "test_strategy"),
        (arms(["hybrid", {"a": "\x00"}], ["best"]), "control_parameters"),
        (arms(["hybrid", {"\x00": 1}], ["best"]), "control_parameters"),
        (arms(["hybrid", {"a": [1] * 10_000}], ["best"]), "control_parameters"),
        (arms(["best"], ["hybrid", {"a": [[[[[[[[[[[]]]]]]]]]]]}]), "test_parameters"),
        (arms(["fixed", {"model": "a/b"}], ["fixed", {"model": "a/b"}]), "test_strategy"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_field_at_fault(changes, param):
    with pytest.raises(Invalid) as refused:
        check(**changes)

    assert param == refused.value.param


def test_one_strategy_may_be_compared_with_itself_under_other_parameters():
    changes = arms(["fixed", {"model": "acme/small"}], ["fixed", {"model": "acme/large"}])

    assert changes["arms"] == check(**changes).arms


def test_while_it_runs_the_user_decides_and_afterwards_everyone_gets_the_control():
    running = Experiment(1, PLAN, "running", NOW, None)
    ended = replace(running, status="completed", completed_at=NOW)

    assert (PLAN.arms[1], True) == running.arm_of("user123")
    assert (PLAN.arms[0], False) == ended.arm_of("user123")


@pytest.mark.parametrize("user_id", ["", "x" * 1001, "a\x00b"])
def test_a_user_that_cannot_be_kept_is_refused(user_id):
    with pytest.raises(Invalid, match="user_id"):
        checked_user(user_id)
