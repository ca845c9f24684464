"""What is simulated, how often, and what is counted."""

import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.pool import Pool
from typing import Generic, TypeVar

import numpy as np

from scripts.experiments import looking, others, traffic
from scripts.experiments.looking import Run
from scripts.experiments.traffic import CLOSED, KINDS, STAGGERED, Floats, Kind
from services.experiments.domain.options import Margins

T = TypeVar("T")

SEED = 20_250_601
EFFECT = 0.1  # that experiments are planned for
HORIZONS = {300: 6000, 1_000: 5000, 3_000: 3000, 10_000: 1500, 30_000: 600}  # requests: runs
POWER_RUNS = {kind.name: 800 for kind in KINDS} | {traffic.HEAVY.name: 250}
CURVE = (0.025, 0.05, 0.075, 0.1, 0.125, 0.15)
CURVE_RUNS = 200
SRM_USERS, SRM_LOST, SRM_RUNS = 3_000, 0.2, 4000
GUARD_RUNS = 400
WORSE = 0.1
OTHERS_SIZE, OTHERS_RUNS = 10_000, 400


@dataclass(frozen=True, slots=True)
class Costs:
    """One experiment on costs."""

    kind: Kind
    size: int
    lift: float = 0.0

    def __call__(self, dice: np.random.Generator) -> Run | None:
        drawn = traffic.stream(self.kind, self.size, dice, lift=self.lift)
        return looking.run(self.kind, drawn, self.lift)


@dataclass(frozen=True, slots=True)
class Guarded:
    """One experiment on costs and ratings."""

    kind: Kind
    size: int
    quality: float
    lift: float = 0.0

    def __call__(self, dice: np.random.Generator) -> "Ending":
        drawn = traffic.stream(self.kind, self.size, dice, lift=self.lift, quality=self.quality)
        stopped = looking.guardrails(drawn, Margins())
        found = looking.run(self.kind, drawn, self.lift) if self.lift else None
        return Ending(stopped, found.ours if found else None)


@dataclass(frozen=True, slots=True)
class Ending:
    stopped: int | None  # by a guardrail, after so many requests
    found: looking.Found | None  # by its costs; None: they were not looked at

    @property
    def crowned(self) -> bool:
        """Whether the test arm won before a guardrail objected."""
        if self.found is None or self.found.direction != -1:
            return False
        return self.stopped is None or self.found.at < self.stopped


@dataclass(frozen=True, slots=True)
class Users:
    """Who came into which arm, while a share of one arm's users is lost."""

    lost: float

    def __call__(self, dice: np.random.Generator) -> int | None:
        share = (1 - self.lost) / (2 - self.lost)
        return looking.mismatched_at((dice.random(SRM_USERS) < share).astype(np.int64))


@dataclass(frozen=True, slots=True)
class Beside:
    """One experiment, who wins it on the lift in percent, and the sums that others need."""

    costs: Costs

    def __call__(self, dice: np.random.Generator) -> tuple[Run | None, int, Floats]:
        kind, size, lift = self.costs.kind, self.costs.size, self.costs.lift
        drawn = traffic.stream(kind, size, dice, lift=lift)
        return (
            looking.run(kind, drawn, lift),
            looking.direction_on_lift(drawn),
            others.sums_at_looks(drawn),
        )


@dataclass(frozen=True, slots=True)
class Drawn(Generic[T]):
    """Whatever a task does, with chance of its own for each time it is done."""

    task: Callable[[np.random.Generator], T]
    name: str

    def __call__(self, index: int) -> T:
        return self.task(np.random.default_rng([SEED, zlib.crc32(self.name.encode()), index]))


