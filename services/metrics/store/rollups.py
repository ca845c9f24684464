"""Rollups in Postgres. Every query on the tables `rollups` and `requests` lives here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from datetime import datetime
from uuid import UUID

from common.postgres import Connection, Pool, connection
from services.metrics.domain.history import FAILURES, Totals
from services.metrics.domain.rollup import FAILED, Key, Place, Request, Rollups
from services.metrics.domain.snapshot import Group

BATCH = 5_000  # rows deleted at once: an open transaction holds back the ledger's tail


async def remember(conn: Connection, requests: Sequence[Request]) -> set[UUID]:
    """Note where each request is counted; return those that were not counted before."""
    if not requests:
        return set()
    places = [request.place for request in requests]
    fresh = await conn.fetch(
        """
        INSERT INTO metrics.requests
            (request_id, minute, strategy, provider, model, confidence, outcome, cache_hit,
             cost_nano_usd, baseline_cost_nano_usd)
        SELECT request_id, minute, strategy, provider, model, confidence, outcome, cache_hit,
               cost_nano_usd, baseline_cost_nano_usd
        FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::text[], $8::boolean[], $9::bigint[], $10::bigint[])
             AS new (request_id, minute, strategy, provider, model, confidence, outcome, cache_hit,
                     cost_nano_usd, baseline_cost_nano_usd)
        ON CONFLICT (request_id) DO NOTHING
        RETURNING request_id
        """,
        [request.request_id for request in requests],
        *_columns(place.key for place in places),
        [place.cost_nano_usd for place in places],
        [place.baseline_cost_nano_usd for place in places],
    )
    return {row["request_id"] for row in fresh}


async def places_of(conn: Connection, request_ids: Iterable[UUID]) -> dict[UUID, Place]:
    """Return where requests were counted; those never counted, or too long ago, are left out."""
    rows = await conn.fetch(
        """
        SELECT request_id, minute, strategy, provider, model, confidence, outcome, cache_hit,
               cost_nano_usd, baseline_cost_nano_usd
        FROM metrics.requests WHERE request_id = ANY ($1::uuid[])
        """,
        list(request_ids),
    )
    return {
        row["request_id"]: Place(
            Key(**{name: row[name] for name in Key.__dataclass_fields__}),
            row["cost_nano_usd"],
            row["baseline_cost_nano_usd"],
        )
        for row in rows
    }


async def reprice(conn: Connection, places: Mapping[UUID, Place]) -> None:
    """Note what requests cost after a correction."""
    if not places:
        return
    await conn.execute(
        """
        UPDATE metrics.requests AS request SET cost_nano_usd = new.cost_nano_usd
        FROM unnest($1::uuid[], $2::bigint[]) AS new (request_id, cost_nano_usd)
        WHERE request.request_id = new.request_id
        """,
        list(places),
        [place.cost_nano_usd for place in places.values()],
    )


async def add(conn: Connection, rollups: Rollups) -> None:
    """Add to what is there. In one order everywhere, so that two writers cannot deadlock."""
    if not rollups:
        return
    items = sorted(rollups.items(), key=lambda item: astuple(item[0]))
    await conn.execute(
        """
        INSERT INTO metrics.rollups AS kept
            (minute, strategy, provider, model, confidence, outcome, cache_hit,
             requests, priced, compared, cost_nano_usd, compared_cost_nano_usd,
             baseline_cost_nano_usd, input_tokens, output_tokens, cached_input_tokens)
        SELECT minute, strategy, provider, model, confidence, outcome, cache_hit,
               requests, priced, compared, cost_nano_usd, compared_cost_nano_usd,
               baseline_cost_nano_usd, input_tokens, output_tokens, cached_input_tokens
        FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::boolean[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
                    $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[])
             AS new (minute, strategy, provider, model, confidence, outcome, cache_hit,
                     requests, priced, compared, cost_nano_usd, compared_cost_nano_usd,
                     baseline_cost_nano_usd, input_tokens, output_tokens, cached_input_tokens)
        ON CONFLICT (minute, strategy, provider, model, confidence, outcome, cache_hit)
        DO UPDATE SET
            requests = kept.requests + excluded.requests,
            priced = kept.priced + excluded.priced,
            compared = kept.compared + excluded.compared,
            cost_nano_usd = kept.cost_nano_usd + excluded.cost_nano_usd,
            compared_cost_nano_usd = kept.compared_cost_nano_usd + excluded.compared_cost_nano_usd,
            baseline_cost_nano_usd = kept.baseline_cost_nano_usd + excluded.baseline_cost_nano_usd,
            input_tokens = kept.input_tokens + excluded.input_tokens,
            output_tokens = kept.output_tokens + excluded.output_tokens,
            cached_input_tokens = kept.cached_input_tokens + excluded.cached_input_tokens
        """,
        *_columns(key for key, _ in items),
        *(list(column) for column in zip(*(astuple(sums) for _, sums in items), strict=True)),
    )


def _columns(keys: Iterable[Key]) -> list[list[object]]:
    return [list(column) for column in zip(*(astuple(key) for key in keys), strict=True)]


class RollupStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def position(self) -> str:
        """Return what the rollups stand for: equal positions, equal rollups."""
        async with connection(self._pool) as conn:
            return await _position(conn)

    async def groups(self, since: datetime) -> tuple[str, list[Group]]:
        """Return the position and the sums since *since* that belong to it."""
        async with (
            connection(self._pool) as conn,
            conn.transaction(isolation="repeatable_read", readonly=True),
        ):
            position = await _position(conn)
            rows = await conn.fetch(
                """
                SELECT strategy, provider, confidence, cache_hit,
                       sum(requests)::bigint AS requests,
                       sum(priced)::bigint AS priced,
                       sum(cost_nano_usd)::bigint AS cost_nano_usd,
                       coalesce(sum(priced) FILTER (WHERE outcome <> $2), 0)::bigint AS averaged,
                       coalesce(sum(cost_nano_usd) FILTER (WHERE outcome <> $2), 0)::bigint
                           AS averaged_cost_nano_usd,
                       sum(compared_cost_nano_usd)::bigint AS compared_cost_nano_usd,
                       sum(baseline_cost_nano_usd)::bigint AS baseline_cost_nano_usd
                FROM metrics.rollups WHERE minute >= $1
                GROUP BY strategy, provider, confidence, cache_hit
                """,
                since,
                FAILED,
            )
        return position, [Group(**row) for row in rows]

    async def totals(self, since: datetime) -> Totals:
        """Return the sums over everything since *since*."""
        steps = await self.steps(since, step_s=None)
        return steps[0] if steps else Totals(since)

    async def steps(self, since: datetime, *, step_s: int | None) -> list[Totals]:
        """Return the sums since *since* by steps aligned to the Unix epoch; None: all in one."""
        async with connection(self._pool) as conn:
            rows = await conn.fetch(
                """
                SELECT CASE WHEN $2::bigint IS NULL THEN $1::timestamptz ELSE
                           to_timestamp(floor(extract(epoch FROM minute) / $2) * $2)
                       END AS since,
                       sum(requests)::bigint AS requests,
                       coalesce(sum(requests) FILTER (WHERE outcome = ANY ($3::text[])), 0)::bigint
                           AS failures,
                       coalesce(sum(requests) FILTER (WHERE cache_hit), 0)::bigint AS cache_hits,
                       sum(requests - priced)::bigint AS unpriced,
                       sum(input_tokens)::bigint AS input_tokens,
                       sum(output_tokens)::bigint AS output_tokens,
                       sum(cost_nano_usd)::bigint AS cost_nano_usd,
                       sum(compared_cost_nano_usd)::bigint AS compared_cost_nano_usd,
                       sum(baseline_cost_nano_usd)::bigint AS baseline_cost_nano_usd
                FROM metrics.rollups WHERE minute >= $1
                GROUP BY 1 ORDER BY 1
                """,
                since,
                step_s,
                FAILURES,
            )
        return [Totals(**row) for row in rows]

    async def forget(self, *, rollups_before: datetime, requests_before: datetime) -> int:
        """Delete what has outlived its use, in short steps; return how many rows went."""
        deleted = 0
        for table, before in (("rollups", rollups_before), ("requests", requests_before)):
            while (gone := await self._forget(table, before)) > 0:
                deleted += gone
        return deleted

    async def _forget(self, table: str, before: datetime) -> int:
        async with connection(self._pool) as conn:
            done = await conn.execute(
                f"""
                DELETE FROM metrics.{table} WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM metrics.{table} WHERE minute < $1 LIMIT {BATCH}))
                """,  # noqa: S608 - both names are ours
                before,
            )
        return int(done.rsplit(" ", 1)[1])


async def _position(conn: Connection) -> str:
    found = await conn.fetchval(
        "SELECT string_agg(name || '=' || position, ' ' ORDER BY name) FROM metrics.cursor"
    )
    return found or ""
