"""
Folding requests by the minute. Pure: the same rows in any order give the same rollups.

Three populations are kept apart, because an average or a ratio over a mixture says nothing:
all requests, the priced ones among them, and the compared ones (what was paid and what the
baseline would have cost are both known).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Key:
    """What one rollup is about."""

    minute: datetime  # UTC, seconds cut off
    strategy: str
    provider: str
    model: str
    confidence: str
    outcome: str
    cache_hit: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    input: int = 0  # cached ones included
    output: int = 0
    cached_input: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has ended."""

    request_id: UUID
    key: Key
    tokens: Tokens
    cost_nano_usd: int | None  # of all its attempts; None: unpriced
    baseline_cost_nano_usd: int | None

    @property
    def priced(self) -> bool:
        return self.cost_nano_usd is not None

    @property
    def compared(self) -> bool:
        return self.priced and self.baseline_cost_nano_usd is not None


@dataclass(frozen=True, slots=True)
class Correction:
    """The truth about a request that has ended, as differences to what was known then."""

    request_id: UUID
    tokens: Tokens
    cost_nano_usd: int
    baseline_cost_nano_usd: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request was counted, and in which populations: all that a correction needs."""

    key: Key
    priced: bool
    compared: bool


@dataclass(slots=True)
class Sums:
    """What is added to one rollup."""

    requests: int = 0
    priced: int = 0
    compared: int = 0
    cost_nano_usd: int = 0  # over the priced
    compared_cost_nano_usd: int = 0
    baseline_cost_nano_usd: int = 0  # over the compared
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0


Rollups = dict[Key, Sums]


def fold(requests: Iterable[Request]) -> Rollups:
    """Count each request once, under its key."""
    rollups: Rollups = {}
    for request in requests:
        sums = rollups.setdefault(request.key, Sums())
        sums.requests += 1
        sums.priced += request.priced
        sums.compared += request.compared
        _add(sums, request.tokens)
        _pay(sums, request, place_of(request))
    return rollups


def correct(rollups: Rollups, corrections: Iterable[tuple[Correction, Place]]) -> None:
    """
    Add the differences where the requests were counted.

    An unpriced request stays unpriced: a difference to an unknown cost is not a cost.
    """
    for correction, place in corrections:
        sums = rollups.setdefault(place.key, Sums())
        _add(sums, correction.tokens)
        _pay(sums, correction, place)


def place_of(request: Request) -> Place:
    return Place(request.key, priced=request.priced, compared=request.compared)


def minute_of(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _add(sums: Sums, tokens: Tokens) -> None:
    sums.input_tokens += tokens.input
    sums.output_tokens += tokens.output
    sums.cached_input_tokens += tokens.cached_input


def _pay(sums: Sums, money: Request | Correction, place: Place) -> None:
    cost = money.cost_nano_usd or 0
    if place.priced:
        sums.cost_nano_usd += cost
    if place.compared:
        sums.compared_cost_nano_usd += cost
        sums.baseline_cost_nano_usd += money.baseline_cost_nano_usd or 0
