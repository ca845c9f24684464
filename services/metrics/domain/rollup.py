"""
Folding requests over time. Pure: the same rows in any order give the same rollups.

Three populations are kept apart, because an average or a ratio over a mixture says nothing:
all requests, the priced ones among them, and the compared ones (what was paid and what the
baseline would have cost are both known).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, Self
from uuid import UUID

from services.metrics.domain.grains import GRAINS_S, start_of

FAILED = "failed"  # the outcome of a request that got no answer


class Labels(NamedTuple):
    """What requests that are counted together have in common."""

    strategy: str
    provider: str
    model: str
    tenant: str  # of the key that they came with
    arm: str  # "3/test"; empty: in no experiment
    confidence: str
    outcome: str
    cache_hit: bool


class Key(NamedTuple):
    minute: datetime  # UTC, seconds cut off
    labels: Labels


class Slot(NamedTuple):
    """What one rollup is about."""

    grain_s: int
    start: datetime  # UTC
    labels: Labels


@dataclass(frozen=True, slots=True)
class Tokens:
    input: int = 0  # cached ones included
    output: int = 0
    cached_input: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request is counted, and with how much: all that a correction needs."""

    key: Key
    cost_nano_usd: int | None  # of all its attempts; None: unpriced
    baseline_cost_nano_usd: int | None


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has ended."""

    request_id: UUID
    place: Place
    tokens: Tokens
    fell_back: bool = False  # other candidates had failed before
    latency_ms: float | None = None  # None: not known
    first_token_ms: float | None = None  # None: not streamed


@dataclass(frozen=True, slots=True)
class Correction:
    """The truth about a request that has ended, as differences to what was known then."""

    request_id: UUID
    tokens: Tokens
    cost_nano_usd: int
    unpriced: bool  # what was guessed at some price turned out to have none


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
    fell_back: int = 0

    def __iadd__(self, other: "Sums") -> Self:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


Rollups = dict[Key, Sums]


def fold(requests: Iterable[Request]) -> Rollups:
    """Count each request once, under its key."""
    rollups: Rollups = {}
    for request in requests:
        sums = rollups.setdefault(request.place.key, Sums())
        sums.requests += 1
        sums.fell_back += request.fell_back
        _add_tokens(sums, request.tokens)
        _add_money(sums, request.place, times=1)
    return rollups


def correct(
    rollups: Rollups, corrections: Iterable[Correction], places: Mapping[UUID, Place]
) -> dict[UUID, Place]:
    """
    Take corrected requests out of the money as they were and put them in as they are.

    An unpriced request stays unpriced: a difference to an unknown cost is not a cost.

    Args:
        rollups: What is to be added; changed in place.
        corrections: In the ledger's order.
        places: Where requests were counted; what is not in here was not counted.

    Returns:
        The places that changed.
    """
    changed: dict[UUID, Place] = {}
    for correction in corrections:
        before = changed.get(correction.request_id) or places.get(correction.request_id)
        if before is None:
            continue
        after = replace(before, cost_nano_usd=_corrected(before.cost_nano_usd, correction))
        sums = rollups.setdefault(before.key, Sums())
        _add_tokens(sums, correction.tokens)
        _add_money(sums, before, times=-1)
        _add_money(sums, after, times=1)
        changed[correction.request_id] = after
    return changed


def _corrected(cost_nano_usd: int | None, correction: Correction) -> int | None:
    if cost_nano_usd is None or correction.unpriced:
        return None
    return cost_nano_usd + correction.cost_nano_usd


def by_grain(rollups: Rollups) -> dict[Slot, Sums]:
    """Sum up minutes over every grain."""
    slots: dict[Slot, Sums] = {}
    for key, sums in rollups.items():
        for grain_s in GRAINS_S:
            slot = Slot(grain_s, start_of(key.minute, grain_s), key.labels)
            total = slots.setdefault(slot, Sums())
            total += sums
    return slots


def minute_of(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _add_tokens(sums: Sums, tokens: Tokens) -> None:
    sums.input_tokens += tokens.input
    sums.output_tokens += tokens.output
    sums.cached_input_tokens += tokens.cached_input


def _add_money(sums: Sums, place: Place, *, times: int) -> None:
    cost = place.cost_nano_usd
    if cost is None:
        return
    sums.priced += times
    sums.cost_nano_usd += times * cost
    if place.baseline_cost_nano_usd is not None:
        sums.compared += times
        sums.compared_cost_nano_usd += times * cost
        sums.baseline_cost_nano_usd += times * place.baseline_cost_nano_usd
