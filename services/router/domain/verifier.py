"""
Is this answer wrong? What can be checked without asking anybody, as numbers that learning sees.

Nothing is taken for granted: each check is a feature, and how much it says about a wrong answer is
learned from outcomes, from a prior that says what a careful reader would think.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from services.router.domain.arithmetic import asked_sum, close, numbers_of, wrong_steps
from services.router.domain.form import FREE, Form
from services.router.domain.learning import Belief, Evidence, Prior, believe
from services.router.domain.vector import SIZE, Floats

# What each check adds to the probability of a wrong answer, before any outcome.
PRIOR: Mapping[str, float] = {
    "answered": 0.25,  # always 1: how often unchecked answers are wrong
    "empty": 0.7,
    "refused": 0.6,
    "truncated": 0.5,
    "unparsed": 0.7,  # JSON was asked for
    "off_schema": 0.6,
    "as_asked": -0.15,  # JSON was asked for and is as the schema says
    "sum_right": -0.22,  # the sum in the prompt, computed anew, is the answer
    "sum_wrong": 0.7,
    "step_wrong": 0.55,  # an equation in the answer does not hold
    "steps_right": -0.05,
    "holds": -0.15,  # every step holds and every number of the prompt is used
    "unworked": 0.1,  # no step is shown
    "numbers_unused": 0.4,  # share of the prompt's numbers that the answer never mentions
    "no_number": 0.3,  # where the prompt asks how many
    "unsure": 0.3,  # mean log-probability of a token, from 0 (certain) to 1 (below -1)
}
NAMES = tuple(PRIOR)
NAMES = tuple(PRIOR)
PRIOR_CHECK = 12.0  # what the prior of a check weighs, in outcomes
SURELY_RIGHT = 0.75  # an outcome from which on an answer counts as right
_REFUSAL = re.compile(  # at the very beginning: "I can't stress enough" is none
    r"\W{0,4}(?:(?:I'm|I am) (?:very |so )?sorry|sorry|I apologi[sz]e|unfortunately)?\W{0,4}"
    r"(?:but )?(?:as an? AI[^.,]{0,40},? )?"
    r"I(?: can't| cannot| can not| won't| will not|'m unable to| am unable to|'m not able to"
    r"| am not able to) (?:\w+ ){0,2}?(?:help|assist|comply|provide|fulfil|fulfill|answer|do that"
    r"|engage|continue|create|generate|write|discuss|share|support)\b",
    re.IGNORECASE,
)
_QUANTITY = re.compile(r"\bhow (?:many|much)\b", re.IGNORECASE)
_REFUSAL_WITHIN = 200  # characters from the beginning
_MOST_SHOWN = 12  # numbers of a prompt that are looked for


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt with the answer that a model gave."""

    prompt: str
    answer: str
    finish_reason: str
    form: Form = FREE
    mean_logprob: float | None = None  # of the answer's tokens, if the provider says
    calls: Sequence[Any] = ()  # of tools
    refused: bool = False  # in so many words: a field of its own

    @classmethod
    def read(cls, answer: Mapping[str, Any], *, prompt: str, form: Form) -> Self:
        """Read an OpenAI chat completion: its first choice."""
        choice = _mapping(next(iter(_list(answer.get("choices"))), None))
        message = _mapping(choice.get("message"))
        finish_reason = str(choice.get("finish_reason") or "")
        return cls(
            prompt,
            _text(message.get("content")),
            finish_reason,
            form,
            _mean_logprob(choice.get("logprobs")),
            _list(message.get("tool_calls")),
            bool(message.get("refusal")) or finish_reason == "content_filter",
        )


def checkable(prompt: str, form: Form) -> bool:
    """Say whether there is anything to check: a form that was asked for, or a figure."""
    return form.asked or asked_sum(prompt) is not None or _asks_figure(prompt)


def checks_of(one: Answered) -> dict[str, float]:
    """Read the answer; the result is in the order of NAMES."""
    found = dict.fromkeys(NAMES, 0.0)
    found["answered"] = 1.0
    text = one.answer.strip()
    found["empty"] = float(_is_empty(one))
    found["refused"] = float(_is_refusal(one))
    found["truncated"] = float(one.finish_reason == "length")
    if one.mean_logprob is not None:
        found["unsure"] = max(0.0, min(-one.mean_logprob, 1.0))
    if one.form.schema is not None or one.calls or one.form.must_call:
        fault = one.form.fault_of(text, one.calls)
        found[fault or "as_asked"] = 1.0
    elif text:
        found |= _figures(one.prompt, text)
    return found


