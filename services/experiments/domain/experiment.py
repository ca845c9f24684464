"""An experiment: what it compares, and which moves it may make."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from common.errors import Conflict, Invalid
from services.experiments.domain.assignment import assign
from services.experiments.domain.options import Options, Scope, check_options

Status = Literal["running", "completed", "cancelled"]
# Why it ended: a boundary was crossed, an arm did harm, all planned results are in, the time is
# up, or somebody said so.
Rule = Literal["boundary", "guardrail", "sample_size", "duration", "stopped"]

CONTROL = "control"
MAX_ARMS = 8
MAX_WEIGHT = 1000.0
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
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
    weight: float = 1.0  # share of the users, relative to the other arms


@dataclass(frozen=True, slots=True)
class Plan:
    """What somebody wants to find out."""

    name: str
    description: str | None
    arms: tuple[Arm, ...]  # the control first
    sample_size: int  # results, all arms together
    options: Options = field(default_factory=Options)

    @property
    def shares(self) -> list[float]:
        """Return which part of the users each arm is meant to get; they sum to 1."""
        total = sum(arm.weight for arm in self.arms)
        return [arm.weight / total for arm in self.arms]

    def done(self, results: int) -> float:
        """Return the share of the planned results that is in, 0 to 1."""
        return min(1.0, results / self.sample_size)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an experiment found. Once there is one it never changes."""

    winner: str | None  # an arm
    reason: str  # one plain sentence
    rule: Rule
    at: datetime

    def dump(self) -> dict[str, Any]:
        return {**asdict(self), "at": self.at.isoformat()}

    @classmethod
    def load(cls, kept: Mapping[str, Any]) -> "Verdict":
        return cls(**{**kept, "at": datetime.fromisoformat(kept["at"])})


@dataclass(frozen=True, slots=True)
class Transition:
    """A move of an experiment: who made it, when and why."""

    status: str  # what it became, or what happened to an arm or a promotion of it
    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Promotion:
    """A winner that became the default of a scope."""

    id: int
    scope: Scope
    arm: Arm
    experiment_id: int
    promoted_at: datetime
    by: str
    reason: str
    reverted_at: datetime | None = None
    reverted_by: str | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    id: int
    plan: Plan
    status: Status
    created_at: datetime
    completed_at: datetime | None  # None: running
    verdict: Verdict | None = None
    stopped: tuple[str, ...] = ()  # arms that did harm: nobody is served by them any more
    history: tuple[Transition, ...] = ()

    @property
    def arms(self) -> tuple[Arm, ...]:
        return self.plan.arms

    @property
    def running(self) -> bool:
        return self.status == "running"

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)

    def assigned(self, user_id: str) -> Arm:
        """Return the arm that the rule puts *user_id* in, whatever became of the experiment."""
        return assign(self.id, user_id, self.arms, [arm.weight for arm in self.arms])

    def arm_of(self, user_id: str) -> tuple[Arm, bool]:
        """
        Return the arm that serves *user_id*, and whether its results count.

        Once the experiment has ended nobody is tried on any more: everyone gets the winner; the
        control where there is none, and instead of an arm that was stopped.
        """
        if not self.running:
            winner = self.verdict.winner if self.verdict else None
            return self.arm(winner) if winner else self.arms[0], False
        arm = self.assigned(user_id)
        return (self.arms[0], False) if arm.name in self.stopped else (arm, True)


def checked_plan(plan: Plan, *, strategies: Collection[str]) -> Plan:
    """
    Return *plan* if it can be run.

    Raises:
        Invalid: a bound is broken, a strategy is not in *strategies*, or two arms do the same.
    """
    _check_text(plan.name, "name", longest=MAX_NAME)
    if not plan.name:
        raise Invalid(f"name must have 1 to {MAX_NAME} characters", param="name")
    _check_text(plan.description or "", "description", longest=MAX_DESCRIPTION)
    if not 0 < plan.sample_size <= MAX_SAMPLE_SIZE:
        raise Invalid(f"sample_size must be within [1, {MAX_SAMPLE_SIZE}]", param="sample_size")
    _check_names(plan.arms)
    for arm in plan.arms:
        _check_arm(arm, strategies)
    for index, arm in enumerate(plan.arms):
        for other in plan.arms[:index]:
            if (arm.strategy, arm.parameters) == (other.strategy, other.parameters):
                raise Invalid(
                    f"{other.name} and {arm.name} do the same: give them different strategies or"
                    " parameters",
                    param=f"{arm.name}_strategy",
                )
    check_options(plan.options)
    return plan


def _check_names(arms: Sequence[Arm]) -> None:
    names = [arm.name for arm in arms]
    if not 2 <= len(names) <= MAX_ARMS:  # noqa: PLR2004
        raise Invalid(f"an experiment has 2 to {MAX_ARMS} arms", param="arms")
    if names[0] != CONTROL or len(set(names)) < len(names):
        raise Invalid(f"the first arm is {CONTROL}, and no two have one name", param="arms")
    if not all(_NAME.fullmatch(name) for name in names):
        raise Invalid(
            "an arm's name has 1 to 40 of a-z, 0-9, _ and -, a letter first", param="arms"
        )


def _check_arm(arm: Arm, strategies: Collection[str]) -> None:
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
    if not 1 / MAX_WEIGHT <= arm.weight <= MAX_WEIGHT:  # NaN fails this too
        raise Invalid(f"a weight must be within [{1 / MAX_WEIGHT}, {MAX_WEIGHT:.0f}]", param="arms")


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


def check_reason(reason: str) -> None:
    """
    Raises:
        Invalid: it is too long, or no text that can be kept.
    """
    _check_text(reason, "reason", longest=MAX_DESCRIPTION)


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