class Bench:
    """Repeats tasks in two processes; what comes out does not depend on which did what."""

    def __init__(self, pool: Pool, scale: float) -> None:
        self._pool = pool
        self._scale = scale
        self._begun = time.monotonic()

    def repeat(self, name: str, task: Callable[[np.random.Generator], T], runs: int) -> list[T]:
        runs = max(20, round(runs * self._scale))
        chunk = max(1, min(50, runs // 20))
        found = self._pool.map(Drawn(task, name), range(runs), chunksize=chunk)
        spent = time.monotonic() - self._begun
        print(f"{spent:5.0f} s  {name}: {runs:,} runs", file=sys.stderr, flush=True)
        return found


@dataclass(slots=True)
class Measured:
    """Everything the page needs; runs by kind of traffic."""

    equal: dict[tuple[str, int], list[Run]] = field(default_factory=dict)  # and by horizon
    planned: dict[str, list[Run]] = field(default_factory=dict)  # a true -10 %
    curve: dict[float, list[Run]] = field(default_factory=dict)
    guarded: dict[tuple[str, float, float], list[Ending]] = field(default_factory=dict)
    lost: dict[float, list[int | None]] = field(default_factory=dict)
    beside: dict[float, list[tuple[int, int]]] = field(default_factory=dict)  # gbstats, by lift
    beside_ours: dict[float, list[Run]] = field(default_factory=dict)
    beside_on_lift: dict[float, list[int]] = field(default_factory=dict)
    gbstats: str | None = None


def measure(bench: Bench) -> Measured:
    """Run every study."""
    found = Measured(gbstats=others.version())
    for size, runs in HORIZONS.items():
        for kind in KINDS:
            name = f"equal arms, {kind.name}, {size:,} requests"
            found.equal[kind.name, size] = known(bench.repeat(name, Costs(kind, size), runs))
    for kind in KINDS:
        size = traffic.sample_size(kind, EFFECT)
        name = f"{EFFECT:.0%} cheaper, {kind.name}, {size:,} requests"
        runs = POWER_RUNS[kind.name]
        found.planned[kind.name] = known(bench.repeat(name, Costs(kind, size, -EFFECT), runs))
    size = traffic.sample_size(STAGGERED, EFFECT)
    for effect in CURVE:
        name = f"{effect:.1%} cheaper"
        task = Costs(STAGGERED, size, -effect)
        found.curve[effect] = known(bench.repeat(name, task, CURVE_RUNS))
    margin = Margins().quality_ratio
    for kind, quality, lift in (
        (STAGGERED, 0.0, 0.0),
        (STAGGERED, -margin, 0.0),
        (STAGGERED, -WORSE, 0.0),
        (CLOSED, -margin, 0.0),
        (CLOSED, -WORSE, 0.0),
        (STAGGERED, -WORSE, -EFFECT),
        (STAGGERED, -WORSE, -3 * EFFECT),
    ):
        name = f"quality {quality:+.0%}, cost {lift:+.0%}, {kind.name}"
        guarded = Guarded(kind, size, quality, lift)
        found.guarded[kind.name, quality, lift] = bench.repeat(name, guarded, GUARD_RUNS)
    for lost in (0.0, SRM_LOST):
        found.lost[lost] = bench.repeat(f"{lost:.0%} of users lost", Users(lost), SRM_RUNS)
    _measure_beside(bench, found)
    return found


def _measure_beside(bench: Bench, found: Measured) -> None:
    for lift, requests in (
        (0.0, OTHERS_SIZE),
        (-EFFECT, traffic.sample_size(STAGGERED, EFFECT)),
    ):
        name = f"beside others, cost {lift:+.0%}"
        each = bench.repeat(name, Beside(Costs(STAGGERED, requests, lift)), OTHERS_RUNS)
        found.beside_ours[lift] = known([run for run, _, _ in each])
        found.beside_on_lift[lift] = [way for _, way, _ in each]
        if found.gbstats:
            found.beside[lift] = others.directions([sums for _, _, sums in each])


def known(runs: Sequence[Run | None]) -> list[Run]:
    """Leave out the experiments that never had ten users in each arm."""
    return [run for run in runs if run is not None]
