"""
Simulates experiments whose truth is known; writes the figures of docs/explanation/statistics.md.

    make bench-experiments
    python -m scripts.bench_experiments --scale 0.02 --output <folder>     a glance, elsewhere
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.experiments import report
from scripts.experiments.studies import Bench, measure

FOLDER = Path(__file__).parents[1] / "docs/explanation"
PAGE = "statistics.md"
PROCESSES = 2


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="make bench-experiments")
    parser.add_argument("--scale", type=float, default=1.0, help="times the experiments")
    parser.add_argument("--output", type=Path, default=FOLDER)
    asked = parser.parse_args(arguments)
    begun = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        found = measure(Bench(pool, asked.scale))
    page = (FOLDER / PAGE).read_text("utf-8")
    written = report.filled(page, report.written(found))
    (asked.output / PAGE).write_text(written, "utf-8")
    for name, drawn in report.plots(found).items():
        (asked.output / name).write_text(drawn, "utf-8")
    print(written)
    print(f"{time.monotonic() - begun:.0f} s; written to {asked.output}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
