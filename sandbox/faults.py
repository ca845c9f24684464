"""
Faults on request: written into a prompt, or ruled by an operator at /faults.

    [[fault:status=503]]                          every model answers 503
    [[fault:status=429,retry_after=2,times=1]]    the first request with this text, then none
    [[fault:cut_after=5,models=tiny|small]]       only these models cut the connection

A directive is one kind (with a value, if it takes one) and options. Both write the same words, so
what works in a prompt works at /faults too.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sandbox.models import CHAT_MODELS
from sandbox.refusal import Refusal, bad
from sandbox.request import text_of

_OPEN, _CLOSE = "[[fault:", "]]"
_MOST_RULES = 1_000
_REMEMBERED_TEXTS = 10_000  # directives with `times` whose uses are counted
_HIGHEST = 1_000_000  # of any number in a directive

# What each kind takes: "" nothing, "int", "seconds", "rate" or "text".
KINDS: Mapping[str, str] = {
    # instead of an answer; nothing is billed unless `billed` says so
    "status": "int",
    "hang": "",
    "html": "",
    "empty_body": "",
    "content_policy": "",
    "context_length": "",
    "insufficient_quota": "",
    "unauthorized": "",
    "redirect": "",
    "gzip_bomb": "",
    "error_after_billing": "",
    # in an answer
    "first_token_s": "seconds",
    "tokens_per_s": "rate",
    "cut_after": "int",
    "stall_after": "int",
    "garbage_after": "int",
    "end_after": "int",
    "empty_choices": "",
    "white_space": "",
    "heartbeats": "",
    "refuses_prefill": "",
    "no_usage": "",
    "absurd_usage": "",
    "no_done": "",
    "reports_model": "text",
}
BREAKS = frozenset({"cut_after", "stall_after", "end_after"})  # the answer never ends
INSTEAD = frozenset(list(KINDS)[: list(KINDS).index("first_token_s")])


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    number: float = 0  # the value of kinds that take a number
    text: str = ""  # the value of kinds that take a text
    models: frozenset[str] = frozenset()  # empty: every model
    times: int | None = None  # requests it strikes; None: all of them
    retry_after_s: float | None = None
    billed: bool = False  # the answer is generated and billed, then withheld

    @property
    def after(self) -> int:
        """How many pieces pass before it strikes."""
        return int(self.number)

    def strikes(self, model: str) -> bool:
        return not self.models or model in self.models


class Faults:
    """The standing rules, and how often each counted directive has struck."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._struck: OrderedDict[str, int] = OrderedDict()

    def find(self, model: str, messages: Sequence[Mapping[str, Any]]) -> Fault | None:
        """
        Return the fault that strikes this request and count it; the prompt's own comes first.

        Raises:
            Refusal: a directive in the prompt cannot be read.
        """
        for message in messages:
            text = text_of(message)
            if _OPEN not in text:
                continue
            for directive in directives_in(text):
                fault = fault_from(directive)
                if fault.strikes(model) and self._count(directive, fault.times):
                    return fault
        return self._ruled(model) if self._rules else None

    def add(self, rule: Fault) -> None:
        """Add a standing rule; the oldest rule that strikes wins."""
        if len(self._rules) >= _MOST_RULES:
            raise Refusal(400, f"There are {_MOST_RULES} rules already: DELETE /faults first")
        self._rules.append(rule)

    def clear(self) -> None:
        self._rules.clear()
        self._struck.clear()

    def listed(self) -> list[Fault]:
        return list(self._rules)

    def _ruled(self, model: str) -> Fault | None:
        for index, rule in enumerate(self._rules):
            if rule.strikes(model):
                if rule.times == 1:
                    del self._rules[index]
                elif rule.times is not None:
                    self._rules[index] = replace(rule, times=rule.times - 1)
                return rule
        return None

    def _count(self, directive: str, times: int | None) -> bool:
        """Take one of the directive's *times*; False when they are used up."""
        if times is None:
            return True
        struck = self._struck.get(directive, 0)
        if struck >= times:
            return False
        self._struck[directive] = struck + 1
        self._struck.move_to_end(directive)
        if len(self._struck) > _REMEMBERED_TEXTS:
            self._struck.popitem(last=False)
        return True


def directives_in(text: str) -> list[str]:
    """Return what stands between the brackets of each directive."""
    return [part.partition(_CLOSE)[0] for part in text.split(_OPEN)[1:]]


def fault_from(directive: str) -> Fault:
    """
    Read a directive such as `status=503,models=tiny|small,times=2`.

    Raises:
        Refusal: an unknown kind, model or option: a fault that is misspelt must not pass silently.
    """
    kind_and_value, *options = (part.strip() for part in directive.split(","))
    kind, _, value = kind_and_value.partition("=")
    fault = _of_kind(kind, value)
    for option in options:
        name, _, value = option.partition("=")
        fault = _with_option(fault, name, value)
    return fault


def _of_kind(kind: str, value: str) -> Fault:
    takes = KINDS.get(kind)
    if takes is None:
        raise bad("fault", f"'{kind[:50]}' is none of {', '.join(KINDS)}")
    if takes == "":
        return Fault(kind)
    if takes == "text":
        return Fault(kind, text=value[:100])
    number = _number(kind, value)
    if kind == "status" and not 400 <= number <= 599:  # noqa: PLR2004  # the errors of HTTP
        raise bad("fault", "status must be from 400 to 599")
    if takes == "rate" and number == 0:
        raise bad("fault", f"{kind} must be above 0")
    return Fault(kind, number=number)


def _with_option(fault: Fault, name: str, value: str) -> Fault:
    if name == "models":
        models = frozenset(value.split("|"))
        if unknown := models - CHAT_MODELS.keys():
            raise bad("fault", f"unknown models: {', '.join(sorted(unknown))[:100]}")
        return replace(fault, models=models)
    if name == "times":
        return replace(fault, times=max(1, int(_number(name, value))))
    if name == "retry_after":
        return replace(fault, retry_after_s=_number(name, value))
    if name == "billed":
        return replace(fault, billed=value not in ("0", "false"))
    if name == "id":  # tells two directives apart whose uses are counted
        return fault
    raise bad("fault", f"'{name[:50]}' is none of models, times, retry_after, billed, id")


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not 0 <= number <= _HIGHEST:
        raise bad("fault", f"{name} needs a number of at least 0")
    return number
