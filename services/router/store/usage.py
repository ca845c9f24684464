"""What was used on a day: every attempt in the ledger, summed by the hour it began in."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from common.errors import NotFound
from common.ids import first_id_at
from common.postgres import Pool, connection
from services.router.domain.entries import Kind

HOUR = timedelta(hours=1)

# An attempt counts under the model that its settlement names, and with what a correction added:
# so it stays where it was, whatever comes later. $1, $2: the hour; $3: whose.
_HOUR = f"""
    WITH attempts AS (
        SELECT min(tenant) AS tenant,
               (array_agg(coalesce(provider, '') ORDER BY kind))[1] AS provider,
               (array_agg(coalesce(model, '') ORDER BY kind))[1] AS model,
               (array_agg(pricing ORDER BY kind DESC, revision DESC))[1] AS pricing,
               (array_agg(estimated ORDER BY kind DESC, revision DESC))[1] AS estimated,
               sum(input_tokens) AS input_tokens,
               sum(output_tokens) AS output_tokens,
               sum(cached_input_tokens) AS cached_input_tokens,
               sum(cost_nano_usd) AS cost_nano_usd
          FROM router.ledger
         WHERE attempt_id >= $1 AND attempt_id < $2
           AND kind IN ({Kind.SETTLED:d}, {Kind.CORRECTED:d})
           AND ($3::text IS NULL OR tenant = $3)
         GROUP BY attempt_id
    )
    SELECT provider, model, tenant,
           count(*) AS attempts,
           sum(input_tokens)::bigint AS input_tokens,
           sum(output_tokens)::bigint AS output_tokens,
           sum(cached_input_tokens)::bigint AS cached_input_tokens,
           CASE WHEN pricing <> 'unpriced' THEN coalesce(sum(cost_nano_usd), 0)::bigint END
               AS cost_nano_usd,
           count(*) FILTER (WHERE estimated) AS estimated
      FROM attempts
     GROUP BY provider, model, tenant, pricing
     ORDER BY provider, model, tenant, pricing
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True)
class Used:
    """By one tenant, of one model, within one hour."""

    provider: str
    model: str
    tenant: str
    attempts: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cost_nano_usd: int | None  # None: unpriced
    estimated: int  # attempts


async def hours(
    pool: Pool, day: date, *, tenant: str | None
) -> AsyncGenerator[tuple[datetime, Sequence[Used]], None]:
    """
    Yield the hours of *day* that have usage; each is its own statement, and so a short one.

    Raises:
        NotFound: the ledger does not have this day, or not any more.
        Unavailable, TimedOut: Postgres is silent.
    """
    begin = datetime.combine(day, time(), UTC)
    async with connection(pool) as conn:
        there = await conn.fetchval(
            "SELECT to_regclass($1) IS NOT NULL", f"router.ledger_p{day:%Y%m%d}"
        )
    if not there or begin > datetime.now(UTC):
        raise NotFound(f"the ledger does not have {day}")
    for start in (begin + n * HOUR for n in range(24)):
        async with connection(pool) as conn:
            rows = await conn.fetch(_HOUR, first_id_at(start), first_id_at(start + HOUR), tenant)
        if rows:
            yield start, [Used(**row) for row in rows]
