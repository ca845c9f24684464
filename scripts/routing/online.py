"""Replays in several orders, with much and with little feedback, and with a shift of quality."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from scripts.routing.data import Rows, Table
from scripts.routing.measures import Measured, bootstrap
from scripts.routing.replay import PRESET, Replay, recovered_after, replay
from services.router.domain.preference import PRICE_OF_QUALITY
from services.router.domain.vector import Floats

ORDERS = 4
REQUESTS = 2_900
SHIFT_AT = 1_500
FEEDBACK = (1.0, 0.1)


@dataclass(frozen=True)
class Row:
    name: str
    feedback: float
    quality: Measured  # hybrid's mean advantage over complexity
    cost: Measured  # in usual costs of the dearest model
    worth: Measured
    worst_quality: float  # of all windows of the mean over orders
    worst_single: float  # of all windows of all orders
    recovered: list[int | None]  # outcomes after the shift, by order; empty: there was none


@dataclass(frozen=True)
class Level:
    """What a router gives and takes, on the prompts of a replay without a shift."""

    router: str
    quality: Measured
    cost: Measured


@dataclass(frozen=True)
class Replayed:
    rows: list[Row]
    levels: Mapping[str, list[Level]]  # by replay


def replays(name: str, table: Table) -> Replayed:
    rows: list[Row] = []
    levels: dict[str, list[Level]] = {}
    for feedback in FEEDBACK:
        plain = [
            replay(table, feedback=feedback, requests=REQUESTS, seed=seed) for seed in range(ORDERS)
        ]
        rows.append(_row(name, feedback, plain, []))
        levels[f"{name}, feedback on {feedback:.0%}"] = list(_levels(table, plain))
        shifted = [
            replay(table, feedback=feedback, requests=REQUESTS, shift_at=SHIFT_AT, seed=seed)
            for seed in range(ORDERS)
        ]
        after = [recovered_after(one, SHIFT_AT) for one in shifted]
        outcomes = [None if one is None else round(one * feedback) for one in after]
        rows.append(_row(f"{name}, the best one drops", feedback, shifted, outcomes))
    return Replayed(rows, levels)


def _row(name: str, feedback: float, found: list[Replay], recovered: list[int | None]) -> Row:
    windows = np.array([one.windows(0) for one in found])
    prompts = np.concatenate([one.rows for one in found])
    ahead = np.concatenate([one.hybrid - one.complexity for one in found])
    return Row(
        name,
        feedback,
        _mean(prompts, ahead[:, 0]),
        _mean(prompts, ahead[:, 1]),
        _mean(prompts, np.concatenate([one.worth() for one in found])),
        float(windows.mean(0).min()),
        float(windows.min()),
        recovered,
    )


def _levels(table: Table, found: list[Replay]) -> Iterator[Level]:
    """Put the routers beside what needs no router, on the same prompts."""
    prompts = np.concatenate([one.rows for one in found])
    costs = table.costs / table.costs.max(1).mean()
    worth = table.outcomes - PRICE_OF_QUALITY[PRESET] * costs
    chance = np.random.default_rng(11).integers(len(table.models), size=len(table.ids))
    best = np.full(len(table.ids), int(np.argmax(table.outcomes.mean(0))))
    for router, choice in (
        ("random", chance),
        (f"best single model ({table.models[best[0]]})", best),
    ):
        yield _level(router, prompts, table.outcomes, costs, choice)
    for router in ("complexity", "hybrid"):
        rows = np.concatenate([getattr(one, router) for one in found])
        yield Level(router, _mean(prompts, rows[:, 0]), _mean(prompts, rows[:, 1]))
    yield _level("oracle, by worth", prompts, table.outcomes, costs, worth.argmax(1))


def _level(router: str, prompts: Rows, outcomes: Floats, costs: Floats, choice: Rows) -> Level:
    chosen = choice[prompts]
    return Level(
        router,
        _mean(prompts, outcomes[prompts, chosen]),
        _mean(prompts, costs[prompts, chosen]),
    )


def _mean(prompts: Rows, values: Floats) -> Measured:
    """Average over requests; resample prompts, since each comes back in several orders."""
    known, at = np.unique(prompts, return_inverse=True)
    sums, counts = np.bincount(at, values), np.bincount(at)
    return bootstrap(lambda drawn: float(sums[drawn].sum() / counts[drawn].sum()), len(known))
