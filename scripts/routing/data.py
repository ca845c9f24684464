"""Published outcomes of models on prompts, and what the router reads off each prompt."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scripts.routing.split import group_of, held_out
from services.router.domain.complexity import complexity_of
from services.router.domain.usage import BYTES_PER_TOKEN
from services.router.domain.vector import Floats, vector_of

Flags: TypeAlias = NDArray[np.bool_]
Rows: TypeAlias = NDArray[np.int64]  # numbers of rows

# The source lists no token counts. Answers to a quiz are short, worked solutions are not.
ANSWER_TOKENS: Mapping[str, int] = {
    "math": 400,
    "agentverse-logicgrid": 300,
    "gsm8k": 200,
    "mbpp": 150,
    "commongen": 60,
}
QUIZ_TOKENS = 20
# USD per million tokens, in and out, as listed when the answers were made.
PAIR_PRICES = ((0.6, 0.6), (10.0, 30.0))


@dataclass(frozen=True, eq=False)
class Table:
    """One row a prompt, one column a model."""

    ids: Sequence[str]
    prompts: Sequence[str]
    kinds: Sequence[str]  # subject or task
    models: Sequence[str]
    outcomes: Floats  # shape (prompts, models), 0 to 1
    prices: Sequence[tuple[float, float]]

    @cached_property
    def held_out(self) -> Flags:
        return np.array([held_out(one) for one in self.ids])

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        return np.array([group_of(kind) for kind in self.kinds])

    @cached_property
    def _read(self) -> tuple[Floats, Floats]:
        read = [complexity_of(prompt) for prompt in self.prompts]
        return np.array([one.score for one in read]), np.array([vector_of(one) for one in read])

    @property
    def scores(self) -> Floats:
        return self._read[0]

    @property
    def phis(self) -> Floats:
        return self._read[1]

    @cached_property
    def input_tokens(self) -> Floats:
        return np.array([len(p.encode()) / BYTES_PER_TOKEN for p in self.prompts])

    @cached_property
    def output_tokens(self) -> Floats:
        return np.array([float(ANSWER_TOKENS.get(kind, QUIZ_TOKENS)) for kind in self.kinds])

    @cached_property
    def costs(self) -> Floats:
        """Cost in micro-USD, shape (prompts, models)."""
        price_in, price_out = np.array(self.prices).T
        return np.outer(self.input_tokens, price_in) + np.outer(self.output_tokens, price_out)

    def declared(self, rows: Flags) -> list[float]:
        """Return each model's capability as an operator reads it off a leaderboard: rounded."""
        return [round(20 * float(mean)) / 20 for mean in self.outcomes[rows].mean(0)]


def pair(folder: Path) -> Table:
    """Read mmlu_pair.csv: the last two columns are the weak and the strong model."""
    return _table(folder / "mmlu_pair.csv", "domain", PAIR_PRICES)


def many(folder: Path) -> Table:
    """Read multi9.csv with its prices."""
    listed: dict[str, Any] = json.loads((folder / "multi9_prices.json").read_text("utf-8"))
    prices = {name: (one["input_price"], one["output_price"]) for name, one in listed.items()}
    return _table(folder / "multi9.csv", "task", prices)


def _table(
    path: Path,
    kind: str,
    prices: Sequence[tuple[float, float]] | Mapping[str, tuple[float, float]],
) -> Table:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    models = [name for name in rows[0] if name not in ("id", "prompt", kind)]
    return Table(
        ids=[row["id"] for row in rows],
        prompts=[row["prompt"] for row in rows],
        kinds=[row[kind] for row in rows],
        models=models,
        outcomes=np.array([[float(row[model]) for model in models] for row in rows]),
        prices=[prices[m] for m in models] if isinstance(prices, Mapping) else prices,
    )
