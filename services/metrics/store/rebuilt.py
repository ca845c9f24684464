"""Tables beside the live ones, filled from the ledger's beginning, that take their place."""

from common.postgres import Connection
from services.metrics.domain.grains import QUARTER_DAY_S

LIVE = "metrics."  # what stands before the name of a table
REBUILT = "metrics.rebuilt_"

# By table, the indexes with the names that they get when the table is copied.
_INDEXES = {
    "rollups": {"rebuilt_rollups_pkey": "rollups_pkey"},
    "requests": {
        "rebuilt_requests_pkey": "requests_pkey",
        "rebuilt_requests_minute_idx": "idx_requests_minute",
    },
    "durations": {"rebuilt_durations_pkey": "durations_pkey"},
}


async def prepare(conn: Connection) -> None:
    """Make the tables, empty; what an earlier try left behind is dropped."""
    await drop(conn)
    for table in _INDEXES:
        await conn.execute(f"CREATE TABLE {REBUILT}{table} (LIKE {LIVE}{table} INCLUDING ALL)")


async def drop(conn: Connection) -> None:
    for table in _INDEXES:
        await conn.execute(f"DROP TABLE IF EXISTS {REBUILT}{table}")


async def lock_cursor(conn: Connection) -> None:
    """Keep the cursor where it is until the transaction ends: followers wait."""
    await conn.execute(
        """
        INSERT INTO metrics.cursor AS known (name, position) VALUES ('ledger', '')
        ON CONFLICT (name) DO UPDATE SET position = known.position
        """
    )


async def forgets(conn: Connection) -> str | None:
    """Name where the live rollups begin if the rebuilt ones begin later."""
    lost = await conn.fetchval(
        f"""
        SELECT live.first::text
        FROM (SELECT min(start) AS first FROM {LIVE}rollups
               WHERE grain_s = {QUARTER_DAY_S}) AS live,
             (SELECT min(start) AS first FROM {REBUILT}rollups
               WHERE grain_s = {QUARTER_DAY_S}) AS rebuilt
        WHERE live.first < coalesce(rebuilt.first, 'infinity')
        """  # noqa: S608 - the names are ours
    )
    return None if lost is None else str(lost)


async def swap(conn: Connection, position: str) -> None:
    """Put the rebuilt tables in place of the live ones, and the cursor behind what is in them."""
    for table, indexes in _INDEXES.items():
        await conn.execute(f"DROP TABLE {LIVE}{table}")
        await conn.execute(f"ALTER TABLE {REBUILT}{table} RENAME TO {table}")
        for before, after in indexes.items():
            await conn.execute(f"ALTER INDEX {LIVE}{before} RENAME TO {after}")
    await conn.execute("UPDATE metrics.cursor SET position = $1 WHERE name = 'ledger'", position)
