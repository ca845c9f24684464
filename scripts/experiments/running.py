"""The sums over users that the statistics need, after each request: all looks at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.experiments.traffic import Flags, Floats, Stream
from services.experiments.domain.analysis import Covariate, Ratio, covariate, ratio

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """What `ArmTotals` keeps, one element a request of either arm."""

    users: Floats
    sums: Mapping[str, Floats]
    products: Mapping[Pair, Floats]

    def ratio(self, m: str, d: str, since: int = 0) -> Ratio:
        return ratio(
            self.sums[m][since:],
            self.sums[d][since:],
            mm=self.products[m, m][since:],
            md=self.products[m, d][since:],
            dd=self.products[d, d][since:],
        )

    def covariate(self, m: str, d: str, x: str, k: str, since: int = 0) -> Covariate:
        sums, products = self.sums, self.products
        return covariate(
            *(sums[name][since:] for name in (m, d, x, k)),
            xx=products[x, x][since:],
            xk=products[x, k][since:],
            kk=products[k, k][since:],
            mx=products[m, x][since:],
            mk=products[m, k][since:],
            dx=products[d, x][since:],
            dk=products[d, k][since:],
        )


def after_each(
    stream: Stream, columns: Mapping[str, Floats], pairs: Sequence[Pair], present: Floats
) -> tuple[Arm, Arm]:
    """
    Sum up both arms, the control first.

    A user with the totals A and B whose next request has a and b moves ΣA by a and ΣAB by
    Ab + Ba + ab; users are counted from their first *present* request on.
    """
    order = np.argsort(stream.user, kind="stable")
    first = np.searchsorted(stream.user[order], stream.user[order])

    def before(column: Floats) -> Floats:
        sums = np.cumsum(column[order]) - column[order]
        found = np.empty_like(sums)
        found[order] = sums - sums[first]
        return found

    totals = {name: before(column) for name, column in columns.items()}
    moved = {
        (a, b): totals[a] * columns[b] + totals[b] * columns[a] + columns[a] * columns[b]
        for a, b in pairs
    }
    new = (present > 0) & (before(present) == 0)
    return (
        _arm(~stream.test, new, columns, moved),
        _arm(stream.test, new, columns, moved),
    )


def _arm(
    within: Flags, new: Flags, columns: Mapping[str, Floats], moved: Mapping[Pair, Floats]
) -> Arm:
    return Arm(
        np.cumsum(new & within).astype(float),
        {name: np.cumsum(column * within) for name, column in columns.items()},
        {pair: np.cumsum(column * within) for pair, column in moved.items()},
    )


COSTS: Sequence[Pair] = (
    ("m", "m"),
    ("m", "d"),
    ("d", "d"),
    ("x", "x"),
    ("x", "k"),
    ("k", "k"),
    ("m", "x"),
    ("m", "k"),
    ("d", "x"),
    ("d", "k"),
)
RATIO: Sequence[Pair] = COSTS[:3]


def costs(stream: Stream) -> tuple[Arm, Arm]:
    """Sum up m/d, the cost per successful request, and x/k, the words in a request."""
    every = np.ones(len(stream.user))
    columns = {"m": stream.cost, "d": stream.good, "x": stream.words, "k": every}
    return after_each(stream, columns, COSTS, every)


def shares(stream: Stream, happened: Floats, of: Floats) -> tuple[Arm, Arm]:
    """Sum up m/d of what *happened* in requests that count as *of*."""
    return after_each(stream, {"m": happened, "d": of}, RATIO, of)
