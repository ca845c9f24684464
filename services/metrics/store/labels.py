"""
The table `labels`: a number for all that requests have in common, so that rollups need not say it.

It only grows, by what was never seen before, and a rebuild goes on using it.
"""

from collections.abc import Collection, Iterable

from common.postgres import Connection
from services.metrics.domain.rollup import Labels

NAMES = ", ".join(Labels._fields)


async def ids_of(conn: Connection, wanted: Collection[Labels]) -> dict[Labels, int]:
    """Return the number of each; whoever has none gets one."""
    found = await _find(conn, wanted)
    if missing := set(wanted) - found.keys():
        await _add(conn, sorted(missing))
        found |= await _find(conn, missing)  # another writer may have been faster
    return found


async def _find(conn: Connection, wanted: Iterable[Labels]) -> dict[Labels, int]:
    rows = await conn.fetch(
        f"""
        SELECT {NAMES}, id FROM metrics.labels
        JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::text[], $8::boolean[]) AS wanted ({NAMES})
             USING ({NAMES})
        """,  # noqa: S608 - the names are ours
        *_columns(wanted),
    )
    return {Labels(*row[:-1]): row[-1] for row in map(tuple, rows)}


async def _add(conn: Connection, missing: Iterable[Labels]) -> None:
    """Add in one order everywhere, so that two writers cannot deadlock."""
    await conn.execute(
        f"""
        INSERT INTO metrics.labels ({NAMES})
        SELECT {NAMES}
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::text[], $8::boolean[]) AS new ({NAMES})
        ON CONFLICT DO NOTHING
        """,  # noqa: S608 - the names are ours
        *_columns(missing),
    )


def _columns(labels: Iterable[Labels]) -> list[list[object]]:
    return [list(column) for column in zip(*labels, strict=True)]
