"""
Measures how well the router routes, and writes docs/reference/routing-quality.md.

    make bench-routing ROUTING_DATA=<folder>     the folder: scripts/routing_data.py
"""

import sys
import time
from pathlib import Path

from scripts.routing import arithmetic, data, many, online, pair, report

OUT = Path(__file__).parents[1] / "docs/reference/routing-quality.md"


def main(folder: Path) -> None:
    begun = time.monotonic()
    two, nine = data.pair(folder), data.many(folder)
    measured = report.Measures(
        two=two,
        nine=nine,
        held_out=pair.on_held_out_prompts(two),
        left_out=pair.on_left_out_subjects(two),
        many=many.on_held_out_prompts(nine),
        online=[online.replays("nine models", nine), online.replays("two models", two)],
        cascade=arithmetic.run(),
    )
    text = report.written(measured)
    OUT.write_text(text, "utf-8")
    print(text)
    print(f"{time.monotonic() - begun:.0f} s; written to {OUT.relative_to(Path.cwd())}")


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        raise SystemExit("make bench-routing ROUTING_DATA=<folder with mmlu_pair.csv, multi9.csv>")
    main(Path(sys.argv[1]))
