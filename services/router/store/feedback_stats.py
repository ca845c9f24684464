"""What was said and seen of answers, summed up: `router.judgements` and `router.votes`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from common.errors import Invalid
from common.postgres import Pool, connection
from services.router.domain.complexity import OTHER, PATTERNS
from services.router.domain.trends import Change, change, side_of

USUAL_DAYS = 30
MOST_DAYS = 90  # judgements are kept for as long
ALL = "all"


@dataclass(frozen=True, slots=True)
class ModelFeedback:
    model: str
    source: str
    outcomes: int
    quality: float  # mean outcome, 0 to 1
    weight: float  # with which they were learned


@dataclass(frozen=True, slots=True)
class Votes:
    answers: int  # that were voted on
    up: int
    down: int
    invalidated: int  # answers


@dataclass(frozen=True, slots=True)
class Summary:
    models: Sequence[ModelFeedback]
    votes: Votes
    days: int


@dataclass(frozen=True, slots=True)
class Day:
    date: date  # UTC
    quality: float
    outcomes: int


@dataclass(frozen=True, slots=True)
class Trend:
    model: str
    pattern: str
    days: Sequence[Day]
    quality: float
    outcomes: int
    change: Change | None


@dataclass(frozen=True, slots=True)
class Trends:
    trends: Sequence[Trend]
    patterns: Sequence[str]
    days: int


class FeedbackStats:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def summary(self, days: int) -> Summary:
        """
        Sum up the last *days* by model and source; 0: 30.

        Raises:
            Invalid: more days than are kept.
            Unavailable, TimedOut: Postgres is silent.
        """
        days = _checked(days)
        since = datetime.now(UTC) - timedelta(days=days)
        async with connection(self._pool) as conn:
            models = await conn.fetch(
                """
                SELECT model, source, count(*) AS outcomes, avg(outcome) AS quality,
                       sum(weight) AS weight
                  FROM router.judgements
                 WHERE occurred_at >= $1
                 GROUP BY model, source
                 ORDER BY model, source
                """,
                since,
            )
            votes = await conn.fetchrow(
                """
                SELECT count(DISTINCT request_id) AS answers,
                       count(*) FILTER (WHERE rating > 0) AS up,
                       count(*) FILTER (WHERE rating < 0) AS down,
                       count(DISTINCT request_id) FILTER (WHERE spent) AS invalidated
                  FROM router.votes
                 WHERE voted_at >= $1
                """,
                since,
            )
        found = dict(votes) if votes else {"answers": 0, "up": 0, "down": 0, "invalidated": 0}
        return Summary([ModelFeedback(**row) for row in models], Votes(**found), days)

    async def trends(self, pattern: str, days: int) -> Trends:
        """
        Say how each model did, day by day.

        Args:
            pattern: What prompts are about; empty: one trend for all of them.
            days: Looked back on; 0: 30.

        Raises:
            Invalid: there is no such pattern, or more days than are kept.
            Unavailable, TimedOut: Postgres is silent.
        """
        days = _checked(days)
        now = datetime.now(UTC)
        async with connection(self._pool) as conn:
            rows = await conn.fetch(
                """
                SELECT model, pattern, (occurred_at AT TIME ZONE 'UTC')::date AS day,
                       occurred_at >= $2 AS later, count(*) AS outcomes,
                       sum(outcome) AS total, sum(outcome * outcome) AS squares
                  FROM router.judgements
                 WHERE occurred_at >= $1
                 GROUP BY model, pattern, day, later
                 ORDER BY model, day
                """,
                now - timedelta(days=days),
                now - timedelta(days=days) / 2,
            )
        patterns = sorted({row["pattern"] for row in rows})
        if pattern and pattern not in {*patterns, *PATTERNS, OTHER}:
            raise Invalid(
                f"pattern must be one of {', '.join((*PATTERNS, OTHER))}", param="pattern"
            )
        cells = [_Cell(**row) for row in rows if pattern in ("", row["pattern"])]
        models = sorted({cell.model for cell in cells})
        trends = [
            _trend(model, pattern or ALL, [cell for cell in cells if cell.model == model])
            for model in models
        ]
        return Trends(trends, patterns, days)


@dataclass(frozen=True, slots=True)
class _Cell:
    """The outcomes of one model, pattern, day and half of the window."""

    model: str
    pattern: str
    day: date
    later: bool
    outcomes: int
    total: float
    squares: float


def _trend(model: str, pattern: str, cells: Sequence[_Cell]) -> Trend:
    sums = [(cell.outcomes, cell.total, cell.squares) for cell in cells]
    whole = side_of(sums)
    halves = (
        side_of([one for one, cell in zip(sums, cells, strict=True) if cell.later == later])
        for later in (False, True)
    )
    days = []
    for day in sorted({cell.day for cell in cells}):
        own = side_of([one for one, cell in zip(sums, cells, strict=True) if cell.day == day])
        days.append(Day(day, own.mean, own.count))
    return Trend(model, pattern, days, whole.mean, whole.count, change(*halves))


def _checked(days: int) -> int:
    if days > MOST_DAYS:
        raise Invalid(f"days must be within 1..{MOST_DAYS}, got {days}", param="days")
    return days or USUAL_DAYS
