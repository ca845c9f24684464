"""What `make bench-live` measured, written down: how late pushes are, and what they cost."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from scripts.bench_page import Promise, opening, table
from scripts.benchmark_performance import percentile

Heard = Sequence[tuple[float, int]]  # of one socket: when (s), and which snapshot (its number)


@dataclass(frozen=True, slots=True)
class Pushes:
    """What so many sockets saw in one window; times in ms."""

    name: str
    interval_s: int
    sockets: int
    pushes: int
    late: Sequence[float]  # each push, ordered
    spread: Sequence[float]  # each snapshot, ordered: published until the last socket had it
    processor_ratio: float  # of one core, by the gateway
    memory_mib: float  # of the gateway


@dataclass(frozen=True, slots=True)
class Hits:
    """`GET /routing/metrics` from cache."""

    name: str
    concurrent: int
    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Report:
    hits: Sequence[Hits]  # first at 1, then at 10 in flight, then with the sockets
    paints_ms: Sequence[float]  # first contentful paint, each in a fresh browser; may be empty
    pushes: Sequence[Pushes]
    stuck: int  # sockets
    unread: int  # snapshots published while they were stuck
    kept: int  # of these, at most, for one of them


def late_ms(heard: Heard, interval_s: float) -> list[float]:
    """
    Return by how much each push missed its due time.

    A socket's pushes are due in steps of the interval; where the steps begin only the gateway
    knows, so that its most punctual push counts as punctual.
    """
    offsets = [when - number * interval_s for number, (when, _) in enumerate(heard)]
    return [1_000 * (offset - min(offsets)) for offset in offsets]


def spread_ms(published: Heard, sockets: Sequence[Heard], *, until: float) -> list[float]:
    """
    Return how long each snapshot took to the last socket; infinite where it never came.

    A newer one is as good: who is shown that one has missed nothing.

    Args:
        published: When, and which.
        sockets: What each heard, in order.
        until: Later ones are left out: the window ends before everybody can have them.
    """
    return [
        max(1_000 * (_first(heard, number) - when) for heard in sockets)
        for when, number in published
        if when <= until
    ]


def _first(heard: Heard, number: int) -> float:
    return next((when for when, known in heard if known >= number), inf)


def promises(report: Report) -> list[Promise]:
    """Hold the measured figures to what watching must reach."""
    alone, loaded = report.hits[:2]
    found = [
        Promise(
            "`/routing/metrics` from cache, 1 in flight: p50",
            "< 2 ms",
            f"{alone.p50_ms:.2f} ms",
            alone.p50_ms < 2,  # noqa: PLR2004  the promise
        ),
        Promise(
            "the same, 10 in flight: p50, requests/s",
            "< 10 ms, ≥ 1,000",
            f"{loaded.p50_ms:.2f} ms, {loaded.per_s:,.0f}",
            loaded.p50_ms < 10 and loaded.per_s >= 1_000,  # noqa: PLR2004  the promise
        ),
    ]
    if report.paints_ms:
        paint_ms = statistics.median(report.paints_ms)
        found.append(
            Promise(
                "the page: first contentful paint in a fresh browser",
                "< 1 s",
                f"{paint_ms / 1_000:.2f} s",
                paint_ms < 1_000,  # noqa: PLR2004  the promise
            )
        )
    return found + [_pushed(one) for one in report.pushes]


def _pushed(one: Pushes) -> Promise:
    late_s, spread_s = one.late[-1] / 1_000, one.spread[-1] / 1_000
    most_s = one.interval_s + 1
    return Promise(
        f"{one.sockets:,} sockets, {one.name}: the latest push; a snapshot everywhere; CPU",
        f"< 1 s; < {most_s} s; < 40 % of a core",
        f"{late_s:.2f} s; {spread_s:.2f} s; {100 * one.processor_ratio:.0f} %",
        late_s < 1 and spread_s < most_s and one.processor_ratio < 0.4,  # noqa: PLR2004  the promise
    )


def render(report: Report, told: Mapping[str, str]) -> str:
    """Write the section."""
    paints = report.paints_ms
    lines = [
        *opening(told, promises(report)),
        "### Pushes",
        "",
        (
            "The sockets are one other process's; requests change the figures about every second."
            " *Late*: a push after it was due, which is a socket's own step of its interval."
            " *Everywhere*: from the moment a snapshot was published in Redis until the last socket"
            " had it or a newer one, the interval included. CPU, of one core, and memory are the"
            f" gateway's. The {report.stuck} stuck sockets asked for more than every buffer on the"
            f" way holds, and read nothing: {report.unread} snapshots were published meanwhile, of"
            f" which none of them was sent more than {report.kept} when it read again."
        ),
        "",
        *table(
            (
                *("", "sockets", "pushes", "late p50 ms", "p99 ms", "max ms"),
                *("everywhere p50 ms", "max ms", "CPU", "MiB"),
            ),
            (_cells(one) for one in report.pushes),
        ),
        "",
        "### Answers from cache",
        "",
        "Closed-loop workers, one connection each; medians of five rounds.",
        "",
        *table(
            ("GET /routing/metrics", "in flight", "requests", "requests/s", "p50 ms", "p99 ms"),
            (
                (
                    one.name,
                    str(one.concurrent),
                    f"{one.requests:,}",
                    f"{one.per_s:,.0f}",
                    f"{one.p50_ms:.2f}",
                    f"{one.p99_ms:.2f}",
                )
                for one in report.hits
            ),
        ),
        "",
    ]
    if paints:
        lines += [
            (
                f"The page was opened {len(paints)} times, each time in a new browser with a new"
                f" profile: first contentful paint after {min(paints):.0f} to {max(paints):.0f} ms,"
                f" the median {statistics.median(paints):.0f} ms."
            ),
            "",
        ]
    return "\n".join(lines)


def _cells(one: Pushes) -> tuple[str, ...]:
    late = (percentile(one.late, 50), percentile(one.late, 99), one.late[-1])
    return (
        one.name,
        f"{one.sockets:,}",
        f"{one.pushes:,}",
        *(f"{ms:.1f}" for ms in late),
        f"{percentile(one.spread, 50):,.0f}",
        f"{one.spread[-1]:,.0f}",
        f"{100 * one.processor_ratio:.0f} %",
        f"{one.memory_mib:.0f}",
    )
