"""Questions the sandbox can really answer: arithmetic and well-known facts. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

_LOOKED_AT = 4_000  # characters from each end of a prompt: a task stands at one of them
_EXPRESSION = re.compile(
    r"(?<![\w.,])\d{1,12}(?:(?:\s*[+*×÷]\s*|\s+[-/x]\s+)\d{1,12}){1,8}(?!\w|[.,]\d|\s*[-+*×÷/x]\s*\d)"  # noqa: RUF001
)
_OPERAND_OR_OPERATOR = re.compile(r"\d+|[-+*/x×÷]")  # noqa: RUF001
_PERCENT = re.compile(r"(?<![\w.,])(\d{1,6})\s?(?:%|percent) of (\d{1,9})(?!\w|[.,]\d)")
_CAPITAL = re.compile(r"capital (?:city )?of (?:the )?([a-z]+(?: [a-z]+)?)")
_SYMBOL = re.compile(r"chemical symbol (?:for|of) ([a-z]+)")
_AUTHOR = re.compile(r"who wrote ([a-z' ]{3,40})")


@dataclass(frozen=True, slots=True)
class Task:
    difficulty: float  # 0 to 1
    right: str
    wrong: str


def find_task(prompt: str) -> Task | None:
    """Return the task a prompt sets; None if it is about something else."""
    text = prompt if len(prompt) <= 2 * _LOOKED_AT else prompt[:_LOOKED_AT] + prompt[-_LOOKED_AT:]
    return _arithmetic(text) or _percentage(text) or _fact(text.lower())


def _arithmetic(text: str) -> Task | None:
    found = _EXPRESSION.search(text)
    if not found:
        return None
    parts = _OPERAND_OR_OPERATOR.findall(found.group())
    value = _evaluate(parts)
    if value is None:
        return None
    operators = parts[1::2]
    digits = sum(len(number) for number in parts[::2])
    multiplies = any(operator not in "+-" for operator in operators)
    difficulty = 0.05 + 0.07 * (digits - 2) + 0.12 * (len(operators) - 1) + 0.1 * multiplies
    return _numeric_task(found.group(), value, difficulty)


def _percentage(text: str) -> Task | None:
    found = _PERCENT.search(text)
    if not found:
        return None
    value = Fraction(int(found[1]) * int(found[2]), 100)
    return _numeric_task(found.group(), value, 0.1 + 0.06 * (len(found[1]) + len(found[2]) - 2))


def _numeric_task(asked: str, value: Fraction, difficulty: float) -> Task:
    slip = Fraction(10) if abs(value) >= 100 else Fraction(1)  # noqa: PLR2004  # a digit not carried
    return Task(
        _within(difficulty),
        right=f"{asked} is {_number(value)}.",
        wrong=f"{asked} is {_number(value + slip)}.",
    )


def _evaluate(parts: list[str]) -> Fraction | None:
    """Evaluate with the usual precedence; None for a division by zero."""
    terms = [Fraction(parts[0])]
    for operator, digits in zip(parts[1::2], parts[2::2], strict=True):
        operand = Fraction(digits)
        if operator in "+-":
            terms.append(operand if operator == "+" else -operand)
        elif operator in "/÷":
            if not operand:
                return None
            terms[-1] /= operand
        else:
            terms[-1] *= operand
    return sum(terms, Fraction())


def _number(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.4f}".rstrip("0").rstrip(".")


def _fact(text: str) -> Task | None:
    for pattern, facts, sentence in _FACTS:
        if found := pattern.search(text):
            for name in _names(found[1]):
                if name in facts:
                    right, wrong, difficulty = facts[name]
                    return Task(
                        difficulty,
                        right=sentence.format(name=name.title(), answer=right),
                        wrong=sentence.format(name=name.title(), answer=wrong),
                    )
    return None


def _names(words: str) -> Iterable[str]:
    """The pattern may have caught a word too much: try the longest name first."""
    parts = words.split()
    return (" ".join(parts[:end]) for end in range(len(parts), 0, -1))


def _within(difficulty: float) -> float:
    return min(0.98, max(0.02, round(difficulty, 4)))


_CAPITALS = {
    "france": ("Paris", "Lyon", 0.05),
    "germany": ("Berlin", "Munich", 0.05),
    "italy": ("Rome", "Milan", 0.05),
    "japan": ("Tokyo", "Kyoto", 0.08),
    "spain": ("Madrid", "Barcelona", 0.08),
    "canada": ("Ottawa", "Toronto", 0.30),
    "australia": ("Canberra", "Sydney", 0.35),
    "brazil": ("Brasília", "Rio de Janeiro", 0.35),
    "turkey": ("Ankara", "Istanbul", 0.35),
    "new zealand": ("Wellington", "Auckland", 0.40),
    "kazakhstan": ("Astana", "Almaty", 0.60),
    "myanmar": ("Naypyidaw", "Yangon", 0.65),
    "burkina faso": ("Ouagadougou", "Bobo-Dioulasso", 0.70),
    "palau": ("Ngerulmud", "Koror", 0.85),
    "nauru": ("none officially; its offices are in Yaren", "Denigomodu", 0.90),
}
_SYMBOLS = {
    "gold": ("Au", "Go", 0.10),
    "iron": ("Fe", "Ir", 0.12),
    "sodium": ("Na", "So", 0.15),
    "tungsten": ("W", "Tu", 0.40),
    "antimony": ("Sb", "An", 0.60),
    "praseodymium": ("Pr", "Pm", 0.75),
}
_AUTHORS = {
    "hamlet": ("William Shakespeare", "Christopher Marlowe", 0.08),
    "don quixote": ("Miguel de Cervantes", "Lope de Vega", 0.20),
    "middlemarch": ("George Eliot", "Charlotte Brontë", 0.45),
    "oblomov": ("Ivan Goncharov", "Ivan Turgenev", 0.70),
    "the tale of genji": ("Murasaki Shikibu", "Sei Shōnagon", 0.55),
}
_FACTS = (
    (_CAPITAL, _CAPITALS, "The capital of {name} is {answer}."),
    (_SYMBOL, _SYMBOLS, "The chemical symbol for {name} is {answer}."),
    (_AUTHOR, _AUTHORS, "{name} was written by {answer}."),
)
