"""What `make bench-follower` measured, written down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from scripts.bench_page import Promise, opening, table
from scripts.benchmark_performance import percentile


@dataclass(frozen=True, slots=True)
class CatchUp:
    """From far behind to the end of the ledger."""

    rows: int
    per_s: float
    spent_s: Mapping[str, float]  # processor time, by process

    @classmethod
    def of(
        cls, looks: Sequence[tuple[float, int]], rows: int, spent_s: Mapping[str, float]
    ) -> Self:
        """
        Take the speed from looks at the rows applied so far.

        The clock starts with the first look that sees some: before, the process was starting.

        Args:
            looks: When (s), and how many rows.
            rows: All there were.
            spent_s: Since the process was there.
        """
        began = next(n for n, (_, applied) in enumerate(looks) if applied)
        ended = next(n for n, (_, applied) in enumerate(looks) if applied >= rows)
        if ended == began:
            raise ValueError("too few rows to see how fast they are applied")
        (since, before), (until, after) = looks[began], looks[ended]
        return cls(rows, (after - before) / (until - since), spent_s)


@dataclass(frozen=True, slots=True)
class Trail:
    """Behind steady traffic."""

    rows_per_s: float  # as they came
    lags_s: Sequence[float]  # sampled, ordered


@dataclass(frozen=True, slots=True)
class Report:
    catch_up: CatchUp
    trail: Trail


def promises(report: Report) -> list[Promise]:
    """Hold the measured figures to what following must reach."""
    per_s, trail = report.catch_up.per_s, report.trail
    slowest_s = trail.lags_s[-1]
    return [
        Promise(
            "the metrics service, far behind: ledger rows applied",
            "≥ 5,000 rows/s",
            f"{per_s:,.0f} rows/s",
            per_s >= 5_000,  # noqa: PLR2004  the promise
        ),
        Promise(
            "the age of the newest applied row, at 500 rows/s: the most",
            "< 1 s",
            f"{slowest_s:.2f} s at {trail.rows_per_s:,.0f} rows/s",
            slowest_s < 1 and trail.rows_per_s >= 490,  # noqa: PLR2004  the promise
        ),
    ]


def render(report: Report, told: Mapping[str, str]) -> str:
    """Write the section."""
    caught_up, lags_s = report.catch_up, report.trail.lags_s
    lines = [
        *opening(told, promises(report)),
        "### Catching up",
        "",
        (
            "The metrics service is stopped, the ledger grows, the other services follow it, then"
            " the metrics service is started: it reads over gRPC from the router, page by page,"
            " and applies each in one transaction. The rows are those of real requests of every"
            " strategy, hits of the cache, ratings and corrections among them, copied as if they"
            " had come at some 500 rows/s. Processor time is what the process spent until the end."
        ),
        "",
        *table(
            ("rows", "rows/s", *(f"{name}: CPU s in 1,000 rows" for name in caught_up.spent_s)),
            [
                (
                    f"{caught_up.rows:,}",
                    f"{caught_up.per_s:,.0f}",
                    *(f"{1_000 * s / caught_up.rows:.3f}" for s in caught_up.spent_s.values()),
                )
            ],
            words=0,
        ),
        "",
        "### Trailing",
        "",
        (
            "Completions at a steady rate, none of them from the cache: three rows each. Ten times"
            " a second: now minus the recorded time of the newest row that is applied."
        ),
        "",
        *table(
            ("rows/s", "samples", "p50 s", "p99 s", "max s"),
            [
                (
                    f"{report.trail.rows_per_s:,.0f}",
                    f"{len(lags_s):,}",
                    *(f"{percentile(lags_s, percent):.2f}" for percent in (50, 99, 100)),
                )
            ],
            words=0,
        ),
        "",
    ]
    return "\n".join(lines)
