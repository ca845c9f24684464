"""
The cascade on arithmetic that can be checked: generated problems, simulated models.

The two models are simulated, because nobody published answers in full: the cheap one slips in a
step, copies a number wrongly or stops too early as small models do; the strong one rarely. What is
measured is the product's verifier and its rule, not the models.
"""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.routing.measures import Measured, bootstrap
from services.router.domain.cascade import Plan
from services.router.domain.catalog import Model, Price
from services.router.domain.decision import Candidate
from services.router.domain.form import FREE
from services.router.domain.learning import NO_EVIDENCE
from services.router.domain.preference import PRICE_OF_QUALITY
from services.router.domain.vector import Floats
from services.router.domain.verifier import vector_of, verdict_of

MANY = 2_000
LEARNED_FROM = 0.3  # share of answers whose outcome comes back
COSTS = (1.0, 20.0)  # of the two models, per answer
QUALITY = 0.95  # of the strong model's
_SKILLS = (0.72, 0.96)
_SUMS = 0.4  # of the problems; the others are stories
_SLIPPED, _MISCOPIED, _STOPPED = 0.5, 0.75, 0.9  # ways to be wrong, cumulated; or: no work at all


@dataclass(frozen=True)
class Cascaded:
    quality: Measured  # of the strong model's quality
    cost: Measured  # of the strong model's cost, both calls counted
    escalated: float
    cheap_quality: float


@dataclass(frozen=True)
class _Problem:
    prompt: str
    steps: tuple[tuple[int, str, int], ...]
    answer: int


def run(seed: int = 0) -> Cascaded:
    """Answer problems one after the other, learning from some outcomes."""
    dice = random.Random(seed)
    cheap, strong = (_candidate(n, s, c) for n, s, c in zip("ab", _SKILLS, COSTS, strict=True))
    evidence = NO_EVIDENCE
    rows = []
    for _ in range(MANY):
        problem = _problem(dice)
        first, right = _answer(problem, dice, _SKILLS[0])
        _, strong_right = _answer(problem, dice, _SKILLS[1])
        plan = Plan(
            cheap,
            (strong,),
            PRICE_OF_QUALITY["balanced"],
            1.0,
            problem.prompt,
            FREE,
            verdict_of(evidence),
        )
        found = plan.check(_completion(first))
        escalated = found.escalates
        if dice.random() < LEARNED_FROM:
            evidence = evidence.learn(vector_of(found.checks), 1.0 - right)
        served = strong_right if escalated else right
        rows.append((served, COSTS[0] + escalated * COSTS[1], strong_right, escalated, right))
    table = np.array(rows, float)
    return Cascaded(
        bootstrap(lambda d: _ratio(table[d, 0], table[d, 2]), MANY),
        bootstrap(lambda d: float(table[d, 1].mean()) / COSTS[1], MANY),
        float(table[:, 3].mean()),
        _ratio(table[:, 4], table[:, 2]),
    )


def _completion(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}


def _ratio(ours: Floats, theirs: Floats) -> float:
    return float(ours.mean() / theirs.mean())


def _candidate(name: str, skill: float, cost: float) -> Candidate:
    price = Price(1, 1, 1, version=1)
    model = Model(f"bench/{name}", "bench", name, "simple", skill, 1000, frozenset(), price)
    return Candidate(model, round(1_000 * cost), skill)


def _problem(dice: random.Random) -> _Problem:
    a, b, c = dice.randint(12, 97), dice.randint(3, 28), dice.randint(5, 90)
    product = a * b
    if dice.random() < _SUMS:
        return _Problem(f"What is {a} * {b} + {c}?", ((a, "*", b), (product, "+", c)), product + c)
    story = dice.choice(
        (
            f"A farm fills {a} crates with {b} melons each, and {c} more. How many melons is that?",
            f"A theatre has {a} rows of {b} seats, and {c} stools. How many people can sit?",
            f"Mira saves ${a} a week for {b} weeks and starts with ${c}. How much has she then?",
        )
    )
    return _Problem(story, ((a, "*", b), (product, "+", c)), product + c)


def _answer(problem: _Problem, dice: random.Random, skill: float) -> tuple[str, bool]:
    """Return a worked answer; a wrong one is wrong in one of four ways."""
    (a, _, b), (_, _, c) = problem.steps
    if dice.random() < skill:
        return _worked(a, b, a * b, c, problem.answer), True
    way = dice.random()
    if way < _SLIPPED:  # a slip in a step: the equation does not hold
        slip = a * b + dice.choice((-10, -1, 1, 10, 100))
        return _worked(a, b, slip, c, slip + c), False
    if way < _MISCOPIED:  # a number copied wrongly: every equation holds
        other = b + dice.choice((-1, 1, 10))
        return _worked(a, other, a * other, c, a * other + c), False
    if way < _STOPPED:  # the last step forgotten
        return f"{a} * {b} = {a * b}. The answer is {a * b}.", False
    return f"There are {a} and {b} and {c}, so the answer is {a + b + c}.", False


def _worked(a: int, b: int, product: int, c: int, answer: int) -> str:
    return f"{a} * {b} = {product}, and {product} + {c} = {answer}. The answer is {answer}."
