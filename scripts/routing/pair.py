"""Two models, one cheap and one strong: which prompts deserve the strong one is asked here."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scripts.routing import baselines
from scripts.routing.data import Flags, Rows, Table
from scripts.routing.learned import Learner
from scripts.routing.measures import Measured, apgr, bootstrap, cpt
from scripts.routing.split import SUBJECT_GROUPS
from services.router.domain.vector import Floats

EARLY = 1_500  # outcomes
ORDERS = 5  # in which outcomes arrive; figures are means over them


@dataclass(frozen=True)
class Row:
    name: str
    apgr: Measured
    ahead: Measured  # of the capped rule, on the same resamples
    cpt50: Measured
    cpt80: Measured


def on_held_out_prompts(table: Table) -> list[Row]:
    """Train on what is not held out, measure on what is."""
    seen, unseen = ~table.held_out, table.held_out
    early = [_learned(table, seen, order, most=EARLY) for order in range(ORDERS)]
    everything = [_learned(table, seen, order, most=None) for order in range(ORDERS)]
    return _rows(
        table,
        [unseen],
        {
            "random": [baselines.chance(table)],
            "capped keyword rule": [baselines.capped_rule(table)],
            "capped at 100 words": [baselines.capped_rule(table, cap_words=100)],
            "**complexity**": [table.scores],
            f"**learning**, {EARLY:,} outcomes": early,
            "**learning**, all outcomes": everything,
            "oracle": [baselines.oracle(table)],
        },
    )


def on_left_out_subjects(table: Table) -> list[Row]:
    """Leave out each fifth of the subjects in turn, train on the others, measure on it."""
    groups = [table.groups == group for group in range(SUBJECT_GROUPS)]
    learned = []
    for order in range(ORDERS):
        scores = np.zeros(len(table.ids))
        for group in groups:
            scores[group] = _learned(table, ~group, order, most=None)[group]
        learned.append(scores)
    return _rows(
        table,
        groups,
        {
            "random": [baselines.chance(table)],
            "capped keyword rule": [baselines.capped_rule(table)],
            "capped at 100 words": [baselines.capped_rule(table, cap_words=100)],
            "**complexity**": [table.scores],
            "**learning**, all outcomes": learned,
            "oracle": [baselines.oracle(table)],
        },
    )


def _learned(table: Table, seen: Flags, order: int, *, most: int | None) -> Floats:
    """
    Return the strong model's expected advantage on every prompt.

    The first *most* outcomes are those of one model a prompt, drawn by chance, as feedback comes;
    with all of them, both models' are known.
    """
    dice = np.random.default_rng(order)
    rows = dice.permutation(np.flatnonzero(seen))
    learner = Learner(table.declared(seen))
    for row in rows if most is None else rows[:most]:
        models = (0, 1) if most is None else (int(dice.integers(2)),)
        for model in models:
            learner.learn(model, table.phis[row], float(table.outcomes[row, model]))
    expected = learner.qualities(table.phis)
    gain: Floats = expected[:, 1] - expected[:, 0]
    return gain


def _rows(table: Table, parts: list[Flags], scores: dict[str, list[Floats]]) -> list[Row]:
    rule = scores["capped keyword rule"]

    def measured(measure: Callable[[Floats, Floats, Floats], float], of: list[Floats]) -> Measured:
        return _over_parts(table, parts, measure, of)

    return [
        Row(
            name,
            measured(apgr, of),
            _difference(table, parts, of, rule),
            measured(lambda x, w, s: cpt(x, w, s, 0.5), of),
            measured(lambda x, w, s: cpt(x, w, s, 0.8), of),
        )
        for name, of in scores.items()
    ]


def _over_parts(
    table: Table,
    parts: list[Flags],
    measure: Callable[[Floats, Floats, Floats], float],
    scores: list[Floats],
) -> Measured:
    """Average over parts and over orders; resample prompts within each part."""
    found = [
        bootstrap(_measure(table, np.flatnonzero(part), measure, scores), int(part.sum()))
        for part in parts
    ]
    return _mean(found)


def _measure(
    table: Table,
    rows: Rows,
    measure: Callable[[Floats, Floats, Floats], float],
    scores: list[Floats],
) -> Callable[[Rows], float]:
    weak, strong = table.outcomes[rows, 0], table.outcomes[rows, 1]
    own = [score[rows] for score in scores]

    def of(drawn: Rows) -> float:
        return float(np.mean([measure(one[drawn], weak[drawn], strong[drawn]) for one in own]))

    return of


def _difference(
    table: Table, parts: list[Flags], scores: list[Floats], others: list[Floats]
) -> Measured:
    found = []
    for part in parts:
        rows = np.flatnonzero(part)
        ours, theirs = (_measure(table, rows, apgr, of) for of in (scores, others))
        found.append(bootstrap(_minus(ours, theirs), len(rows)))
    return _mean(found)


def _minus(one: Callable[[Rows], float], other: Callable[[Rows], float]) -> Callable[[Rows], float]:
    return lambda drawn: one(drawn) - other(drawn)


def _mean(found: list[Measured]) -> Measured:
    """Average independent figures: the widths of their intervals add as squares."""
    value = float(np.mean([one.value for one in found]))
    below = np.sqrt(sum((one.value - one.low) ** 2 for one in found)) / len(found)
    above = np.sqrt(sum((one.high - one.value) ** 2 for one in found)) / len(found)
    return Measured(value, value - float(below), value + float(above))
