"""
Cascade: a cheap model answers first; where the answer looks wrong, a better one answers too.

    P(wrong) · (what the better model would gain) > price of quality · (what it would cost)

Both calls are paid and both are in the ledger. Only where the answer can be checked, and where it
is not already on its way to the caller: no streams.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.router.domain.candidates import Question, cost_order
from services.router.domain.decision import Candidate
from services.router.domain.preference import Wish, affordable, worths
from services.router.domain.verifier import checkable


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask first, and whom if that looks wrong."""

    first: Candidate
    then: Candidate
    price: float  # of quality, as the wish says
    cost: float  # of `then`, by the price of the dearest

    @property
    def bar(self) -> float:
        """P(wrong) above which `then` is asked."""
        gain = max(self.then.expected_quality, 1e-9)
        return min(self.price * self.cost / gain, 1.0)

    def escalates(self, wrongness: float) -> bool:
        """
        Say whether to ask the better model, too.

        Args:
            wrongness: P(wrong) of the first answer. Where it is wrong, the second one gains what
                the better model is right; where it is right, nothing.
        """
        return wrongness > self.bar

    def explain(self, wrongness: float | None = None) -> dict[str, object]:
        said: dict[str, object] = {
            "first": self.first.model.name,
            "then": self.then.model.name,
            "escalates_above": round(self.bar, 4),
        }
        if wrongness is not None:
            said |= {"wrongness": round(wrongness, 4), "escalated": self.escalates(wrongness)}
        return said


def plan(
    question: Question,
    fits: Sequence[Candidate],
    wish: Wish,
    *,
    prompt: str,
    schema: Mapping[str, Any] | None,
    streamed: bool,
) -> Plan | None:
    """Plan a cascade; None: nothing to check, nothing to gain, or too late to change the answer."""
    if streamed or not checkable(prompt, schema):
        return None
    within = affordable(fits, wish)
    priced = [c for c in within if c.expected_cost_nano_usd is not None]
    if len(priced) < 2:  # noqa: PLR2004 - a cascade has two steps
        return None
    then = max(priced, key=lambda c: (c.expected_quality, -(c.expected_cost_nano_usd or 0)))
    cheaper = [
        c
        for c in priced
        if 2 * (c.expected_cost_nano_usd or 0) < (then.expected_cost_nano_usd or 0)
    ]
    if not cheaper:
        return None
    worth = worths(question, cheaper, wish.price)
    first = max(cheaper, key=lambda c: (worth[c.model.name], *map(_negative, cost_order(c)[:2])))
    dearest = max(c.expected_cost_nano_usd or 0 for c in priced)
    return Plan(first, then, wish.price, (then.expected_cost_nano_usd or 0) / (dearest or 1))


def _negative(value: float) -> float:
    return -value
