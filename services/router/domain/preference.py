"""Quality against cost: which of the models that fit learning would take, and how it finds out."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from services.router.domain.candidates import Question, cost_order
from services.router.domain.decision import Candidate
from services.router.domain.rankings import dearer

Preset = Literal["economy", "balanced", "quality"]
# Expected quality that is worth as much as what the dearest model costs on a usual prompt.
PRICE_OF_QUALITY: Mapping[Preset, float] = {"economy": 0.3, "balanced": 0.12, "quality": 0.03}
# A prompt that is larger than usual weighs more, but ten times the size is no ten times the doubt.
MOST_SIZE = 4.0

EXPLORED_SHARE = 0.1  # of traffic, at most
BOLDNESS = 0.5  # standard deviations that Thompson sampling draws
LEAST_SPREAD = 1e-6
REACH = 5.0  # standard deviations that draws are followed to
_GRID = np.linspace(0, 1, 48)
_Z = np.linspace(-8, 8, 1025)  # Φ as a table: numpy has none
_BELOW = np.array([math.erfc(-z / math.sqrt(2)) / 2 for z in _Z.tolist()])


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants of learning: a preset, or bounds of its own."""

    preset: Preset
    min_quality: float | None = None
    max_cost_nano_usd: int | None = None

    @property
    def price(self) -> float:
        """Quality that what the dearest model costs on a usual prompt is worth."""
        return PRICE_OF_QUALITY[self.preset]

    @property
    def explorable(self) -> bool:
        """False where the caller pins quality: nothing is tried on them."""
        return self.min_quality is None and self.preset != "quality"


def affordable(fits: Sequence[Candidate], wish: Wish) -> list[Candidate]:
    """Leave out what is above the caller's cost cap; if all are, only the cheapest stays."""
    cap = wish.max_cost_nano_usd
    if cap is None:
        return list(fits)
    within = [
        c for c in fits if c.expected_cost_nano_usd is not None and c.expected_cost_nano_usd <= cap
    ]
    return within or [min(fits, key=cost_order)]


def good_enough(fits: Sequence[Candidate], wish: Wish) -> Sequence[Candidate]:
    """Leave out what is expected below the quality that the caller asks for, unless all are."""
    bar = wish.min_quality
    return fits if bar is None else [c for c in fits if c.expected_quality >= bar] or fits


def order(question: Question, fits: Sequence[Candidate], wish: Wish) -> list[Candidate]:
    """Sort by what learning would take first."""
    if wish.min_quality is not None:
        bar = wish.min_quality
        good = sorted((c for c in fits if c.expected_quality >= bar), key=cost_order)
        rest = sorted((c for c in fits if c.expected_quality < bar), key=_quality_order)
        return [*good, *rest]
    worth = worths(question, fits, wish.price)
    return sorted(fits, key=lambda c: (-worth[c.model.name], *cost_order(c)))


def worths(question: Question, fits: Sequence[Candidate], price: float) -> dict[str, float]:
    """Return quality - price·cost/(cost of the dearest), by model; unpriced counts as dearest."""
    costs = [c.expected_cost_nano_usd for c in fits if c.expected_cost_nano_usd is not None]
    dearest = max(costs, default=0)
    scale = price * _size(dearest, question.beliefs.usual_cost_nano_usd)
    return {
        c.model.name: c.expected_quality
        - scale
        * (1.0 if c.expected_cost_nano_usd is None else c.expected_cost_nano_usd / (dearest or 1))
        for c in fits
    }


def why_lost(
    question: Question, fits: Sequence[Candidate], wish: Wish, best: Candidate
) -> Callable[[Candidate], str]:
    """Say why others lost against *best*, in the terms of the wish."""
    worth = worths(question, fits, wish.price)

    def lost(other: Candidate) -> str:
        name = other.model.name
        if name == best.model.name:
            return "would have been chosen by what is known"
        if name not in worth:
            return "above the caller's cost cap"
        bar = wish.min_quality
        if bar is None:
            price = other.expected_quality - worth[name]
            return (
                f"worth {worth[name]:.3f} (quality {other.expected_quality:.3f} less {price:.3f}"
                f" for its cost), against {worth[best.model.name]:.3f}"
            )
        if other.expected_quality < bar:
            return f"expected quality {other.expected_quality:.3f}, below the {bar:.2f} asked for"
        return dearer(other, best)

    return lost


def explore(question: Question, fits: Sequence[Candidate], wish: Wish) -> Candidate:
    """Draw each quality from what is believed of it, and take the best draw."""
    dice = dice_of(question, "draw")
    drawn = [
        replace(c, expected_quality=dice.gauss(c.expected_quality, BOLDNESS * c.spread))
        for c in fits
    ]
    worth = worths(question, drawn, wish.price)
    return max(fits, key=lambda c: worth[c.model.name])


def odds_of_drawing(question: Question, fits: Sequence[Candidate], wish: Wish) -> dict[str, float]:
    """
    Return the probability with which `explore` takes each, by model; they add up to 1.

    It draws independent normals, so that k is the largest with ∫ φₖ(x) Π Φⱼ(x) dx, over the others
    j. On an even grid that is exact to many digits, unless one spread is a twentieth of another.
    """
    worth = worths(question, fits, wish.price)
    names = [c.model.name for c in fits]
    draws = [(worth[c.model.name], max(BOLDNESS * c.spread, LEAST_SPREAD)) for c in fits]
    lowest, highest = (
        max(mean + end * spread for mean, spread in draws) for end in (-REACH, REACH)
    )
    means, spreads = np.array(draws).T
    z = (lowest + (highest - lowest) * _GRID - means[:, None]) / spreads[:, None]
    below = np.interp(z, _Z, _BELOW)
    won = (np.exp(z * z / -2) * (below.prod(axis=0) / below)).sum(axis=1) / spreads
    total = won.sum()
    if not total > 0:  # hardly any spread: between the points of the grid
        return {names[int(means.argmax())]: 1.0}
    return dict(zip(names, (won / total).tolist(), strict=True))


def dice_of(question: Question, purpose: str) -> random.Random:
    """Return the request's own chance: the same on every replica, another for each purpose."""
    return random.Random(f"{question.ask.request_id.hex}{purpose}")  # noqa: S311 - no secret


def _size(dearest: int, usual: float | None) -> float:
    if not usual or not usual > 0 or not dearest:
        return 1.0
    return max(1 / MOST_SIZE, min(dearest / usual, MOST_SIZE))


def _quality_order(candidate: Candidate) -> tuple[float, bool, int, float, str]:
    return (-candidate.expected_quality, *cost_order(candidate))
