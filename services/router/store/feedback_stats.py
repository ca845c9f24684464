"""What was said and seen of answers, summed up: `router.judgements` and `router.votes`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import asyncpg

from common.errors import Invalid
from common.postgres import Pool, connection
from services.router.domain.complexity import OTHER, PATTERNS
from services.router.domain.trends import Change, Side, change, side_of

USUAL_DAYS = 30
MOST_DAYS = 90  # judgements are kept for as long
ALL = "all"

# Nothing checks what is written there: one NaN would make a NaN of every figure, and a weight
# without bounds an overflow.
READABLE = "outcome BETWEEN 0 AND 1 AND weight BETWEEN 0 AND 1e6"


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
                f"""
                SELECT model, source, count(*) AS outcomes, avg(outcome) AS quality,
                       sum(weight) AS weight
                  FROM router.judgements
                 WHERE occurred_at >= $1 AND {READABLE}
                 GROUP BY model, source
                 ORDER BY model, source
                """,  # noqa: S608 - constants only
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
        Say how each model did, day by day; an outcome weighs what it weighed to learning.

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
                f"""
                SELECT model, pattern, (occurred_at AT TIME ZONE 'UTC')::date AS day,
                       occurred_at >= $2 AS later, count(*) AS count,
                       sum(weight) AS w, sum(weight * outcome) AS wx,
                       sum(weight * weight) AS ww, sum(weight * weight * outcome) AS wwx,
                       sum(weight * weight * outcome * outcome) AS wwxx
                  FROM router.judgements
                 WHERE occurred_at >= $1 AND {READABLE} AND weight > 0
                 GROUP BY model, pattern, day, later
                 ORDER BY model, day
                """,  # noqa: S608 - constants only
                now - timedelta(days=days),
                now - timedelta(days=days) / 2,
            )
        patterns = sorted({row["pattern"] for row in rows})
        if pattern and pattern not in {*patterns, *PATTERNS, OTHER}:
            raise Invalid(
                f"pattern must be one of {', '.join((*PATTERNS, OTHER))}", param="pattern"
            )
        cells = [_cell(row) for row in rows if pattern in ("", row["pattern"])]
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
    day: date
    later: bool
    sums: Side


def _cell(row: asyncpg.Record) -> _Cell:
    sums = Side(row["count"], row["w"], row["wx"], row["ww"], row["wwx"], row["wwxx"])
    return _Cell(row["model"], row["day"], row["later"], sums)


def _trend(model: str, pattern: str, cells: Sequence[_Cell]) -> Trend:
    whole = side_of(cell.sums for cell in cells)
    earlier, later = (
        side_of(cell.sums for cell in cells if cell.later == half) for half in (False, True)
    )
    days = []
    for day in sorted({cell.day for cell in cells}):
        own = side_of(cell.sums for cell in cells if cell.day == day)
        days.append(Day(day, own.mean, own.count))
    return Trend(model, pattern, days, whole.mean, whole.count, change(earlier, later))


def _checked(days: int) -> int:
    if days > MOST_DAYS:
        raise Invalid(f"days must be within 1..{MOST_DAYS}, got {days}", param="days")
    return days or USUAL_DAYS
