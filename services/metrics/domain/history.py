"""Totals over stretches of time, and which stretches may be asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.errors import Invalid

MINUTE_S = 60
DAY_S = 86_400
MAX_WINDOW_S = 30 * DAY_S
MAX_STEPS = 11_000  # a week by the minute; more than any chart has pixels

FAILURES = ["failed", "truncated", "unknown"]  # a client that hung up did not see us fail


@dataclass(frozen=True, slots=True)
class Totals:
    since: datetime
    requests: int = 0
    failures: int = 0
    cache_hits: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    compared_cost_nano_usd: int = 0  # of the requests whose baseline is known
    baseline_cost_nano_usd: int = 0  # of the same requests


@dataclass(frozen=True, slots=True)
class Window:
    """Steps of equal length, aligned to the Unix epoch; the last one contains now."""

    start: datetime
    step_s: int
    count: int

    def fill(self, found: Iterable[Totals]) -> list[Totals]:
        """Return one total a step, oldest first; a step without requests is all zeros."""
        by_start = {totals.since: totals for totals in found}
        step = timedelta(seconds=self.step_s)
        starts = [self.start + i * step for i in range(self.count)]
        return [by_start.get(start, Totals(start)) for start in starts]


def window(now: datetime, *, window_s: int, step_s: int) -> Window:
    """
    Return the steps that cover the last *window_s* seconds before *now*.

    Raises:
        Invalid: a bound is broken, the step is no whole minutes, or there are too many steps.
    """
    if not MINUTE_S <= window_s <= MAX_WINDOW_S:
        raise Invalid(f"window must be {MINUTE_S} to {MAX_WINDOW_S} seconds", param="window")
    if not MINUTE_S <= step_s <= DAY_S or step_s % MINUTE_S:
        raise Invalid(f"step must be whole minutes, {MINUTE_S} to {DAY_S} seconds", param="step")
    if window_s > MAX_STEPS * step_s:
        raise Invalid(f"at most {MAX_STEPS} steps: choose a larger step", param="step")
    last = int(now.timestamp()) // step_s
    count = -(-window_s // step_s)
    start = datetime.fromtimestamp((last - count + 1) * step_s, UTC)
    return Window(start, step_s, count)
