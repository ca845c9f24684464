"""Results that were observed elsewhere: checked row by row, and all or nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.errors import Failure, Invalid
from services.experiments.domain.experiment import Experiment, checked_user
from services.experiments.domain.result import Result

MAX_ROWS = 10_000
MAX_TOLD = 20  # wrong rows in one message
MAX_TEXT = 200
MAX_COST_NANO_USD = 10**15
MAX_MS = 1e9  # eleven days
MAX_WORDS = 10**9
STARS = (1, 5)
WORDS_A_TOKEN = 0.75  # of English; a ratio of prompts' lengths is all that is made of it
AHEAD = timedelta(minutes=5)  # that another machine's clock may be


@dataclass(frozen=True, slots=True)
class ExternalResult:
    """A result as its importer tells it."""

    request_id: str  # the importer's own
    user_id: str
    provider: str
    model: str
    cost_nano_usd: int
    latency_ms: float
    quality_score: float | None = None
    success: bool = True
    prompt_tokens: int | None = None
    occurred_at: datetime | None = None
    arm: str = ""  # what the importer takes it for; empty: it leaves that to the rule


def checked(rows: Sequence[ExternalResult], experiment: Experiment) -> list[Result]:
    """
    Return *rows* as results of *experiment*, each in the arm of the assignment rule.

    Raises:
        Invalid: rows are wrong; the message names each and what is wrong with it.
    """
    if not 1 <= len(rows) <= MAX_ROWS:
        raise Invalid(f"1 to {MAX_ROWS} results are taken at once", param="results")
    problems, found, seen = [], [], set[str]()
    now = datetime.now(UTC)
    for index, row in enumerate(rows):
        try:
            if row.request_id in seen:
                raise Invalid("its request_id is in another row too")
            seen.add(row.request_id)
            found.append(_checked(row, experiment, now))
        except Failure as failure:
            problems.append(f"results[{index}]: {failure.message}")
    if problems:
        told = "; ".join(problems[:MAX_TOLD])
        more = f"; and {len(problems) - MAX_TOLD} more" if len(problems) > MAX_TOLD else ""
        raise Invalid(f"{told}{more}. Nothing was imported.", param="results")
    return found


def _checked(row: ExternalResult, experiment: Experiment, now: datetime) -> Result:
    for value, name in (
        (row.request_id, "request_id"),
        (row.provider, "provider"),
        (row.model, "model"),
    ):
        if not 1 <= len(value) <= MAX_TEXT or "\x00" in value:
            raise Invalid(f"{name} must have 1 to {MAX_TEXT} characters, none of them NUL")
    if not 0 <= row.cost_nano_usd <= MAX_COST_NANO_USD:
        raise Invalid("cost must be within [0, 1,000,000] dollars")
    if not 0 <= row.latency_ms <= MAX_MS:  # NaN fails this too
        raise Invalid(f"latency_ms must be within [0, {MAX_MS:.0f}]")
    if row.prompt_tokens is not None and not 0 <= row.prompt_tokens <= MAX_WORDS:
        raise Invalid("prompt_tokens must be a whole number of at least 0")
    if row.occurred_at and row.occurred_at > now + AHEAD:
        raise Invalid("occurred_at is in the future")
    arm = experiment.assigned(checked_user(row.user_id)).name
    if row.arm and row.arm != arm:
        raise Invalid(f"its user is in the arm {arm}, not in {row.arm[:50]!r}")
    return Result(
        request_id=f"{experiment.id}/{row.request_id}",  # never one of the ledger's, nor another's
        experiment_id=experiment.id,
        arm=arm,
        user_id=row.user_id,
        provider=row.provider,
        model=row.model,
        outcome="ok" if row.success else "failed",
        success=row.success,
        cost_nano_usd=row.cost_nano_usd,
        latency_ms=row.latency_ms,
        answered_at=row.occurred_at or now,
        prompt_words=_words(row.prompt_tokens),
        quality_score=_stars(row.quality_score),
        source="import",
    )


def _stars(score: float | None) -> int | None:
    if score is None:
        return None
    low, high = STARS
    if not math.isfinite(score) or score != int(score) or not low <= score <= high:
        raise Invalid(f"quality_score must be a whole number from {low} to {high}")
    return int(score)


def _words(tokens: int | None) -> int | None:
    return None if tokens is None else round(tokens * WORDS_A_TOKEN)
