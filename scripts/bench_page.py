"""docs/reference/performance.md: each bench writes its own section and leaves the others alone."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference" / "performance.md"
GIBIBYTE = 2**30


@dataclass(frozen=True, slots=True)
class Promise:
    what: str
    wanted: str
    measured: str
    kept: bool


def write(name: str, section: str, output: Path) -> None:
    """Write the page as it is, with what was measured in the section *name*, to *output*."""
    page = filled(TARGET.read_text("utf-8"), name, section)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, "utf-8")


def filled(page: str, name: str, section: str) -> str:
    """
    Return *page* with *section* between the markers of *name*.

    Raises:
        ValueError: the page has no such markers.
    """
    marked = re.compile(rf"(<!-- measured: {name} -->\n).*?(\n<!-- /measured -->)", re.DOTALL)
    if not marked.search(page):
        raise ValueError(f"the page has no section {name!r}")
    return marked.sub(lambda found: f"{found[1]}\n{section.strip()}\n{found[2]}", page, count=1)


def opening(told: Mapping[str, str], promises: Sequence[Promise]) -> list[str]:
    """Begin a section: where and when, then the promises."""
    return [
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in told.items()),
        "",
        "### What it must reach",
        "",
        *table(
            ("promise", "wanted", "measured", ""),
            [(p.what, p.wanted, p.measured, "kept" if p.kept else "**missed**") for p in promises],
            words=4,
        ),
        "",
    ]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> list[str]:
    """Draw a table whose first *words* columns are words; the others are figures."""
    rule = ["---"] * words + ["---:"] * (len(heads) - words)
    return [_line(heads), f"|{'|'.join(rule)}|", *(_line(row) for row in rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def facts(command: str) -> dict[str, str]:
    """Say where and when: figures mean nothing without it."""
    memory = psutil.virtual_memory().total / GIBIBYTE
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "command": f"`{command}`",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB",
        "load before": f"{psutil.getloadavg()[0]:.1f} (over one minute, other programs included)",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


def _commit() -> str:
    """Name the commit, and say when the measured code was not exactly it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603  fixed arguments
            ["git", *arguments],  # noqa: S607  git from the PATH
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "unknown"
    return f"{commit}, with changes" if git("status", "--porcelain", "--", "*.py") else commit


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
