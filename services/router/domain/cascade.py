"""
Cascade: a cheap model answers first; where the answer looks wrong, a better one answers too.

    P(wrong) · (what the better model would gain) > price of quality · (what it would cost)

Both calls are paid and both are in the ledger. Only where the answer can be checked, and where it
is not already on its way to the caller: no streams.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.router.domain.candidates import Question, cost_order, fitting, with_fallbacks
from services.router.domain.decision import Candidate
from services.router.domain.form import Form, form_of
from services.router.domain.hybrid import by_hybrid, trust
from services.router.domain.learning import Belief
from services.router.domain.preference import Wish, affordable, why_lost, worths
from services.router.domain.rankings import Ranking, named
from services.router.domain.verifier import Answered, checkable, checks_of, wrongness

CAUGHT = 0.8  # share of wrong answers that checks are expected to find
MUCH_CHEAPER = 0.5  # of what the better model costs: dearer than that, asking it at once is simpler


@dataclass(frozen=True, slots=True)
class Check:
    """What was found in a first answer."""

    checks: Mapping[str, float]
    wrongness: float  # P(wrong)
    escalates: bool  # to the better model


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask first, and whom if that looks wrong."""

    first: Candidate
    then: tuple[Candidate, ...]  # the better model, and who may take its place
    price: float  # of quality, as the wish says
    cost: float  # of the better model, by the price of the dearest
    prompt: str
    form: Form  # that was asked for
    verdicts: Belief  # which checked answers are wrong

    @property
    def bar(self) -> float:
        """P(wrong) above which the better model is asked."""
        gain = max(self.then[0].expected_quality, 1e-9)
        return min(self.price * self.cost / gain, 1.0)

    def check(self, answer: Mapping[str, Any]) -> Check:
        """
        Say whether to ask the better model, too.

        Where the first answer is wrong, the second one gains what the better model is right; where
        it is right, nothing.

        Args:
            answer: An OpenAI chat completion.
        """
        checks = checks_of(Answered.read(answer, prompt=self.prompt, form=self.form))
        doubt = wrongness(checks, self.verdicts)
        return Check(checks, doubt, doubt > self.bar)

    def explain(self) -> dict[str, object]:
        return {
            "first": self.first.model.name,
            "then": self.then[0].model.name,
            "escalates_above": round(self.bar, 4),
        }


def by_cascade(question: Question, wish: Wish) -> Ranking:
    """Ask a cheap model first where its answer can be checked; elsewhere, choose as hybrid."""
    fits = affordable(fitting(question), wish)
    found = _plan(question, fits, wish)
    if isinstance(found, str):
        hybrid = by_hybrid(question, wish)
        why = f"No cascade: {found}. Chosen as hybrid does. {hybrid.reasoning}"
        extra = {**hybrid.extra, "cascade": {"first": None, "why_not": found}}
        return replace(hybrid, reasoning=why, extra=extra)
    first, then = found.first, found.then[0]
    rest = [c for c in fits if c.model.name != first.model.name]
    why = (
        f"{named(first)} answers first, because its answer can be checked. Where that looks wrong"
        f" with a probability above {found.bar:.0%}, {named(then)} answers, too."
    )
    return Ranking(
        with_fallbacks([first], sorted(rest, key=cost_order), question=question),
        trust(first),
        why,
        _why_lost(found, why_lost(question, fits, wish, first)),
        fits,
        {"preset": wish.preset, "explored": False, "cascade": found.explain()},
        plan=found,
    )


def _why_lost(plan: Plan, by_worth: Callable[[Candidate], str]) -> Callable[[Candidate], str]:
    then = plan.then[0]

    def lost(other: Candidate) -> str:
        if other.model.name == then.model.name:
            return "answers only where the first answer looks wrong"
        if _cost(other) >= MUCH_CHEAPER * _cost(then):
            return f"not much cheaper than {then.model.name}, which answers where the first fails"
        return by_worth(other)

    return lost


def _plan(question: Question, fits: Sequence[Candidate], wish: Wish) -> Plan | str:
    """Plan a cascade, or say why there is none."""
    form = form_of(question.ask.body)
    if question.ask.streamed:
        return "a stream leaves before it could be checked"
    if not checkable(question.text, form):
        return "nothing in the answer could be checked"
    priced = [c for c in fits if c.expected_cost_nano_usd is not None]
    better = sorted(priced, key=lambda c: (-c.expected_quality, cost_order(c)))
    cheaper = [c for c in priced if _cost(c) < MUCH_CHEAPER * _cost(better[0])] if better else []
    if not cheaper:
        return "no model is much cheaper than the best one"
    worth = worths(question, priced, wish.price)
    first = max(cheaper, key=lambda c: (_worth(c, better[0], worth), -_cost(c)))
    then = [c for c in better if c.expected_quality > first.expected_quality]
    if not then:
        return f"{first.model.name} is expected to be as good as any"
    cap = wish.max_cost_nano_usd
    if cap is not None and _cost(first) + _cost(then[0]) > cap:
        return "both answers would cost more than the caller's cap"
    return Plan(
        first,
        with_fallbacks(then, question=question),
        wish.price,
        _cost(then[0]) / (max(map(_cost, priced)) or 1),
        question.text,
        form,
        question.beliefs.verdict,
    )


def _worth(first: Candidate, then: Candidate, worth: Mapping[str, float]) -> float:
    """Return quality less price of a cascade: of the first answer, and of the second where due."""
    caught = (1 - first.expected_quality) * CAUGHT
    return worth[first.model.name] + caught * worth[then.model.name]


def _cost(candidate: Candidate) -> int:
    return candidate.expected_cost_nano_usd or 0
