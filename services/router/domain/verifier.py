"""
Is this answer wrong? What can be checked without asking anybody, as numbers that learning sees.

Nothing is taken for granted: each check is a feature, and how much it says about a wrong answer is
learned from outcomes, from a prior that says what a careful reader would think.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.router.domain.arithmetic import asked_sum, close, numbers_of, wrong_steps
from services.router.domain.learning import NO_EVIDENCE, Evidence, Prior, believe
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
PRIOR_CHECK = 12.0  # what the prior of a check weighs, in outcomes
_REFUSAL = re.compile(
    r"\b(?:I(?:'m| am) (?:sorry|unable|not able)|I can(?:'t|not)|as an AI|I do not have)\b",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^\s*```(?:json)?\s*|\s*```\s*$")
_QUANTITY = re.compile(r"\bhow (?:many|much)\b", re.IGNORECASE)
_REFUSAL_AT = 300  # characters from the beginning
_MOST_SHOWN = 12  # numbers of a prompt that are looked for


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt with the answer that a model gave."""

    prompt: str
    answer: str
    finish_reason: str
    schema: Mapping[str, Any] | None = None  # the JSON schema asked for; {}: any JSON object
    mean_logprob: float | None = None  # of the answer's tokens, if the provider says
    tool_calls: bool = False


def checkable(prompt: str, schema: Mapping[str, Any] | None) -> bool:
    """Say whether there is anything to check: a form that was asked for, or a figure."""
    return schema is not None or asked_sum(prompt) is not None or _asks_figure(prompt)


def checks_of(one: Answered) -> dict[str, float]:
    """Read the answer; the result is in the order of NAMES."""
    found = dict.fromkeys(NAMES, 0.0)
    found["answered"] = 1.0
    text = one.answer.strip()
    found["empty"] = float(not text and not one.tool_calls)
    found["refused"] = float(bool(_REFUSAL.search(text[:_REFUSAL_AT])))
    found["truncated"] = float(one.finish_reason == "length")
    if one.mean_logprob is not None:
        found["unsure"] = max(0.0, min(-one.mean_logprob, 1.0))
    if one.schema is not None and not one.tool_calls:
        found |= _form(text, one.schema)
    elif text:
        found |= _figures(one.prompt, text)
    return found


def vector_of(checks: Mapping[str, float]) -> Floats:
    """Return the checks as a vector of φ's size: the same update learns them, the rest stays 0."""
    vector = np.zeros(SIZE)
    vector[: len(NAMES)] = [checks[name] for name in NAMES]
    return vector


def wrongness(checks: Mapping[str, float], evidence: Evidence = NO_EVIDENCE) -> float:
    """
    Return P(wrong).

    Args:
        checks: Of the answer.
        evidence: Outcomes of checked answers: 1 was wrong, 0 was right.
    """
    mean = np.zeros(SIZE)
    mean[: len(NAMES)] = list(PRIOR.values())
    belief = believe(Prior(mean, np.full(SIZE, PRIOR_CHECK)), evidence)
    return max(0.0, min(belief.expect(vector_of(checks))[0], 1.0))


def _asks_figure(prompt: str) -> bool:
    return bool(_QUANTITY.search(prompt)) and len(numbers_of(prompt)) > 1


def _form(text: str, schema: Mapping[str, Any]) -> dict[str, float]:
    try:
        value = json.loads(_FENCE.sub("", text))
    except (ValueError, RecursionError):
        return {"unparsed": 1.0}
    good = _matches(value, schema)
    return {"off_schema": float(not good), "as_asked": float(good)}


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


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def _matches(value: Any, schema: Any, depth: int = 0) -> bool:
    """Check type, required fields, fields, items and choices: what answers get wrong."""
    if not isinstance(schema, Mapping) or depth > len(_TYPES) * 4:
        return True
    if "enum" in schema and isinstance(schema["enum"], list) and value not in schema["enum"]:
        return False
    if not _is_typed(value, schema.get("type")):
        return False
    if isinstance(value, dict):
        required = schema.get("required") or ()
        fields = schema.get("properties") or {}
        return all(name in value for name in required) and all(
            _matches(value[name], field, depth + 1)
            for name, field in fields.items()
            if name in value
        )
    if isinstance(value, list):
        return all(_matches(item, schema.get("items"), depth + 1) for item in value)
    return True


def _is_typed(value: Any, wanted: Any) -> bool:
    names: Sequence[Any] = wanted if isinstance(wanted, list) else [wanted]
    if not any(isinstance(name, str) and name in _TYPES for name in names):
        return True
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES[name]) for name in names if name in _TYPES)
