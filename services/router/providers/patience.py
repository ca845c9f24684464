"""
How long one waits for a model's first word before the next candidate is asked as well.

As long as the catalog says, unless the model is known to take longer: a reasoning model that always
thinks for twenty seconds is slow, not broken.
"""

import statistics
from collections import deque
from dataclasses import dataclass, field

from services.router.domain.catalog import Model, Timeouts

KNOWN_FROM = 5  # answers: one slow answer is an accident, not a habit
REMEMBERED = 31
LENIENCY = 3.0  # times the usual wait; hedging far beyond it costs little (Dean and Barroso 2013)

_Key = tuple[str, bool]


@dataclass(slots=True)
class Patience:
    _waits: dict[_Key, deque[float]] = field(default_factory=dict)

    def answered(self, model: Model, *, streamed: bool, waited_s: float) -> None:
        """Take note of how long a first token, or a whole plain answer, took to come."""
        key = (model.name, streamed)
        if key not in self._waits:
            self._waits[key] = deque(maxlen=REMEMBERED)
        self._waits[key].append(waited_s)

    def limit_s(self, model: Model, timeouts: Timeouts, *, streamed: bool) -> float:
        """Return after how long without a word *model* is slower than it should be."""
        waits = self._waits.get((model.name, streamed), ())
        if len(waits) < KNOWN_FROM or max(waits) * LENIENCY <= timeouts.failover_s:
            return timeouts.failover_s
        return max(timeouts.failover_s, LENIENCY * statistics.median(waits))
