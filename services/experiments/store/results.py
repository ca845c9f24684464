"""Results in Postgres. Every query on the `experiment_results` table lives here."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from common.postgres import Connection
from services.experiments.domain.result import Change, CostCorrection, Known, Rating, Result

_KNOWN = ("success", "cost_nano_usd", "latency_ms", "prompt_words", "fallbacks", "quality_score")
_BEFORE = ", ".join(f"before.{name} AS before_{name}" for name in _KNOWN)
_AFTER = ", ".join(f"result.{name}" for name in _KNOWN)
_CHANGE = f"result.experiment_id, result.arm, result.user_id, result.counted, {_BEFORE}, {_AFTER}"


async def record(
    conn: Connection, results: Sequence[Result], counting: Iterable[tuple[int, str]]
) -> dict[str, Change | None]:
    """
    Keep results; return those that were not there before, with what they change.

    *counting* names the experiments and arms whose results count. The rest is kept, and changes
    nothing: None.
    """
    if not results:
        return {}
    counts = set(counting)
    counted = [(result.experiment_id, result.arm) in counts for result in results]
    rows = await conn.fetch(
        """
        INSERT INTO experiments.experiment_results
            (request_id, experiment_id, arm, user_id, provider, model, outcome, success,
             cost_nano_usd, latency_ms, answered_at, prompt_words, fallbacks, quality_score,
             source, counted)
        SELECT *
        FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::text[], $8::boolean[], $9::bigint[], $10::float8[], $11::timestamptz[],
                    $12::bigint[], $13::integer[], $14::smallint[], $15::text[], $16::boolean[])
        ON CONFLICT (request_id) DO NOTHING
        RETURNING request_id
        """,
        [result.request_id for result in results],
        [result.experiment_id for result in results],
        [result.arm for result in results],
        [result.user_id for result in results],
        [result.provider for result in results],
        [result.model for result in results],
        [result.outcome for result in results],
        [result.success for result in results],
        [result.cost_nano_usd for result in results],
        [result.latency_ms for result in results],
        [result.answered_at for result in results],
        [result.prompt_words for result in results],
        [result.fallbacks for result in results],
        [result.quality_score for result in results],
        [result.source for result in results],
        counted,
    )
    fresh = {row["request_id"] for row in rows}
    return {
        result.request_id: _came(result) if counts_ else None
        for result, counts_ in zip(results, counted, strict=True)
        if result.request_id in fresh
    }


async def experiments_of(conn: Connection, request_ids: Iterable[str]) -> dict[str, int]:
    """Return which experiments requests belong to; those of none are left out."""
    rows = await conn.fetch(
        "SELECT request_id, experiment_id FROM experiments.experiment_results"
        " WHERE request_id = ANY ($1::text[])",
        list(request_ids),
    )
    return {row["request_id"]: row["experiment_id"] for row in rows}


async def correct(conn: Connection, corrections: Sequence[CostCorrection]) -> list[Change]:
    """Add differences to costs. An unpriced result stays unpriced: NULL plus something is NULL."""
    sums: dict[str, int] = defaultdict(int)
    for correction in corrections:
        sums[str(correction.request_id)] += correction.difference_nano_usd
    unpriced = {str(correction.request_id) for correction in corrections if correction.unpriced}
    if not sums:
        return []
    rows = await conn.fetch(
        f"""
        UPDATE experiments.experiment_results AS result
        SET cost_nano_usd = result.cost_nano_usd + new.difference
        FROM unnest($1::text[], $2::bigint[]) AS new (request_id, difference)
             JOIN experiments.experiment_results AS before USING (request_id)
        WHERE result.request_id = new.request_id
        RETURNING {_CHANGE}
        """,  # noqa: S608
        list(sums),
        [None if id_ in unpriced else difference for id_, difference in sums.items()],
    )
    return _changes(rows)


async def rate(conn: Connection, ratings: Sequence[Rating]) -> list[Change]:
    """Keep the score of the last revision, in whatever order revisions arrive."""
    last: dict[str, Rating] = {}
    for rating in ratings:
        key = str(rating.request_id)
        if key not in last or last[key].revision < rating.revision:
            last[key] = rating
    if not last:
        return []
    rows = await conn.fetch(
        f"""
        UPDATE experiments.experiment_results AS result
        SET quality_score = new.score, feedback_revision = new.revision
        FROM unnest($1::text[], $2::integer[], $3::smallint[])
                 AS new (request_id, revision, score)
             JOIN experiments.experiment_results AS before USING (request_id)
        WHERE result.request_id = new.request_id
          AND result.feedback_revision < new.revision
        RETURNING {_CHANGE}
        """,  # noqa: S608
        list(last),
        [rating.revision for rating in last.values()],
        [rating.quality_score for rating in last.values()],
    )
    return _changes(rows)


async def slow_over_us(conn: Connection, experiment_id: int, arm: str, tail: float) -> int:
    """Return a percentile of an arm's latency in microseconds; *tail* within [0, 1]."""
    found = await conn.fetchval(
        """
        SELECT percentile_disc($3) WITHIN GROUP (ORDER BY round(latency_ms * 1000))
        FROM experiments.experiment_results WHERE experiment_id = $1 AND arm = $2 AND counted
        """,
        experiment_id,
        arm,
        tail,
    )
    return int(found)


async def slow_of(conn: Connection, experiment_id: int, arm: str, over_us: float) -> dict[str, int]:
    """Return how many results of each user took longer; users without any are left out."""
    rows = await conn.fetch(
        """
        SELECT user_id, count(*) AS slow
        FROM experiments.experiment_results
        WHERE experiment_id = $1 AND arm = $2 AND counted AND round(latency_ms * 1000) > $3
        GROUP BY user_id
        """,
        experiment_id,
        arm,
        over_us,
    )
    return {row["user_id"]: row["slow"] for row in rows}


def _came(result: Result) -> Change:
    after = Known(**{name: getattr(result, name) for name in _KNOWN})
    return Change(result.experiment_id, result.arm, result.user_id, None, after)


def _changes(rows: Iterable[Any]) -> list[Change]:
    return [
        Change(
            row["experiment_id"],
            row["arm"],
            row["user_id"],
            Known(**{name: row[f"before_{name}"] for name in _KNOWN}),
            Known(**{name: row[name] for name in _KNOWN}),
        )
        for row in rows
        if row["counted"]
    ]