def signs_of(one: Answered) -> list[str]:
    """Name what shows that an answer is no good, whoever reads it: empty, refused, invalid_json."""
    if _is_empty(one):
        return ["empty"]
    if _is_refusal(one):
        return ["refused"]
    whole = one.finish_reason != "length"  # the caller's own limit cut it
    if whole and one.form.asked and one.form.fault_of(one.answer.strip(), one.calls):
        return ["invalid_json"]
    return []


def vector_of(checks: Mapping[str, float]) -> Floats:
    """Return the checks as a vector of φ's size: the same update learns them, the rest stays 0."""
    vector = np.zeros(SIZE)
    vector[: len(NAMES)] = [checks[name] for name in NAMES]
    return vector


def verdict_of(evidence: Evidence) -> Belief:
    """
    Return what is believed of checked answers.

    Args:
        evidence: Outcomes of checked answers: 1 was wrong, 0 was right.
    """
    mean = np.zeros(SIZE)
    mean[: len(NAMES)] = list(PRIOR.values())
    return believe(Prior(mean, np.full(SIZE, PRIOR_CHECK)), evidence)


def wrongness(checks: Mapping[str, float], verdict: Belief) -> float:
    """Return P(wrong)."""
    return max(0.0, min(verdict.expect(vector_of(checks))[0], 1.0))


def wrong_outcome(outcome: float, *, escalated: bool, agreed: bool) -> float | None:
    """
    Say how wrong a checked first answer turned out; None: the outcome does not tell.

    Args:
        outcome: Of the answer that was given in the end, 0 to 1.
        escalated: That was the second one.
        agreed: And it said the same as the first.
    """
    if not escalated or agreed:
        return 1 - outcome
    return 1.0 if outcome >= SURELY_RIGHT else None


def agree(one: Answered, other: Answered) -> bool:
    """Say whether two answers come to the same: the same text, or the same last figure."""
    if one.answer.strip() == other.answer.strip() and one.calls == other.calls:
        return True
    figures, others = numbers_of(one.answer), numbers_of(other.answer)
    free = not (one.form.asked or other.form.asked)
    return free and bool(figures and others) and close(figures[-1], others[-1])


def _is_empty(one: Answered) -> bool:
    return not one.answer.strip() and not one.calls and not one.refused


def _is_refusal(one: Answered) -> bool:
    begins = one.answer.lstrip()[:_REFUSAL_WITHIN].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return one.refused or bool(_REFUSAL.match(begins))


def _asks_figure(prompt: str) -> bool:
    return bool(_QUANTITY.search(prompt)) and len(numbers_of(prompt)) > 1


def _figures(prompt: str, answer: str) -> dict[str, float]:
    found: dict[str, float] = {}
    figures = numbers_of(answer)
    wanted = asked_sum(prompt)
    if wanted is not None:
        right = bool(figures) and close(figures[-1], wanted)
        found |= {"sum_right": float(right), "sum_wrong": float(not right)}
    wrong = wrong_steps(answer)
    found["step_wrong"] = float(wrong > 0)
    worked = wrong == 0 and "=" in answer
    found["steps_right"] = float(worked)
    if _asks_figure(prompt):
        given = numbers_of(prompt)[:_MOST_SHOWN]
        unused = sum(one not in figures for one in given) / len(given)
        found["numbers_unused"] = unused
        found["holds"] = float(worked and not unused)
        found["unworked"] = float("=" not in answer)
        found["no_number"] = float(not figures)
    return found


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _list(found: Any) -> Sequence[Any]:
    return found if isinstance(found, list) else ()


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _mean_logprob(told: Any) -> float | None:
    tokens = told.get("content") if isinstance(told, Mapping) else None
    if not isinstance(tokens, list):
        return None
    found = [token.get("logprob") for token in tokens if isinstance(token, Mapping)]
    numbers = [one for one in found if isinstance(one, int | float) and -math.inf < one <= 0]
    return sum(numbers) / len(numbers) if numbers else None
