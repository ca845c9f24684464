"""One request's way through its candidates: whom to ask next, and how long."""

import time
from dataclasses import dataclass, field

from services.router.background import Caller
from services.router.domain.catalog import Model
from services.router.domain.decision import Candidate, Decision
from services.router.domain.provider_failure import ProviderFailure
from services.router.domain.request import Ask
from services.router.domain.tried import Tried
from services.router.providers.breaker import Breakers
from services.router.store.entry import Entry

RESERVE_RATIO = 0.5  # of the time that is left, kept for the candidates behind
RESERVE_S = 60.0  # and no more than this
NO_TIME_S = 0.05  # with less than this left, nothing is begun


@dataclass(slots=True)
class Round:
    ask: Ask
    decision: Decision
    entry: Entry
    deadline: float  # on time.monotonic
    caller: Caller
    breakers: Breakers
    tried: Tried = field(default_factory=Tried)
    slow: dict[str, ProviderFailure] = field(default_factory=dict)  # by model
    slow_models: list[Model] = field(default_factory=list)
    decided: bool = False  # somebody has answered: what is still under way comes too late
    provider_ms: float = 0
    _next: int = 0

    @property
    def left_s(self) -> float:
        return self.deadline - time.monotonic()

    def time_is_up(self) -> bool:
        return self.left_s < NO_TIME_S

    def share(self, *, last: bool) -> float:
        """Return when the next attempt must be over, so that those behind it get their turn."""
        return (
            self.deadline if last else self.deadline - min(self.left_s * RESERVE_RATIO, RESERVE_S)
        )

    def upcoming(self) -> Candidate | None:
        rest = self.decision.candidates[self._next :]
        return rest[0] if rest else None

    def next_candidate(self) -> Candidate | None:
        """Return who is to be asked now; None when there is nobody, or nobody to ask for."""
        while (candidate := self.upcoming()) is not None:
            if self._next and (self.caller.gone or self.time_is_up()):
                return None
            self._next += 1
            if self.tried.too_small(candidate.model):
                continue
            if self.breakers.allows(candidate.model):
                return candidate
            self.tried.resting.append(candidate.model)
        return None

    def last_resort(self) -> Candidate | None:
        """Return the first one that rests, if all do: asking it beats refusing unasked."""
        if not self.tried.resting or self.tried.failures:
            return None
        first = self.tried.resting.pop(0)
        return next(c for c in self.decision.candidates if c.model is first)

    def is_slow(self, candidate: Candidate) -> None:
        """Take note that somebody else is asked as well; whoever answers first wins."""
        failure = ProviderFailure("timed_out", "slow", maybe_billed=True)
        self.slow[candidate.model.name] = failure
        self.slow_models.append(candidate.model)
        self.tried.add(candidate.model, failure)
