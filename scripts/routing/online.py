"""Replays in several orders, with much and with little feedback, and with a shift of quality."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scripts.routing.data import Table
from scripts.routing.replay import Replay, recovered_after, replay

ORDERS = 4
REQUESTS = 2_900
SHIFT_AT = 1_500
FEEDBACK = (1.0, 0.1)


@dataclass(frozen=True)
class Row:
    name: str
    feedback: float
    quality: float  # hybrid's mean advantage over complexity
    cost: float  # in usual costs of the dearest model
    worth: float
    worst_quality: float  # of all windows of the mean over orders
    worst_single: float  # of all windows of all orders
    recovered: list[int | None]  # outcomes after the shift, by order; empty: there was none


def replays(name: str, table: Table) -> Iterator[Row]:
    for feedback in FEEDBACK:
        plain = [
            replay(table, feedback=feedback, requests=REQUESTS, seed=seed) for seed in range(ORDERS)
        ]
        yield _row(name, feedback, plain, [])
        shifted = [
            replay(table, feedback=feedback, requests=REQUESTS, shift_at=SHIFT_AT, seed=seed)
            for seed in range(ORDERS)
        ]
        after = [recovered_after(one, SHIFT_AT) for one in shifted]
        outcomes = [None if one is None else round(one * feedback) for one in after]
        yield _row(f"{name}, the best one drops", feedback, shifted, outcomes)


def _row(name: str, feedback: float, found: list[Replay], recovered: list[int | None]) -> Row:
    windows = np.array([one.windows(0) for one in found])
    ahead = np.concatenate([one.hybrid - one.complexity for one in found])
    return Row(
        name,
        feedback,
        float(ahead[:, 0].mean()),
        float(ahead[:, 1].mean()),
        float(np.mean([one.worth().mean() for one in found])),
        float(windows.mean(0).min()),
        float(windows.min()),
        recovered,
    )
