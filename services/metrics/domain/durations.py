"""
How long things took, as counts in buckets whose edges grow by a fixed ratio. Pure.

Percentiles cannot be averaged; such counts can be added, over minutes, models and replicas, in any
order, and a percentile of the sum is off by at most `MOST_ERROR` of its value.

Source:
    Masson, Rim & Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with
    relative-error guarantees", PVLDB 12(12); here with fixed buckets, which nothing collapses.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from math import ceil, log
from typing import NamedTuple

from services.metrics.domain.grains import GRAINS_S, start_of
from services.metrics.domain.rollup import FAILED, Labels, Request

RATIO = 1.08  # of a bucket's edges
_LOG_RATIO = log(RATIO)
MOST_ERROR = (RATIO - 1) / (RATIO + 1)  # relative: 3.8 %
LEAST_MS = 0.1  # what is shorter counts as this
MOST_MS = 1e12  # thirty years

NOT_TIMED = [FAILED, "unknown"]  # the fast failures of an outage must not look like fast answers


class Measure(IntEnum):
    LATENCY = 1
    FIRST_TOKEN = 2


class HistogramSlot(NamedTuple):
    """What one histogram is about."""

    grain_s: int
    start: datetime  # UTC
    labels: Labels  # of any confidence
    measure: Measure


@dataclass(frozen=True, slots=True)
class Percentiles:
    """In ms; None: nothing was timed."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


NO_PERCENTILES = Percentiles()
Durations = dict[HistogramSlot, Counter[int]]


def bucket_of(duration_ms: float) -> int:
    """Return n of the bucket from LEAST_MS * RATIO**(n - 1), left out, to LEAST_MS * RATIO**n."""
    if duration_ms <= LEAST_MS:
        return 0
    return ceil(log(duration_ms / LEAST_MS) / _LOG_RATIO)


def value_of(bucket: int) -> float:
    """Return the ms that are as far from one edge of the bucket as from the other, relatively."""
    return LEAST_MS * RATIO**bucket * (1 - MOST_ERROR) if bucket else LEAST_MS


def fold(requests: Iterable[Request]) -> Durations:
    """Count each request's durations, over every grain."""
    minutes: dict[tuple[datetime, Labels, Measure], Counter[int]] = {}
    for request in requests:
        for measure, duration_ms in (
            (Measure.LATENCY, request.latency_ms),
            (Measure.FIRST_TOKEN, request.first_token_ms),
        ):
            if duration_ms is not None:
                minute, labels = request.place.key
                counts = minutes.setdefault((minute, labels, measure), Counter())
                counts[bucket_of(duration_ms)] += 1
    durations: Durations = {}
    for (minute, labels, measure), counts in minutes.items():
        for grain_s in GRAINS_S:
            slot = HistogramSlot(
                grain_s, start_of(minute, grain_s), labels._replace(confidence=""), measure
            )
            durations.setdefault(slot, Counter()).update(counts)
    return durations


def percentile(counts: Mapping[int, int], percent: int) -> float | None:
    """Return the least duration that *percent* of 100 do not exceed, in ms; None: no durations."""
    total, seen = sum(counts.values()), 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen * 100 >= total * percent:
            return value_of(bucket)
    return None


def percentiles(counts: Mapping[int, int]) -> Percentiles:
    return Percentiles(*(percentile(counts, percent) for percent in (50, 95, 99)))


def usable_ms(duration_ms: float) -> float | None:
    """Return *duration_ms* if something can have taken so long; None: it is not known."""
    return duration_ms if 0 <= duration_ms <= MOST_MS else None  # NaN is neither
