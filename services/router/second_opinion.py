"""Cascade in action: a first answer is checked; where it looks wrong, a better model answers."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from common.errors import Failure
from services.router.attempts import Candidates
from services.router.domain.cascade import Check, Plan
from services.router.domain.decision import Decision
from services.router.domain.verifier import Answered, agree
from services.router.served import Served
from services.router.way import Way

LEAST_TIME_S = 1.0  # with less than this left, the first answer has to do


async def second_opinion(
    candidates: Candidates, way: Way, decision: Decision, first: Served
) -> tuple[Served, Decision]:
    """
    Return the answer to give, and the decision with what came of it.

    A second answer that cannot be had leaves the first one: it may well be right.

    Args:
        candidates: Ask providers.
        way: The request; a second call is recorded in its entry as well.
        decision: That led to the first answer, with a plan.
        first: The first answer; its attempt is settled.
    """
    plan = decision.plan
    if plan is None:
        return first, decision
    said = orjson.loads(first.body)
    check = plan.check(said)
    story = _Story(decision, check)
    if first.answered.name == plan.then[0].model.name:
        return first, story.told(note="the better model answered at once")
    if not check.escalates:
        return first, story.told()
    if way.caller.gone or way.deadline - time.monotonic() < LEAST_TIME_S:
        return first, story.told(note="no time was left for a second answer")
    try:
        second = await candidates.first_answer(
            way.ask,
            replace(decision, candidates=plan.then),
            way.entry,
            deadline=way.deadline,
            caller=way.caller,
        )
    except Failure as failure:
        return first, story.told(note=f"the second answer failed: {failure.message}")
    agreed = agree(_read(plan, said), _read(plan, orjson.loads(second.body)))
    both = replace(
        second,
        provider_ms=first.provider_ms + second.provider_ms,
        fallbacks=first.fallbacks + second.fallbacks,
    )
    return both, story.told(escalated=True, agreed=agreed)


class _Story:
    """What the explanation and learning are told about a check."""

    def __init__(self, decision: Decision, check: Check) -> None:
        self._decision = decision
        self._check = check

    def told(self, *, escalated: bool = False, agreed: bool = False, note: str = "") -> Decision:
        found = {name: round(value, 4) for name, value in self._check.checks.items() if value}
        told: dict[str, object] = {
            "wrongness": round(self._check.wrongness, 4),
            "found": found,
            "escalated": escalated,
        }
        if escalated:
            told["agreed"] = agreed
        if note:
            told["note"] = note
        explanation = self._decision.explanation
        return replace(
            self._decision,
            explanation={**explanation, "cascade": {**explanation["cascade"], **told}},
            seen={"checks": found, "escalated": escalated, "agreed": agreed},
        )


def _read(plan: Plan, answer: Mapping[str, Any]) -> Answered:
    return Answered.read(answer, prompt=plan.prompt, form=plan.form)
