"""An experiment: what it compares, and which moves it may make."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from common.errors import Conflict, Invalid
from services.experiments.domain.assignment import assign

Status = Literal["running", "completed", "cancelled"]
STATUSES: tuple[Status, ...] = ("running", "completed", "cancelled")

ARM_NAMES = ("control", "test")
MAX_NAME = 200
MAX_DESCRIPTION = 10_000
MAX_USER_ID = 256
MAX_PARAMETERS = 10_000  # characters of JSON
MAX_DEPTH = 10
MAX_SAMPLE_SIZE = 10**12


@dataclass(frozen=True, slots=True)
class Arm:
    """A strategy is a name with parameters; an arm gives it a place in the comparison."""

    name: str
    strategy: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What somebody wants to find out."""

    name: str
    description: str | None
    arms: tuple[Arm, ...]  # the control first
    sample_size: int  # results, all arms together


@dataclass(frozen=True, slots=True)
class Experiment:
    id: int
    plan: Plan
    status: Status
    created_at: datetime
    completed_at: datetime | None  # None: running

    @property
    def arms(self) -> tuple[Arm, ...]:
        return self.plan.arms

    @property
    def running(self) -> bool:
        return self.status == "running"

    def arm_of(self, user_id: str) -> Arm:
        """
        Return the arm that serves *user_id*.

        Once the experiment has ended nobody is tried on any more: everyone gets the control.
        """
        return assign(self.id, user_id, self.arms) if self.running else self.arms[0]


def checked_plan(plan: Plan, *, strategies: Collection[str]) -> Plan:
    """
    Return *plan* if it can be run.

    Raises:
        Invalid: a bound is broken, a strategy is not in *strategies*, or both arms do the same.
    """
    _check_text(plan.name, "name", longest=MAX_NAME)
    if not plan.name:
        raise Invalid(f"name must have 1 to {MAX_NAME} characters", param="name")
    _check_text(plan.description or "", "description", longest=MAX_DESCRIPTION)
    if not 0 < plan.sample_size <= MAX_SAMPLE_SIZE:
        raise Invalid(f"sample_size must be within [1, {MAX_SAMPLE_SIZE}]", param="sample_size")
    if tuple(arm.name for arm in plan.arms) != ARM_NAMES:
        raise Invalid(f"arms must be {' and '.join(ARM_NAMES)}, in this order", param="arms")
    for arm in plan.arms:
        if arm.strategy not in strategies:
            raise Invalid(
                f"unknown strategy {arm.strategy[:50]!r}: choose one of {', '.join(strategies)}",
                param=f"{arm.name}_strategy",
            )
        _check_parameters(arm)
        if arm.strategy == "fixed" and not isinstance(arm.parameters.get("model"), str):
            raise Invalid(
                'fixed needs the parameter "model", such as "provider/model"',
                param=f"{arm.name}_strategy",
            )
    control, test = plan.arms
    if (control.strategy, control.parameters) == (test.strategy, test.parameters):
        raise Invalid(
            "both arms do the same: give them different strategies or parameters",
            param="test_strategy",
        )
    return plan


def checked_user(user_id: str) -> str:
    """
    Return *user_id* if it can be assigned.

    Raises:
        Invalid: it is empty, too long, or no text that can be kept.
    """
    _check_text(user_id, "user_id", longest=MAX_USER_ID)
    if not user_id:
        raise Invalid(f"user_id must have 1 to {MAX_USER_ID} characters", param="user_id")
    return user_id


def ended_already(experiment: Experiment) -> Conflict:
    """Return the failure of ending what has ended."""
    return Conflict(f"Experiment {experiment.id} is {experiment.status} already")


def _check_text(value: str, name: str, *, longest: int) -> None:
    if len(value) > longest:
        raise Invalid(f"{name} must have at most {longest} characters", param=name)
    if "\x00" in value:
        raise Invalid(f"{name} must not contain NUL", param=name)


def _check_parameters(arm: Arm) -> None:
    name = f"{arm.name}_parameters"
    for text, depth in _texts(arm.parameters, 1):
        if depth > MAX_DEPTH:
            raise Invalid(f"{name} must not be nested deeper than {MAX_DEPTH} levels", param=name)
        _check_text(text, name, longest=MAX_PARAMETERS)
    if len(json.dumps(arm.parameters)) > MAX_PARAMETERS:
        raise Invalid(f"{name} must have at most {MAX_PARAMETERS} characters", param=name)


def _texts(value: object, depth: int) -> Iterator[tuple[str, int]]:
    """Yield every text in a JSON value and how deep it is; of what is too deep, just that it is."""
    if isinstance(value, str):
        yield value, depth
    elif isinstance(value, Mapping | list):
        inner = [*value, *value.values()] if isinstance(value, Mapping) else value
        if depth > MAX_DEPTH:
            yield "", depth
            return
        for item in inner:
            yield from _texts(item, depth + 1)
