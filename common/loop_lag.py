"""How late the event loop is: every request waits at least as long as a timer does."""

import asyncio
from typing import NoReturn

from prometheus_client import Histogram

LOOK_EVERY_S = 0.25

_LAG = Histogram(
    "optimizer_event_loop_lag_seconds",
    "How late a timer of the event loop was.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)


async def watch_loop(*, every_s: float = LOOK_EVERY_S) -> NoReturn:
    """Measure for ever."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every_s
        await asyncio.sleep(every_s)
        _LAG.observe(max(loop.time() - due, 0.0))
