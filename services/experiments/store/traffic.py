"""The deployment's users, day by day, in Postgres. Every query on `traffic` lives here."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from common.postgres import Connection, Pool, connection
from services.experiments.domain.power import (
    USUAL_REQUESTS,
    USUAL_VARIATION,
    Traffic,
    traffic_of,
)
from services.experiments.domain.totals import NAMES
from services.experiments.store.users import SUMS, totals_of

DAYS = 30  # that planning looks back on
BATCH = 5_000  # rows deleted at once: an open transaction holds back the ledger's tail
RECENT_DAYS = 7  # from which the requests of a day are counted
_TODAY = "(now() AT TIME ZONE 'UTC')::date"  # days are UTC's, wherever the server is
_KNOWN = ("results", "priced", "good", "cost_nano_usd", "prompt_words", "measured")
_UNKNOWN = ", ".join(f"0 AS {name}" for name in NAMES if name not in _KNOWN)


class Asked(NamedTuple):
    """A priced request of a user who is known by name."""

    day: date
    user_id: str
    cost_nano_usd: int
    prompt_words: int | None


async def add(conn: Connection, asked: Iterable[Asked]) -> None:
    sums: dict[tuple[date, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for one in asked:
        total = sums[one.day, one.user_id]
        total[0] += 1
        total[1] += one.cost_nano_usd
        total[2] += one.prompt_words or 0
        total[3] += one.prompt_words is not None
    if not sums:
        return
    ordered = sorted(sums.items())  # two replicas that lock rows do it in one order
    await conn.execute(
        """
        INSERT INTO experiments.traffic AS known
            (day, user_id, requests, cost_nano_usd, prompt_words, measured)
        SELECT * FROM unnest($1::date[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
                             $6::bigint[])
        ON CONFLICT (day, user_id) DO UPDATE SET
            requests = known.requests + excluded.requests,
            cost_nano_usd = known.cost_nano_usd + excluded.cost_nano_usd,
            prompt_words = known.prompt_words + excluded.prompt_words,
            measured = known.measured + excluded.measured
        """,
        [day for (day, _), _ in ordered],
        [user for (_, user), _ in ordered],
        *([sums_[index] for _, sums_ in ordered] for index in range(4)),
    )


class TrafficStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def recent(self) -> Traffic:
        """Say what users were like in the last thirty days; without any, what is usual."""
        async with connection(self._pool) as conn:
            users = await conn.fetchrow(
                f"""
                SELECT {SUMS} FROM (
                    SELECT sum(requests) AS results, sum(requests) AS priced,
                           sum(requests) AS good, sum(cost_nano_usd) AS cost_nano_usd,
                           sum(prompt_words) AS prompt_words, sum(measured) AS measured,
                           {_UNKNOWN}
                    FROM experiments.traffic WHERE day > {_TODAY} - $1::int
                    GROUP BY user_id) AS users
                """,  # noqa: S608
                DAYS,
            )
            day = await conn.fetchrow(
                f"""
                SELECT sum(requests)::float8 AS requests, {_TODAY} - min(day) + 1 AS days
                FROM experiments.traffic WHERE day > {_TODAY} - $1::int
                """,  # noqa: S608
                RECENT_DAYS,
            )
        per_day = (day["requests"] or 0) / (day["days"] or 1) if day else 0.0
        found = traffic_of(totals_of(users), requests_per_day=per_day)
        return found or Traffic(USUAL_VARIATION, USUAL_REQUESTS, requests_per_day=per_day)

    async def forget(self) -> None:
        """Drop the days that planning no longer looks at, in short steps."""
        while await self._forget() > 0:
            pass

    async def _forget(self) -> int:
        async with connection(self._pool) as conn:
            done = await conn.execute(
                f"""
                DELETE FROM experiments.traffic WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM experiments.traffic WHERE day <= {_TODAY} - $1::int
                    LIMIT {BATCH}))
                """,  # noqa: S608
                DAYS,
            )
        return int(done.rsplit(" ", 1)[1])
