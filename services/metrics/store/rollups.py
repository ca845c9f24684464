"""Rollups in Postgres: adding to the tables `rollups` and `requests`, and the sums of a period."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from uuid import UUID

from common.postgres import Connection, Pool, connection
from services.metrics.domain.durations import Measure, percentiles
from services.metrics.domain.grains import GRAINS_S, HOUR_S, QUARTER_DAY_S, start_of, starts
from services.metrics.domain.history import FAILURES
from services.metrics.domain.rollup import FAILED, Key, Labels, Place, Request, Slot, Sums
from services.metrics.domain.snapshot import Group, Lately, Spent
from services.metrics.store import histograms, labels
from services.metrics.store.rebuilt import LIVE
from services.metrics.store.since import since

_TOLD = (
    *("requests", "priced", "cost_nano_usd", "compared_cost_nano_usd"),
    *("baseline_cost_nano_usd", "fell_back"),
)
_values = attrgetter(*Sums.__dataclass_fields__)  # astuple copies deeply: half of all the work
_SUMS = ", ".join(Sums.__dataclass_fields__)
_ADDED = ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in Sums.__dataclass_fields__)
BATCH = 5_000  # rows deleted at once: an open transaction holds back the ledger's tail


async def remember(conn: Connection, requests: Sequence[Request], *, into: str = LIVE) -> set[UUID]:
    """Note where each request is counted; return those that were not counted before."""
    if not requests:
        return set()
    places = [request.place for request in requests]
    known = await labels.ids_of(conn, {place.key.labels for place in places})
    fresh = await conn.fetch(
        f"""
        INSERT INTO {into}requests
            (request_id, minute, labels_id, cost_nano_usd, baseline_cost_nano_usd)
        SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::integer[], $4::bigint[],
                             $5::bigint[])
        ON CONFLICT (request_id) DO NOTHING
        RETURNING request_id
        """,  # noqa: S608 - the name is ours
        [request.request_id for request in requests],
        [place.key.minute for place in places],
        [known[place.key.labels] for place in places],
        [place.cost_nano_usd for place in places],
        [place.baseline_cost_nano_usd for place in places],
    )
    return {row["request_id"] for row in fresh}


async def places_of(
    conn: Connection, request_ids: Iterable[UUID], *, into: str = LIVE
) -> dict[UUID, Place]:
    """Return where requests were counted; those never counted, or too long ago, are left out."""
    rows = await conn.fetch(
        f"""
        SELECT request_id, minute, cost_nano_usd, baseline_cost_nano_usd, {labels.NAMES}
        FROM {into}requests JOIN metrics.labels ON id = labels_id
        WHERE request_id = ANY ($1::uuid[])
        """,  # noqa: S608 - the name is ours
        list(request_ids),
    )
    return {
        row["request_id"]: Place(
            Key(row["minute"], Labels(*(row[name] for name in Labels._fields))),
            row["cost_nano_usd"],
            row["baseline_cost_nano_usd"],
        )
        for row in rows
    }


async def reprice(conn: Connection, places: Mapping[UUID, Place], *, into: str = LIVE) -> None:
    """Note what requests cost after a correction."""
    if not places:
        return
    await conn.execute(
        f"""
        UPDATE {into}requests AS request SET cost_nano_usd = new.cost_nano_usd
        FROM unnest($1::uuid[], $2::bigint[]) AS new (request_id, cost_nano_usd)
        WHERE request.request_id = new.request_id
        """,  # noqa: S608 - the name is ours
        list(places),
        [place.cost_nano_usd for place in places.values()],
    )


async def add(conn: Connection, rollups: Mapping[Slot, Sums], *, into: str = LIVE) -> None:
    """Add to what is there. In one order everywhere, so that two writers cannot deadlock."""
    if not rollups:
        return
    known = await labels.ids_of(conn, {slot.labels for slot in rollups})
    rows = sorted(
        (slot.grain_s, slot.start, known[slot.labels], *_values(sums))
        for slot, sums in rollups.items()
    )
    await conn.execute(
        f"""
        INSERT INTO {into}rollups AS kept (grain_s, start, labels_id, {_SUMS})
        SELECT * FROM unnest(
            $1::integer[], $2::timestamptz[], $3::integer[], $4::bigint[], $5::bigint[],
            $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
            $12::bigint[], $13::bigint[])
        ON CONFLICT (grain_s, start, labels_id) DO UPDATE SET {_ADDED}
        """,  # noqa: S608 - the names are ours
        *(list(column) for column in zip(*rows, strict=True)),
    )


@dataclass(frozen=True, slots=True)
class Period:
    position: str  # of the ledger
    groups: list[Group]
    latency: Counter[int]  # by bucket
    first_token: Counter[int]
    spent: Spent
    lately: Lately


class RollupStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def position(self) -> str:
        """Return what the rollups stand for: equal positions, equal rollups."""
        async with connection(self._pool) as conn:
            return await _position(conn)

    async def period(self, moment: datetime, *, today: datetime, lately: datetime) -> Period:
        """
        Return the position, and what has happened since *moment* that belongs to it.

        Args:
            moment: A minute.
            today: When it began.
            lately: The minute since which rates are told.
        """
        async with (
            connection(self._pool) as conn,
            conn.transaction(isolation="repeatable_read", readonly=True),
        ):
            return Period(
                await _position(conn),
                await _groups(conn, moment),
                await histograms.counts(conn, moment, Measure.LATENCY),
                await histograms.counts(conn, moment, Measure.FIRST_TOKEN),
                Spent(await _spent(conn, today), await _spent(conn, today.replace(day=1))),
                await _lately(conn, lately),
            )

    async def forget(
        self, *, rollups_before: datetime, minutes_before: datetime, requests_before: datetime
    ) -> int:
        """
        Delete what has outlived its use, in short steps; return how many rows went.

        Whole quarters of days go: what is left of a longer grain is left of the shorter ones.
        """
        deleted = 0
        for table, old, before in (
            ("requests", "minute < $1", requests_before),
            *(
                (
                    table,
                    f"grain_s = {grain_s} AND start < $1",
                    start_of(
                        rollups_before if grain_s >= HOUR_S else minutes_before, QUARTER_DAY_S
                    ),
                )
                for table in ("rollups", "durations")
                for grain_s in GRAINS_S
            ),
        ):
            while (gone := await self._forget(table, old, before)) > 0:
                deleted += gone
        return deleted

    async def _forget(self, table: str, old: str, before: datetime) -> int:
        async with connection(self._pool) as conn:
            done = await conn.execute(
                f"""
                DELETE FROM metrics.{table} WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM metrics.{table} WHERE {old} LIMIT {BATCH}))
                """,  # noqa: S608 - the names are ours
                before,
            )
        return int(done.rsplit(" ", 1)[1])


async def _groups(conn: Connection, moment: datetime) -> list[Group]:
    rows = await conn.fetch(
        f"""
        WITH found AS (
            SELECT labels_id, {", ".join(f"sum({name}) AS {name}" for name in _TOLD)}
            FROM ({since("rollups")}) AS kept GROUP BY labels_id
        )
        SELECT strategy, provider, model, arm, confidence, cache_hit,
               {", ".join(f"sum({name})::bigint AS {name}" for name in _TOLD)},
               coalesce(sum(requests) FILTER (WHERE outcome = ANY ($6::text[])), 0)::bigint
                   AS failures,
               coalesce(sum(priced) FILTER (WHERE outcome <> $5), 0)::bigint AS averaged,
               coalesce(sum(cost_nano_usd) FILTER (WHERE outcome <> $5), 0)::bigint
                   AS averaged_cost_nano_usd
        FROM found JOIN metrics.labels ON id = labels_id
        GROUP BY strategy, provider, model, arm, confidence, cache_hit
        """,  # noqa: S608 - the names are ours
        *starts(moment),
        FAILED,
        FAILURES,
    )
    return [Group(**row) for row in rows]


async def _lately(conn: Connection, moment: datetime) -> Lately:
    groups = await _groups(conn, moment)
    return Lately(
        moment,
        requests=sum(group.requests for group in groups),
        failures=sum(group.failures for group in groups),
        cache_hits=sum(group.requests for group in groups if group.cache_hit),
        experiments=tuple(sorted({int(g.arm.partition("/")[0]) for g in groups if g.arm})),
        latency=percentiles(await histograms.counts(conn, moment, Measure.LATENCY)),
    )


async def _spent(conn: Connection, moment: datetime) -> int:
    spent: int = await conn.fetchval(
        f"SELECT coalesce(sum(cost_nano_usd), 0)::bigint FROM ({since('rollups')}) AS kept",  # noqa: S608
        *starts(moment),
    )
    return spent


async def _position(conn: Connection) -> str:
    found = await conn.fetchval(
        "SELECT string_agg(name || '=' || position, ' ' ORDER BY name) FROM metrics.cursor"
    )
    return found or ""
