"""Sums in a text: found and computed anew, exactly, with bounds on how large they may get."""

import re
from fractions import Fraction
from itertools import pairwise

_NUMBER = r"-?\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,9})?"
_SIGN = r"\s{0,3}(?:[-+*/x\u00d7\u00f7\u00b7]|times|plus|minus|divided by)\s{0,3}"
_SUM = re.compile(rf"\(?{_NUMBER}\)?(?:{_SIGN}\(?{_NUMBER}\)?){{1,11}}", re.IGNORECASE)
_LEFT = re.compile(rf"{_NUMBER}(?:{_SIGN}{_NUMBER}){{1,11}}\s{{0,3}}$", re.IGNORECASE)
_RIGHT = re.compile(rf"\s{{0,3}}\$?({_NUMBER})")
_NUMBERS = re.compile(r"(?<![\w.])-?\$?\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,9})?")
_TOKEN = re.compile(
    rf"{_NUMBER}|[-+*/x\u00d7\u00f7\u00b7]|times|plus|minus|divided by", re.IGNORECASE
)
_SIGNS = {
    "x": "*",
    "\N{MULTIPLICATION SIGN}": "*",
    "\N{MIDDLE DOT}": "*",
    "\N{DIVISION SIGN}": "/",
}
_SIGNS |= {"times": "*", "plus": "+", "minus": "-", "divided by": "/"}
_LOOKED_AT = 4_000  # characters
_MOST_EQUATIONS = 40
_LONGEST_SIDE = 80  # characters: a longer left side costs more to find than it tells
_WORD = re.compile(r"[^\W\d_]+")
# Beside a sum that is all that is asked for; with any other word it may be part of something else.
_ASKING_WORDS = (
    "a and answer as calculate compute does equal equals evaluate exact exactly figure find for"
    " give how in is it its just me much nothing number of only out please product quickly reply"
    " respond result s solve state sum tell the to total value what whats with work"
)
_ASKING = frozenset(_ASKING_WORDS.split())
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
CLOSE = Fraction(1, 1_000)  # of a fraction that is rounded: 33.3 for a third of a hundred


def numbers_of(text: str) -> list[Fraction]:
    """Return the numbers of *text*, in order."""
    found = _NUMBERS.findall(text[-_LOOKED_AT:])
    return [Fraction(one.replace(",", "").replace("$", "")) for one in found]


def asked_sum(prompt: str) -> Fraction | None:
    """Compute the sum that *prompt* asks for and nothing else; None: there is none, or several."""
    if len(prompt) > _LOOKED_AT:
        return None
    found = _SUM.findall(prompt)
    if len(found) != 1 or "(" in found[0] or ")" in found[0] or _DATE.search(found[0]):
        return None
    beside = _WORD.findall(prompt.replace(found[0], " ", 1).lower())
    return _compute(found[0]) if _ASKING.issuperset(beside) else None


def wrong_steps(answer: str) -> int:
    """Count the equations of *answer* whose sides differ."""
    parts = answer[:_LOOKED_AT].split("=", _MOST_EQUATIONS)
    wrong = 0
    for before, after in pairwise(parts):
        left, right = _LEFT.search(before[-_LONGEST_SIDE:]), _RIGHT.match(after)
        value = _compute(left.group()) if left and right else None
        if value is not None and right:
            wrong += not close(value, Fraction(right[1].replace(",", "")))
    return wrong


def close(one: Fraction, other: Fraction) -> bool:
    """Say whether two figures are the same. Whole numbers are not rounded: they must be equal."""
    if one.denominator == other.denominator == 1:
        return one == other
    return abs(one - other) <= CLOSE * max(abs(one), abs(other))


def _compute(text: str) -> Fraction | None:
    """Compute sums and products of numbers; * and / first. None: a division by nothing."""
    terms: list[Fraction] = []
    sign = "+"
    for token in _split(text):
        if token in ("+", "-", "*", "/"):
            sign = token
            continue
        number = Fraction(token.replace(",", ""))
        if sign == "*" and terms:
            terms[-1] *= number
        elif sign == "/" and terms:
            if not number:
                return None
            terms[-1] /= number
        else:
            terms.append(-number if sign == "-" else number)
    return sum(terms, Fraction()) if terms else None


def _split(text: str) -> list[str]:
    """Cut into numbers and signs: in "7-3" the minus is a sign, in "7 * -3" part of a number."""
    tokens: list[str] = []
    for token in _TOKEN.findall(text):
        lower = token.lower()
        if token.startswith("-") and len(token) > 1 and tokens and tokens[-1] not in "+-*/":
            tokens += ["-", token[1:]]
        else:
            tokens.append(_SIGNS.get(lower, lower))
    return tokens
