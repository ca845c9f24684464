"""What happened to one request of an experiment, and what was learnt about it later."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from services.experiments.domain.totals import UserTotals

FAILURES = frozenset(("failed", "truncated", "unknown"))  # who hangs up did not see us fail
BAD = 2  # stars: an answer with so few was no success

Source = Literal["ledger", "import"]


@dataclass(frozen=True, slots=True)
class Result:
    """A request that an arm served: as assigned, whatever became of it."""

    request_id: str
    experiment_id: int
    arm: str
    user_id: str
    provider: str
    model: str
    outcome: str
    success: bool
    cost_nano_usd: int | None  # None: unpriced
    latency_ms: float
    answered_at: datetime
    prompt_words: int | None = None  # of what the user wrote; None: unknown
    fallbacks: int = 0
    quality_score: int | None = None
    source: Source = "ledger"


@dataclass(frozen=True, slots=True)
class CostCorrection:
    """What must be added to a result's cost, now that the truth is known."""

    request_id: UUID
    difference_nano_usd: int
    unpriced: bool  # what was guessed at some price turned out to have none


@dataclass(frozen=True, slots=True)
class Rating:
    """Feedback: the last revision counts."""

    request_id: UUID
    revision: int
    quality_score: int  # 1..5


@dataclass(frozen=True, slots=True)
class Known:
    """What of a result enters the totals of its user."""

    success: bool
    cost_nano_usd: int | None
    latency_ms: float
    prompt_words: int | None
    fallbacks: int
    quality_score: int | None

    def totals(self, slow_over_us: float | None) -> UserTotals:
        """Return one request's part in its user's totals."""
        priced = self.cost_nano_usd is not None
        measured = priced and self.prompt_words is not None
        latency_us = round(self.latency_ms * 1000)
        return UserTotals(
            results=1,
            priced=int(priced),
            cost_nano_usd=self.cost_nano_usd or 0,
            good=int(priced and self.success and (self.quality_score or BAD + 1) > BAD),
            prompt_words=self.prompt_words or 0 if measured else 0,
            measured=int(measured),
            failures=int(not self.success),
            latency_us=latency_us,
            slow=int(slow_over_us is not None and latency_us > slow_over_us),
            rated=int(self.quality_score is not None),
            quality=self.quality_score or 0,
            fallbacks=self.fallbacks,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one result: it came (nothing was known before), or more became known."""

    experiment_id: int
    arm: str
    user_id: str
    before: Known | None
    after: Known
