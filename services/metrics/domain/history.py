"""Totals over stretches of time, and which stretches may be asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from common.errors import Invalid
from services.metrics.domain.durations import NO_PERCENTILES, Percentiles
from services.metrics.domain.grains import MINUTE_S, longest

DAY_S = 86_400
MAX_WINDOW_S = 30 * DAY_S
MAX_STEPS = 750  # thirty days by the hour; more than a chart can show apart
MOST_SERIES = 11  # named; the others together are one more
OTHER, NOBODY = "other", "none"

FAILURES = ["failed", "truncated", "unknown"]  # a client that hung up did not see us fail

By = Literal["model", "provider", "strategy", "key", "arm"]


@dataclass(frozen=True, slots=True)
class Totals:
    since: datetime
    requests: int = 0
    compared: int = 0  # their cost and their baseline are known; the cache's answers are apart
    failures: int = 0
    cache_hits: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    compared_cost_nano_usd: int = 0  # of the compared
    baseline_cost_nano_usd: int = 0  # of the same requests
    cache_compared: int = 0  # answers of the cache that are known so
    cache_saved_nano_usd: int = 0  # by these
    latency: Percentiles = NO_PERCENTILES  # of those that were answered


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    steps: list[Totals]


@dataclass(frozen=True, slots=True)
class Window:
    """Steps of equal length, aligned to the Unix epoch; the last one contains now."""

    start: datetime
    step_s: int
    count: int

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.count * self.step_s)

    @property
    def grain_s(self) -> int:
        """Return the longest stretches that were summed up ahead of which steps are made."""
        return longest(self.step_s)

    def fill(self, found: Iterable[Totals]) -> list[Totals]:
        """Return one total a step, oldest first; a step without requests is all zeros."""
        by_start = {totals.since: totals for totals in found}
        step = timedelta(seconds=self.step_s)
        starts = [self.start + i * step for i in range(self.count)]
        return [by_start.get(start, Totals(start)) for start in starts]


def window(now: datetime, *, window_s: int, step_s: int) -> Window:
    """
    Return the steps that cover the last *window_s* seconds before *now*, the first one whole.

    Raises:
        Invalid: a bound is broken, the step is no whole minutes or longer than the window, or
            there are too many steps.
    """
    if not MINUTE_S <= window_s <= MAX_WINDOW_S:
        raise Invalid(f"window must be {MINUTE_S} to {MAX_WINDOW_S} seconds", param="window")
    if not MINUTE_S <= step_s <= DAY_S or step_s % MINUTE_S:
        raise Invalid(f"step must be whole minutes, {MINUTE_S} to {DAY_S} seconds", param="step")
    if step_s > window_s:
        raise Invalid("step must not be longer than the window", param="step")
    now_s = int(now.timestamp())
    first, last = (now_s - window_s) // step_s, now_s // step_s
    if last - first >= MAX_STEPS:
        raise Invalid(f"at most {MAX_STEPS} steps: choose a larger step", param="step")
    return Window(datetime.fromtimestamp(first * step_s, UTC), step_s, last - first + 1)
