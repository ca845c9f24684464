"""What an experiment needs when no request of it comes: its time runs out, old traffic goes."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Gauge

from common.errors import Failure
from services.experiments.store.traffic import TrafficStore
from services.experiments.usecases import Experiments

EVERY_S = 60.0

_MISMATCHED = Gauge(
    "optimizer_experiments_mismatched",
    "Running experiments whose arms did not get the shares of users they were meant to get.",
)

log = structlog.get_logger()


class Housekeeping:
    def __init__(self, experiments: Experiments, traffic: TrafficStore) -> None:
        self._experiments = experiments
        self._traffic = traffic

    async def run(self) -> None:
        """Look once a minute, for ever; two replicas that look at once do no harm."""
        while True:
            for step in (self._experiments.end_overdue, self._traffic.forget, self._watch):
                await _tried(step)
            await asyncio.sleep(EVERY_S)

    async def _watch(self) -> None:
        _MISMATCHED.set(await self._experiments.mismatched())


async def _tried(step: Callable[[], Awaitable[None]]) -> None:
    """Whatever fails waits a minute: it holds up no other step, and never ends the service."""
    try:
        await step()
    except Failure as failure:  # Postgres is away: in a minute there is just more to do
        log.warning("housekeeping waits", step=step.__name__, reason=failure.message)
    except Exception:
        log.exception("housekeeping failed", step=step.__name__)
