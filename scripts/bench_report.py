"""What `make bench` measured, written down: the promises first, then every figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.bench_page import Promise, opening, table


@dataclass(frozen=True, slots=True)
class Row:
    """One case; the median of its rounds."""

    name: str
    concurrent: int
    requests: int
    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What the processes weigh after so many requests, in MiB."""

    requests: int
    gateway: float
    router: float


@dataclass(frozen=True, slots=True)
class Report:
    rows: Sequence[Row]
    memory: Sequence[Memory]
    start_s: float  # until the gateway was ready

    def row(self, name: str, concurrent: int) -> Row:
        return next(r for r in self.rows if (r.name, r.concurrent) == (name, concurrent))


MOST_GROWTH = 1.10  # of memory, from the first fifth of the requests to the last


def promises(report: Report) -> list[Promise]:
    """Hold the measured figures to what the product must reach."""
    metrics = report.row("GET /routing/metrics", 10)
    alone, chat = report.row("chat, sandbox alone", 1), report.row("chat", 1)
    loaded = report.row("chat", 64)
    added = chat.p50_ms - alone.p50_ms
    kept = [
        Promise(
            "`/routing/metrics` from cache, 10 in flight: p50",
            "< 10 ms",
            f"{metrics.p50_ms:.1f} ms",
            metrics.p50_ms < 10,  # noqa: PLR2004  the promise
        ),
        Promise(
            "the same: requests/s",
            "≥ 450",
            f"{metrics.per_s:,.0f}",
            metrics.per_s >= 450,  # noqa: PLR2004  the promise
        ),
        Promise(
            "chat, 1 in flight: added to the sandbox's p50, two durable commits included",
            "≤ 5 ms",
            f"{added:.1f} ms",
            added <= 5,  # noqa: PLR2004  the promise
        ),
        Promise(
            "chat, 64 in flight: requests/s, no errors",
            "≥ 600",
            f"{loaded.per_s:,.0f}",
            loaded.per_s >= 600,  # noqa: PLR2004  the promise
        ),
        Promise(
            "everything started, until the gateway is ready",
            "≤ 25 s",
            f"{report.start_s:.1f} s",
            report.start_s <= 25,  # noqa: PLR2004  the promise
        ),
    ]
    return kept + _memory_promises(report.memory)


def _memory_promises(memory: Sequence[Memory]) -> list[Promise]:
    if len(memory) < 3:  # noqa: PLR2004  before, settled, and after
        return []
    found = []
    for name in ("gateway", "router"):
        weights = [getattr(one, name) for one in memory]
        growth = weights[-1] / weights[1]
        sent = memory[-1].requests - memory[0].requests
        found.append(
            Promise(
                f"{name}: memory after {sent:,} requests, and its growth over the last four fifths",
                f"≤ 150 MiB, ≤ {MOST_GROWTH - 1:.0%}",
                f"{weights[-1]:.0f} MiB, {growth - 1:+.1%}",
                max(weights) <= 150 and growth <= MOST_GROWTH,  # noqa: PLR2004  the promise
            )
        )
    return found


def render(report: Report, told: Mapping[str, str]) -> str:
    """Write the section."""
    lines = [
        *opening(told, promises(report)),
        "### Every row",
        "",
        (
            "All features are on. Closed-loop workers, one connection each; the rows in turn, round"
            " after round; medians of the rounds. A stream is 22 chunks long, measured to its end."
            " *Ratio*: p50 to that of the sandbox alone, same kind, same load. No request failed."
        ),
        "",
        *table(
            ("", "in flight", "requests", "requests/s", "p50 ms", "p95 ms", "p99 ms", "ratio"),
            (_cells(row, report) for row in report.rows),
        ),
        "",
    ]
    if report.memory:
        lines += [
            "### Memory",
            "",
            "Resident set size while chat requests go on, 64 in flight.",
            "",
            *table(
                ("requests so far", "gateway MiB", "router MiB"),
                ((f"{m.requests:,}", f"{m.gateway:.0f}", f"{m.router:.0f}") for m in report.memory),
                words=0,
            ),
            "",
        ]
    return "\n".join(lines)


def _cells(row: Row, report: Report) -> tuple[str, ...]:
    ratio = ""
    alone = "stream, sandbox alone" if row.name == "stream" else "chat, sandbox alone"
    if row.name in ("chat", "stream", "POST /complete"):
        ratio = f"{row.p50_ms / report.row(alone, row.concurrent).p50_ms:.1f}"
    return (
        row.name,
        str(row.concurrent),
        f"{row.requests:,}",
        f"{row.per_s:,.0f}",
        *(f"{ms:.2f}" for ms in (row.p50_ms, row.p95_ms, row.p99_ms)),
        ratio,
    )
