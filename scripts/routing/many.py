"""Nine models: what a given quality costs, and how good a given cost is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from scripts.routing import baselines
from scripts.routing.data import Flags, Rows, Table
from scripts.routing.learned import Learner
from scripts.routing.measures import Measured, aiq, bootstrap, cost_of
from services.router.domain.beliefs import Beliefs, length_outcome
from services.router.domain.preference import MOST_SIZE
from services.router.domain.vector import Floats

if TYPE_CHECKING:
    from collections.abc import Mapping

PRICES = (0.0, *np.geomspace(0.005, 5, 40))  # of quality: the presets' and beyond
SHARES = np.linspace(0, 1, 21)  # of prompts that count as complex
Choices: TypeAlias = list[Rows]  # one array of model numbers for each setting of a router


@dataclass(frozen=True)
class Row:
    name: str
    cost95: Measured  # of the best single model's cost, at 95 % of its quality
    cost98: Measured
    aiq: Measured
    ahead: Measured  # of the best mixture of single models, in AIQ


def on_held_out_prompts(table: Table) -> tuple[list[Row], list[tuple[str, float, float]]]:
    """Return the routers' figures, and each single model's quality and cost."""
    seen = ~table.held_out
    rows = np.flatnonzero(table.held_out)
    routers: Mapping[str, Choices] = {
        "random": _mixing(table, baselines.chance(table)),
        "capped keyword rule": _mixing(table, baselines.capped_rule(table)),
        "**complexity**": _mixing(table, table.scores),
        "**learning**, one outcome a prompt": _learned(table, seen, full=False),
        "**learning**, all outcomes": _learned(table, seen, full=True),
        "oracle": _sweep(table, table.outcomes, table.costs, price_size=False),
    }
    quality, cost = table.outcomes[rows], table.costs[rows]
    singles = [
        (name, float(quality[:, m].mean()), float(cost[:, m].mean()))
        for m, name in enumerate(table.models)
    ]
    return [_row(name, of, rows, table) for name, of in routers.items()], singles


def _mixing(table: Table, score: Floats) -> Choices:
    """
    Send the highest scores to the most capable tier's cheapest model, the others to the cheapest.

    Capability is declared; it orders the models, never their price.
    """
    declared = np.array(table.declared(~table.held_out))
    usual = table.costs.mean(0)
    top = np.flatnonzero(declared >= declared.max() - 0.05)
    strong = top[np.lexsort((-declared[top], usual[top]))[0]]
    cheap = int(np.lexsort((-declared, usual))[0])
    cuts = np.quantile(score, 1 - SHARES)
    cuts[0], cuts[-1] = np.inf, -np.inf
    return [np.where(score >= cut, strong, cheap) for cut in cuts]


def _learned(table: Table, seen: Flags, *, full: bool) -> Choices:
    dice = np.random.default_rng(0)
    models = range(len(table.models))
    learner = Learner(table.declared(seen))
    lengths = Learner([0.0])
    for row in dice.permutation(np.flatnonzero(seen)):
        for model in models if full else [int(dice.integers(len(table.models)))]:
            learner.learn(model, table.phis[row], float(table.outcomes[row, model]))
        tokens = round(float(table.output_tokens[row]))
        lengths.evidence[0] = lengths.evidence[0].learn(table.phis[row], length_outcome(tokens))
    expected = np.clip(learner.qualities(table.phis), 0, 1)
    return _sweep(table, expected, _expected_costs(table, lengths), price_size=True)


def _expected_costs(table: Table, lengths: Learner) -> Floats:
    """Predict costs as the router does: lengths are learned, never known beforehand."""
    beliefs = Beliefs(lengths=lengths.evidence[0])
    mean = float(table.output_tokens[~table.held_out].mean())
    tokens = mean * np.array([beliefs.length_ratio(phi) for phi in table.phis])
    price_in, price_out = np.array(table.prices).T
    return np.outer(table.input_tokens, price_in) + np.outer(tokens, price_out)


def _sweep(table: Table, quality: Floats, costs: Floats, *, price_size: bool) -> Choices:
    """Take the model of the best worth, at every price of quality: `preference.worths`, in bulk."""
    dearest = costs.max(1)
    size = dearest / dearest[~table.held_out].mean()
    if price_size:
        size = np.clip(size, 1 / MOST_SIZE, MOST_SIZE)
    relative = costs / dearest[:, None] * size[:, None]
    return [np.argmax(quality - price * relative, 1) for price in PRICES]


def _row(name: str, choices: Choices, rows: Rows, table: Table) -> Row:
    quality, cost = table.outcomes[rows], table.costs[rows]
    at = np.arange(len(rows))
    chosen = [(cost[at, c[rows]], quality[at, c[rows]]) for c in choices]

    def points(drawn: Rows) -> tuple[Floats, Floats]:
        ours = np.array([(c[drawn].mean(), q[drawn].mean()) for c, q in chosen])
        singles = np.column_stack([cost[drawn].mean(0), quality[drawn].mean(0)])
        return ours, singles

    def share(drawn: Rows, part: float) -> float:
        ours, singles = points(drawn)
        best = singles[singles[:, 1].argmax()]
        return cost_of(ours, part * best[1]) / float(best[0])

    def area(drawn: Rows, *, mixture: bool) -> float:
        ours, singles = points(drawn)
        low, high = singles[:, 0].min(), singles[:, 0].max()
        mixed = aiq(singles, low, high) if mixture else 0.0
        return aiq(ours, low, high) - mixed

    many = len(rows)
    return Row(
        name,
        bootstrap(lambda d: share(d, 0.95), many),
        bootstrap(lambda d: share(d, 0.98), many),
        bootstrap(lambda d: area(d, mixture=False), many),
        bootstrap(lambda d: area(d, mixture=True), many),
    )
