"""GrowthBook's sequential test on our streams, in an environment of its own."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.experiments.looking import since_enough
from scripts.experiments.running import costs
from scripts.experiments.traffic import Floats, Stream
from services.experiments.domain.sequential import ALPHA

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".bench/bin/python"
LOOKS = 60
SCALES = ("relative", "absolute")


def version() -> str | None:
    """Return which `gbstats` is in .bench/; None: none is."""
    if not PYTHON.exists():
        return None
    asked = "import importlib.metadata as m; print(m.version('gbstats'))"
    found = subprocess.run(  # noqa: S603 - our own words
        [PYTHON, "-c", asked], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


def sums_at_looks(stream: Stream) -> Floats:
    """Return n, ΣM, ΣD, ΣM², ΣMD, ΣD² of both arms at LOOKS moments spread evenly."""
    arms = costs(stream)
    since = since_enough(arms) or 0
    at = np.linspace(since, len(stream.user) - 1, LOOKS).round().astype(int)
    return np.stack(
        [
            np.stack(
                [
                    arm.users[at],
                    *(arm.sums[name][at] for name in ("m", "d")),
                    *(arm.products[pair][at] for pair in (("m", "m"), ("m", "d"), ("d", "d"))),
                ],
                axis=1,
            )
            for arm in arms
        ],
        axis=1,
    )


def directions(sums: Sequence[Floats]) -> list[tuple[int, int]]:
    """Return for each experiment which way it went, on each scale: -1 cheaper, 1 dearer, 0."""
    with tempfile.TemporaryDirectory() as folder:
        read, write = Path(folder) / "sums.npy", Path(folder) / "p.npy"
        np.save(read, np.stack(sums))
        program = Path(__file__).with_name("growthbook.py")
        subprocess.run([PYTHON, program, read, write], check=True)  # noqa: S603 - our own files
        p_values = np.load(write)
    found = []
    for experiment, p in zip(sums, p_values, strict=True):
        control, test = (experiment[:, arm, 1] / experiment[:, arm, 2] for arm in (0, 1))
        way = np.where(test < control, -1, 1)
        first, second = (_first(way, p[:, scale]) for scale in range(len(SCALES)))
        found.append((first, second))
    return found


def _first(way: Floats, p_values: Floats) -> int:
    significant = np.flatnonzero(p_values < ALPHA)
    return int(way[significant[0]]) if len(significant) else 0
