"""The measures as tables between the markers of a page, and as two plots."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log1p

from scipy import special  # type: ignore[import-untyped]

from scripts.experiments import others, traffic
from scripts.experiments.figures import Share, mean, share
from scripts.experiments.looking import Run
from scripts.experiments.plots import Plot
from scripts.experiments.studies import (
    CURVE,
    EFFECT,
    HORIZONS,
    SRM_USERS,
    Ending,
    Measured,
)
from scripts.experiments.traffic import CLOSED, KINDS, STAGGERED, Kind
from services.experiments.domain.options import Margins
from services.experiments.domain.power import POWER

MARKED = re.compile(r"(<!-- measured: ([a-z-]+) -->\n).*?(\n<!-- /measured -->)", re.DOTALL)

MOST = 0.999  # more power than this is not told from the runs


def filled(page: str, tables: Mapping[str, str]) -> str:
    """
    Return *page* with each table between its markers.

    Raises:
        ValueError: a marker has no table, or a table no marker.
    """
    names = sorted(found[1] for found in MARKED.findall(page))
    if names != sorted(tables):
        raise ValueError(f"the page has the markers {names}, measured were {sorted(tables)}")
    return MARKED.sub(lambda found: f"{found[1]}\n{tables[found[2]]}\n{found[3]}", page)


def written(found: Measured) -> dict[str, str]:
    """Return every table by the name of its marker."""
    return {name: table(found) for name, table in TABLES.items()}


def plots(found: Measured) -> dict[str, str]:
    equal = {
        kind.name: [share(_won(found.equal[kind.name, size])).value for size in HORIZONS]
        for kind in KINDS
    }
    runs = [found.equal[STAGGERED.name, size] for size in HORIZONS]
    peeked = [share(run.peeked != 0 for run in one).value for one in runs]
    naive = [share(run.naive != 0 for run in one).value for one in runs]
    return {
        "false-winners.svg": Plot(
            "Equal arms: how often one of them “wins”",
            "planned requests, looked at after each of them",
            [f"{size:,}" for size in HORIZONS],
            top=0.8,
            steps=4,
            limit=0.05,
            lines={
                **equal,
                "t-test on users, each look": peeked,
                "t-test on requests, each look": naive,
            },
        ).svg(),
        "power.svg": Plot(
            "A cheaper arm: how often it is found",
            "cheaper by, in an experiment planned for 10 %",
            [f"{effect:.1%}".replace(".0%", "%") for effect in CURVE],
            top=1.0,
            steps=5,
            limit=0.8,
            lines={
                "all the time, with CUPED": [_found(found.curve[one]).value for one in CURVE],
                "all the time, without CUPED": [
                    share(run.plain.direction == -1 for run in found.curve[one]).value
                    for one in CURVE
                ],
                "t-test on users, one look": [
                    share(run.fixed == -1 for run in found.curve[one]).value for one in CURVE
                ],
            },
        ).svg(),
    }


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _won(runs: Iterable[Run]) -> list[bool]:
    return [run.ours.direction != 0 for run in runs]


def _found(runs: Iterable[Run]) -> Share:
    return share(run.ours.direction == -1 for run in runs)


def _traffic(_: Measured) -> str:
    rows = []
    for kind in KINDS:
        planned = traffic.planned(kind)
        rows.append(
            [
                kind.name,
                "early, all of them" if kind.closed else "all the time",
                f"{kind.spread}",
                f"{planned.variation:.2f}",
                f"{planned.explained_ratio:.2f}",
                f"{traffic.sample_size(kind, EFFECT):,}",
            ]
        )
    head = ["traffic", "users come", "spread", "variation", "r²", "requests to find 10 %"]
    return _table(head, rows)


def _false_winners(found: Measured) -> str:
    rows = []
    for (name, size), runs in found.equal.items():
        cheaper = share(run.ours.direction == -1 for run in runs)
        dearer = share(run.ours.direction == 1 for run in runs)
        rows.append([name, f"{size:,}", f"{len(runs):,}", share(_won(runs)), cheaper, dearer])
    rows.sort(key=lambda row: [kind.name for kind in KINDS].index(str(row[0])))
    head = ["traffic", "requests", "experiments", "false winners", "“cheaper”", "“dearer”"]
    return _table(head, rows)


def _fixed_users(kind: Kind, power: float) -> float:
    """Return the users, both arms together, of one look at the end without CUPED."""
    z = float(special.ndtri(0.975) + special.ndtri(min(power, MOST)))
    return 4 * traffic.planned(kind).variation ** 2 * z**2 / log1p(-EFFECT) ** 2


def _planned(found: Measured) -> str:
    rows = []
    for kind in KINDS:
        runs = found.planned[kind.name]
        size = traffic.sample_size(kind, EFFECT)
        for cuped in (True, False):
            stops = [run.ours if cuped else run.plain for run in runs]
            power = share(stop.direction == -1 for stop in stops)
            if kind is CLOSED:  # all users are there from early on: what is saved is requests
                used = [stop.at / traffic.REQUESTS_PER_USER for stop in stops]
            else:
                used = [run.users if cuped else run.users_plain for run in runs]
            as_sure = mean(one / _fixed_users(kind, power.value) for one in used)
            usual = mean(one / _fixed_users(kind, POWER) for one in used)
            rows.append(
                [
                    kind.name,
                    "with" if cuped else "without",
                    f"{len(runs):,}",
                    power,
                    share(stop.direction == 1 for stop in stops),
                    f"{mean(stop.at / size for stop in stops).value:.2f}",
                    f"{as_sure}, {as_sure.median:.2f}",
                    f"{usual}, {usual.median:.2f}",
                ]
            )
    head = [
        "traffic",
        "CUPED",
        "experiments",
        "found",
        "wrong way",
        "used of the plan",
        "of one look that is as sure: mean, median",
        "of one look that finds 80 %",
    ]
    return _table(head, rows)


def _coverage(found: Measured) -> str:
    rows = []
    for kind in KINDS:
        for size in HORIZONS:
            runs = found.equal[kind.name, size]
            rows.append([kind.name, "none", f"{size:,}", *_covered(runs)])
        runs = found.planned[kind.name]
        size = traffic.sample_size(kind, EFFECT)
        rows.append([kind.name, f"-{EFFECT:.0%}", f"{size:,}", *_covered(runs)])
    head = ["traffic", "true change", "requests", "experiments", "with CUPED", "without"]
    return _table(head, rows)


def _covered(runs: Sequence[Run]) -> tuple[str, Share, Share]:
    return (
        f"{len(runs):,}",
        share(run.covered for run in runs),
        share(run.covered_plain for run in runs),
    )


def _guardrails(found: Measured) -> str:
    rows = []
    for (name, quality, lift), endings in found.guarded.items():
        stops = [one.stopped is not None for one in endings]
        rows.append(
            [
                name,
                _change(quality) + (", the margin" if -quality == Margins().quality_ratio else ""),
                _change(lift),
                f"{len(endings):,}",
                share(stops),
                share(one.crowned for one in endings) if lift else "",
                _stopped_at(endings),
            ]
        )
    head = ["traffic", "rating", "cost", "experiments", "stopped", "won before", "stopped at"]
    return _table(head, rows)


def _stopped_at(endings: Sequence[Ending]) -> str:
    at = [one.stopped for one in endings if one.stopped is not None]
    return f"{mean(at).median:,.0f}" if len(at) > len(endings) / 2 else ""


def _change(by: float) -> str:
    return f"-{-by:.0%}" if by else "equal"


def _mismatch(found: Measured) -> str:
    rows = []
    for lost, ends in found.lost.items():
        at = [one for one in ends if one is not None]
        seen = share(one is not None for one in ends)
        middle = f"{mean(at).median:,.0f}" if lost else ""
        rows.append([f"{lost:.0%}" if lost else "none", f"{len(ends):,}", seen, middle])
    head = ["users lost in one arm", "experiments", f"alarm within {SRM_USERS:,} users", "median"]
    return _table(head, rows)


def _others(found: Measured) -> str:
    equal, planned = found.beside_ours[0.0], found.beside_ours[-EFFECT]
    methods: Mapping[str, Callable[[Run], int]] = {
        "this product, after every request": lambda run: run.ours.direction,
        "the same without CUPED": lambda run: run.plain.direction,
        "t-test on users, one look at the end": lambda run: run.fixed,
        "t-test on users, after every request": lambda run: run.peeked,
        "t-test on requests, after every request": lambda run: run.naive,
    }
    rows = [
        _beside(name, [way(run) for run in equal], [way(run) for run in planned])
        for name, way in methods.items()
    ]
    on_lift = found.beside_on_lift
    rows.insert(2, _beside("that, on the lift in percent", on_lift[0.0], on_lift[-EFFECT]))
    for index, scale in enumerate(others.SCALES):
        if found.gbstats:
            rows.append(
                _beside(
                    f"gbstats {found.gbstats}, sequential, {scale}, {others.LOOKS} looks",
                    [one[index] for one in found.beside[0.0]],
                    [one[index] for one in found.beside[-EFFECT]],
                )
            )
    head = ["method", "false winners", "“cheaper”", "“dearer”", "-10 % found", "wrong way"]
    told = _table(head, rows)
    return told if found.gbstats else told + "\n\n`gbstats` could not be installed and is left out."


def _beside(name: str, equal: Sequence[int], planned: Sequence[int]) -> list[object]:
    return [
        name,
        share(way != 0 for way in equal),
        share(way == -1 for way in equal),
        share(way == 1 for way in equal),
        share(way == -1 for way in planned),
        share(way == 1 for way in planned),
    ]


TABLES: Mapping[str, Callable[[Measured], str]] = {
    "traffic": _traffic,
    "false-winners": _false_winners,
    "planned": _planned,
    "coverage": _coverage,
    "guardrails": _guardrails,
    "mismatch": _mismatch,
    "others": _others,
}
