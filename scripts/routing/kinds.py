"""
Fits the kinds of prompts that φ is measured against, and writes services/router/domain/kinds.py.

    python -m scripts.routing.kinds <folder with mmlu_pair.csv and multi9.csv>

Only the prompts are looked at, never an outcome, and no held-out prompt. A kind is the mean of the
named features of many prompts: no prompt can be read back from it.
"""

import csv
import sys
import textwrap
from itertools import islice
from pathlib import Path

import numpy as np

from scripts.prompts import prompts
from scripts.routing.split import held_out
from services.router.domain.complexity import complexity_of
from services.router.domain.features import NAMES
from services.router.domain.vector import MOST_UNITS, Floats

OUT = Path(__file__).parents[2] / "services/router/domain/kinds.py"
MANY = 46
FEWEST = 5  # prompts in a kind
ROUNDS = 60
FROM_EACH = 2_000
FROM_CHATS = 100
SMALLEST_UNITS = {"bare": 0.05, "name_share": 0.05, "number_share": 0.05}
SMALLEST_UNIT = 0.15
HEAD = '''"""
What prompts look like: the usual size of each named feature, and kinds of prompts.

Written by `python -m scripts.routing.kinds`, which says from what. A kind is the mean of the
scaled features of many prompts, in tenths.
"""

'''


def main(folder: Path) -> None:
    dice = np.random.default_rng(0)
    sources = [_features(folder / name) for name in ("mmlu_pair.csv", "multi9.csv")]
    sources = [one[dice.permutation(len(one))[:FROM_EACH]] for one in sources]
    chats = islice(prompts(), FROM_CHATS)
    rows = np.concatenate([*sources, [_read(text) for text in chats]])

    centres, units = rows.mean(0).round(2), _units(rows)
    scaled = np.clip((rows - centres) / units, -MOST_UNITS, MOST_UNITS)
    kinds = _kinds(scaled, dice)
    _write(centres, units, kinds)
    print(f"{len(kinds)} kinds of {len(rows)} prompts")


def _features(path: Path) -> Floats:
    with path.open(encoding="utf-8", newline="") as file:
        kept = [row["prompt"] for row in csv.DictReader(file) if not held_out(row["id"])]
    return np.array([_read(prompt) for prompt in kept])


def _read(prompt: str) -> list[float]:
    return list(complexity_of(prompt).features.values.values())


def _units(rows: Floats) -> Floats:
    smallest = [SMALLEST_UNITS.get(name, SMALLEST_UNIT) for name in NAMES]
    units: Floats = np.maximum(rows.std(0), smallest).round(2)
    return units


def _kinds(rows: Floats, dice: np.random.Generator) -> Floats:
    """Cluster by k-means; a kind of too few prompts starts again elsewhere."""
    kinds = rows[dice.choice(len(rows), MANY, replace=False)]
    for turn in range(ROUNDS):
        distances = (rows**2).sum(1)[:, None] - 2 * rows @ kinds.T + (kinds**2).sum(1)
        nearest = distances.argmin(1)
        for kind in range(MANY):
            own = rows[nearest == kind]
            if len(own) >= FEWEST:
                kinds[kind] = own.mean(0)
            elif turn < ROUNDS - 10:
                kinds[kind] = rows[dice.integers(len(rows))]
    sizes = np.bincount(nearest, minlength=MANY)
    if sizes.min() < FEWEST:
        raise SystemExit(f"a kind has {sizes.min()} prompts: change FEWEST or MANY")
    return kinds


def _write(centres: Floats, units: Floats, kinds: Floats) -> None:
    usual = "".join(
        f'    "{name}": ({centre:.2f}, {unit:.2f}),\n'
        for name, centre, unit in zip(NAMES, centres, units, strict=True)
    )
    numbers = (10 * kinds).round().astype(int).ravel().tolist()
    lines = textwrap.wrap(" ".join(map(str, numbers)), 100)
    OUT.write_text(
        f"{HEAD}USUAL: dict[str, tuple[float, float]] = {{  # mean and unit\n{usual}}}\n"
        f'KINDS = """\n{chr(10).join(lines)}\n"""  # len(USUAL) numbers a kind\n',
        "utf-8",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
