"""Results in Postgres. Every query on the `experiment_results` table lives here."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from common.postgres import Connection, Pool, connection
from services.experiments.domain.analysis import UserCost
from services.experiments.domain.result import ArmSummary, CostCorrection, Rating, Result


async def known(conn: Connection, experiment_ids: Sequence[int]) -> dict[int, list[str]]:
    """Return the names of the arms of those experiments that exist."""
    rows = await conn.fetch(
        """
        SELECT id, ARRAY(SELECT arm ->> 'name' FROM jsonb_array_elements(arms) AS arm) AS arms
        FROM experiments.experiments WHERE id = ANY ($1::bigint[])
        """,
        experiment_ids,
    )
    return {row["id"]: row["arms"] for row in rows}


async def record(conn: Connection, results: Sequence[Result]) -> set[UUID]:
    """
    Record what was answered while its experiment ran; return those that were not there before.

    The time of the answer decides, not the time it is read: a ledger that is read late changes
    nothing.
    """
    if not results:
        return set()
    rows = await conn.fetch(
        """
        INSERT INTO experiments.experiment_results
            (request_id, experiment_id, arm, user_id, provider, model, outcome, success,
             cost_nano_usd, latency_ms, answered_at)
        SELECT request_id, experiment_id, arm, user_id, provider, model, outcome, success,
               cost_nano_usd, latency_ms, answered_at
        FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::text[], $8::boolean[], $9::bigint[], $10::float8[], $11::timestamptz[])
             AS new (request_id, experiment_id, arm, user_id, provider, model, outcome, success,
                     cost_nano_usd, latency_ms, answered_at)
        WHERE EXISTS (
            SELECT FROM experiments.experiments AS experiment
            WHERE experiment.id = new.experiment_id
              AND (experiment.completed_at IS NULL OR new.answered_at <= experiment.completed_at))
        ON CONFLICT (request_id) DO NOTHING
        RETURNING request_id
        """,
        [str(result.request_id) for result in results],
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
    )
    return {UUID(row["request_id"]) for row in rows}


async def correct(conn: Connection, corrections: Sequence[CostCorrection]) -> None:
    """Add differences to costs. An unpriced result stays unpriced: NULL plus something is NULL."""
    sums: dict[str, int] = defaultdict(int)
    for correction in corrections:
        sums[str(correction.request_id)] += correction.difference_nano_usd
    unpriced = {str(correction.request_id) for correction in corrections if correction.unpriced}
    if sums:
        await conn.execute(
            """
            UPDATE experiments.experiment_results AS result
            SET cost_nano_usd = result.cost_nano_usd + new.difference
            FROM unnest($1::text[], $2::bigint[]) AS new (request_id, difference)
            WHERE result.request_id = new.request_id
            """,
            list(sums),
            [None if id_ in unpriced else difference for id_, difference in sums.items()],
        )


async def rate(conn: Connection, ratings: Sequence[Rating]) -> None:
    """Keep the score of the last revision, in whatever order revisions arrive."""
    last: dict[str, Rating] = {}
    for rating in ratings:
        key = str(rating.request_id)
        if key not in last or last[key].revision < rating.revision:
            last[key] = rating
    if last:
        await conn.execute(
            """
            UPDATE experiments.experiment_results AS result
            SET quality_score = new.score, feedback_revision = new.revision
            FROM unnest($1::text[], $2::integer[], $3::smallint[])
                 AS new (request_id, revision, score)
            WHERE result.request_id = new.request_id AND result.feedback_revision < new.revision
            """,
            list(last),
            [rating.revision for rating in last.values()],
            [rating.quality_score for rating in last.values()],
        )


@dataclass(frozen=True, slots=True)
class Summaries:
    arms: dict[str, ArmSummary]
    users: dict[str, list[UserCost]]  # by arm; those with a priced request


class ResultStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def summaries(self, experiment_id: int) -> Summaries:
        """Return both views of the same moment."""
        async with (
            connection(self._pool) as conn,
            conn.transaction(isolation="repeatable_read", readonly=True),
        ):
            arms = await conn.fetch(
                """
                SELECT arm,
                       count(*) AS results,
                       count(DISTINCT user_id) AS users,
                       avg(cost_nano_usd)::float8 AS avg_cost_nano_usd,
                       avg(latency_ms) AS avg_latency_ms,
                       avg(quality_score)::float8 AS avg_quality,
                       count(*) FILTER (WHERE NOT success) AS failures,
                       count(*) FILTER (WHERE cost_nano_usd IS NULL) AS unpriced
                FROM experiments.experiment_results WHERE experiment_id = $1
                GROUP BY arm
                """,
                experiment_id,
            )
            users = await conn.fetch(
                """
                SELECT arm, count(*) AS requests, sum(cost_nano_usd)::bigint AS cost_nano_usd
                FROM experiments.experiment_results
                WHERE experiment_id = $1 AND cost_nano_usd IS NOT NULL
                GROUP BY arm, user_id ORDER BY arm, user_id
                """,
                experiment_id,
            )
        by_arm: dict[str, list[UserCost]] = defaultdict(list)
        for row in users:
            by_arm[row["arm"]].append(UserCost(row["requests"], row["cost_nano_usd"]))
        return Summaries({row["arm"]: ArmSummary(**row) for row in arms}, dict(by_arm))
