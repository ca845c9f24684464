"""
What is known of each user of an experiment, and the sums over an arm that every statistic needs.

All of it is whole numbers, so a sum that is updated a million times is still exact, a correction
takes back just what it corrects, and an arm without any variance is seen to have none.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import starmap
from operator import attrgetter
from typing import Any, Self

from common.errors import Invalid


@dataclass(frozen=True, slots=True)
class UserTotals:
    """One user's requests in one arm."""

    results: int = 0
    priced: int = 0  # the rest has no known price and enters no cost
    cost_nano_usd: int = 0
    good: int = 0  # priced, did not fail, and nobody rated it 1 or 2
    prompt_words: int = 0  # of the priced; what the user wrote, never what an arm answered before
    measured: int = 0  # priced results of which the length of the prompt is known
    failures: int = 0
    latency_us: int = 0
    slow: int = 0  # beyond what `Looks.slow_over_us` says
    rated: int = 0
    quality: int = 0  # sum of the stars
    fallbacks: int = 0  # results that another model than the first choice answered

    def __add__(self, other: "UserTotals") -> "UserTotals":
        return UserTotals(*map(int.__add__, values_of(self), values_of(other)))

    def __sub__(self, other: "UserTotals") -> "UserTotals":
        return UserTotals(*map(int.__sub__, values_of(self), values_of(other)))


NOTHING = UserTotals()
NAMES = tuple(one.name for one in fields(UserTotals))
values_of = attrgetter(*NAMES)  # astuple copies each number deeply: fifty times slower
USERS = "users"  # the number 1 for each user: a ratio per user

# A ratio needs the products of what is divided with what it is divided by, user by user.
_RATIOS = (
    ("cost_nano_usd", "good"),
    ("cost_nano_usd", "priced"),
    ("quality", "rated"),
    ("failures", "results"),
    ("latency_us", "results"),
    ("slow", "results"),
    ("rated", "results"),
    ("fallbacks", "results"),
    ("prompt_words", "priced"),
)
_COVARIATE = (("prompt_words", "cost_nano_usd"), ("prompt_words", "good"), ("priced", "good"))
PAIRS = tuple(
    sorted(
        {(min(a, b), max(a, b)) for m, d in _RATIOS for a, b in ((m, m), (m, d), (d, d))}
        | {(min(pair), max(pair)) for pair in _COVARIATE}
    )
)
PRESENT = ("results", "priced", "rated")  # users with any of these are counted
_INDEXES = [(NAMES.index(a), NAMES.index(b)) for a, b in PAIRS]
_PRESENT = [NAMES.index(name) for name in PRESENT]


@dataclass(slots=True)
class ArmTotals:
    """Sums over the users of an arm: of what is known of each, and of the products."""

    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    products: dict[tuple[str, str], int] = field(default_factory=lambda: dict.fromkeys(PAIRS, 0))
    present: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PRESENT, 0))

    def replace(self, before: UserTotals, after: UserTotals) -> None:
        """Take one user's totals out and put the newer ones in."""
        old, new = values_of(before), values_of(after)
        for name, was, now in zip(NAMES, old, new, strict=True):
            self.sums[name] += now - was
        for pair, (a, b) in zip(PAIRS, _INDEXES, strict=True):
            self.products[pair] += new[a] * new[b] - old[a] * old[b]
        for name, index in zip(PRESENT, _PRESENT, strict=True):
            self.present[name] += (new[index] > 0) - (old[index] > 0)

    def sum(self, name: str) -> int:
        return self.present["results"] if name == USERS else self.sums[name]

    def product(self, a: str, b: str) -> int:
        """Return the sum over users of *a* times *b*."""
        if a == USERS:
            return self.sum(b)
        return self.sum(a) if b == USERS else self.products[min(a, b), max(a, b)]

    def users(self, name: str = "results") -> int:
        """Return how many users have any *name*."""
        return self.present[name]

    def dump(self) -> dict[str, Any]:
        """Write as JSON values; the names stand beside them, so that fields can be added."""
        return {
            "sums": self.sums,
            "products": {f"{a}*{b}": value for (a, b), value in self.products.items()},
            "present": self.present,
        }

    @classmethod
    def load(cls, kept: Mapping[str, Any]) -> Self:
        products = kept.get("products", {})
        return cls(
            {name: kept.get("sums", {}).get(name, 0) for name in NAMES},
            {(a, b): products.get(f"{a}*{b}", 0) for a, b in PAIRS},
            {name: kept.get("present", {}).get(name, 0) for name in PRESENT},
        )


def dumps(arms: Mapping[str, ArmTotals]) -> str:
    """Write the totals of arms; sums of squares have more digits than most parsers of JSON keep."""
    return json.dumps({name: totals.dump() for name, totals in arms.items()})


def loads(kept: str) -> dict[str, ArmTotals]:
    """
    Read what `dumps` wrote.

    Raises:
        Invalid: it is something else.
    """
    try:
        read = json.loads(kept)
        return dict(starmap(lambda name, one: (name, ArmTotals.load(one)), read.items()))
    except (ValueError, AttributeError, TypeError) as error:
        raise Invalid("the kept totals of an experiment cannot be read") from error
