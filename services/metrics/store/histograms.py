"""Histograms in Postgres. Every query on the table `durations` lives here."""

from collections import Counter
from datetime import datetime

from common.postgres import Connection
from services.metrics.domain.durations import NOT_TIMED, Durations, Measure
from services.metrics.domain.grains import starts
from services.metrics.store import labels
from services.metrics.store.rebuilt import LIVE
from services.metrics.store.since import since


async def add(conn: Connection, durations: Durations, *, into: str = LIVE) -> None:
    """Add to what is there. In one order everywhere, so that two writers cannot deadlock."""
    if not durations:
        return
    known = await labels.ids_of(conn, {slot.labels for slot in durations})
    rows = sorted(
        (slot.grain_s, slot.start, known[slot.labels], int(slot.measure), bucket, count)
        for slot, counts in durations.items()
        for bucket, count in counts.items()
    )
    await conn.execute(
        f"""
        INSERT INTO {into}durations AS kept
            (grain_s, start, labels_id, measure, bucket, requests)
        SELECT * FROM unnest($1::integer[], $2::timestamptz[], $3::integer[], $4::smallint[],
                             $5::smallint[], $6::bigint[])
        ON CONFLICT (grain_s, start, labels_id, measure, bucket)
        DO UPDATE SET requests = kept.requests + excluded.requests
        """,  # noqa: S608 - the name is ours
        *(list(column) for column in zip(*rows, strict=True)),
    )


async def counts(conn: Connection, moment: datetime, measure: Measure) -> Counter[int]:
    """Return how many answers since the minute *moment* took how long, by bucket."""
    rows = await conn.fetch(
        f"""
        SELECT bucket, sum(requests)::bigint AS requests
        FROM ({since("durations")}) AS kept JOIN metrics.labels ON id = labels_id
        WHERE measure = $5 AND outcome <> ALL ($6::text[])
        GROUP BY bucket
        """,  # noqa: S608 - the name is ours
        *starts(moment),
        int(measure),
        NOT_TIMED,
    )
    return Counter({row["bucket"]: row["requests"] for row in rows})
