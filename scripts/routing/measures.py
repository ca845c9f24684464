"""
How good a router is, in one number each.

Source: Ong et al. 2024, "RouteLLM", arXiv:2406.18665 (APGR, CPT); Hu et al. 2024, "RouterBench",
arXiv:2403.12031 (AIQ, the non-decreasing hull).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.routing.data import Rows
from services.router.domain.vector import Floats

SHARES = np.linspace(0, 1, 11)
RESAMPLES = 400
POINTS = 200  # of the cost axis that AIQ averages over


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its 95 % bootstrap interval over prompts."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def apgr(score: Floats, weak: Floats, strong: Floats) -> float:
    """Average share of the gap between two models that ordering prompts by *score* closes."""
    curve = _curve(score, weak, strong)
    gap = strong.mean() - weak.mean()
    return float((np.trapezoid(curve, SHARES) - weak.mean()) / gap)


def cpt(score: Floats, weak: Floats, strong: Floats, part: float) -> float:
    """Share of prompts that the strong model must get to close *part* of the gap."""
    curve = _curve(score, weak, strong)
    wanted = weak.mean() + part * (strong.mean() - weak.mean())
    first = int(np.argmax(curve >= wanted))
    if first == 0:
        return 0.0
    low, high = curve[first - 1], curve[first]
    return float(SHARES[first - 1] + (wanted - low) / (high - low) * (SHARES[1] - SHARES[0]))


def _curve(score: Floats, weak: Floats, strong: Floats) -> Floats:
    """Return the quality at each share of prompts given to the strong model; ties by chance."""
    jitter = np.random.default_rng(0).random(len(score))
    order = np.lexsort((jitter, -score))
    gains = np.concatenate([[0.0], np.cumsum((strong - weak)[order])])
    taken = np.round(SHARES * len(score)).astype(int)
    curve: Floats = weak.mean() + gains[taken] / len(score)
    return curve


def hull(points: Floats) -> Floats:
    """Return the corners of the concave, non-decreasing hull of (cost, quality) points."""
    corners: list[tuple[float, float]] = []
    for cost, quality in sorted((float(c), float(q)) for c, q in points):
        if corners and quality <= corners[-1][1]:
            continue
        while len(corners) > 1 and _below(corners[-2], corners[-1], (cost, quality)):
            corners.pop()
        corners.append((cost, quality))
    return np.array(corners)


def _below(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])


def aiq(points: Floats, low: float, high: float) -> float:
    """Average quality over the costs from *low* to *high* that mixing *points* affords."""
    corners = hull(points)
    return float(np.interp(np.linspace(low, high, POINTS), corners[:, 0], corners[:, 1]).mean())


def cost_of(points: Floats, quality: float) -> float:
    """Return what *quality* costs when mixing *points*; nan: it is out of reach."""
    corners = hull(points)
    if corners[-1, 1] < quality:
        return float("nan")
    if corners[0, 1] >= quality:
        return float(corners[0, 0])
    return float(np.interp(quality, corners[:, 1], corners[:, 0]))


def bootstrap(measure: Callable[[Rows], float], rows: int, *, seed: int = 0) -> Measured:
    """Measure all prompts, and resamples of them; *measure* takes the rows to look at."""
    dice = np.random.default_rng(seed)
    everything = np.arange(rows)
    drawn = [measure(dice.integers(0, rows, rows)) for _ in range(RESAMPLES)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Measured(measure(everything), float(low), float(high))


def mean_of(measures: Sequence[Measured]) -> float:
    return sum(one.value for one in measures) / len(measures)
