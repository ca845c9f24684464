"""Prompts as people send them, from greetings to proofs; seeded, so that a run can be repeated."""

import random
from collections.abc import Callable, Iterator

_THINGS = (
    "a hash map",
    "a rainbow",
    "the tides",
    "compound interest",
    "a vaccine",
    "a suspension bridge",
)
_LANGUAGES = ("French", "Polish", "Japanese", "Swahili")
_COUNTRIES = ("France", "Canada", "Kazakhstan", "Burkina Faso", "Nauru", "New Zealand", "Palau")
_CLAIMS = (
    "there are infinitely many primes",
    "the square root of two is irrational",
    "every tree with n vertices has n - 1 edges",
    "a bounded monotone sequence converges",
)
_SYSTEMS = ("a ride-sharing service", "a payment ledger", "a chat application", "a photo archive")


def _greeting(dice: random.Random) -> str:
    return dice.choice(("hello there", "Hi, who are you?", "thanks, that helped", "good morning"))


def _fact(dice: random.Random) -> str:
    return f"What is the capital of {dice.choice(_COUNTRIES)}?"


def _sum(dice: random.Random) -> str:
    digits = dice.randint(1, 5)
    operator = dice.choice("+*") if digits > 1 else "+"
    first, second = (dice.randint(10 ** (digits - 1), 10**digits - 1) for _ in range(2))
    return f"What is {first} {operator} {second}?"


def _translation(dice: random.Random) -> str:
    return f"Translate 'where is the station?' into {dice.choice(_LANGUAGES)}."


def _explanation(dice: random.Random) -> str:
    return (
        f"Explain how {dice.choice(_THINGS)} works to a curious twelve-year-old, in two paragraphs."
    )


def _code(dice: random.Random) -> str:
    return (
        "Refactor this function so that it is safe under concurrency and explain each step.\n"
        "```python\ndef add(cache, key, value):\n    if key not in cache:\n"
        f"        cache[key] = value + {dice.randint(1, 99)}\n    return cache[key]\n```"
    )


def _proof(dice: random.Random) -> str:
    return (
        f"Prove formally that {dice.choice(_CLAIMS)}. State every lemma you use, derive each step"
        " from the one before it, and say where the proof would fail if an assumption were dropped."
    )


def _design(dice: random.Random) -> str:
    return (
        f"Design the architecture of {dice.choice(_SYSTEMS)} for {dice.randint(2, 90)} million"
        " users. Name the constraints, compare two consistency models with their trade-offs, show"
        " how a race between two writers is resolved, and optimize the cost of storage over five"
        " years. One region may be lost, and regulation forbids data to leave it."
    )


_MIX: tuple[tuple[Callable[[random.Random], str], int], ...] = (  # with how often, in percent
    (_greeting, 14),
    (_fact, 16),
    (_sum, 22),
    (_translation, 10),
    (_explanation, 14),
    (_code, 10),
    (_proof, 8),
    (_design, 6),
)


def prompts(seed: int = 0) -> Iterator[str]:
    """Yield prompts without end, in a realistic mix; equal seeds yield equal prompts."""
    dice = random.Random(seed)
    kinds, shares = zip(*_MIX, strict=True)
    while True:
        yield dice.choices(kinds, shares)[0](dice)
