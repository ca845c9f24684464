"""What happened to one request of an experiment, and what was learnt about it later."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

FAILURES = frozenset(("failed", "truncated", "unknown"))  # who hangs up did not see us fail


@dataclass(frozen=True, slots=True)
class Result:
    """A request that an arm served: as assigned, whatever became of it."""

    request_id: UUID
    experiment_id: int
    arm: str
    user_id: str
    provider: str
    model: str
    outcome: str
    cost_nano_usd: int | None  # None: unpriced
    latency_ms: float
    answered_at: datetime

    @property
    def success(self) -> bool:
        return self.outcome not in FAILURES


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
class ArmSummary:
    """Counts and means over one arm's requests."""

    arm: str
    results: int = 0
    users: int = 0
    avg_cost_nano_usd: float | None = None  # over the priced
    avg_latency_ms: float | None = None
    avg_quality: float | None = None  # over the rated
    failures: int = 0
    unpriced: int = 0
