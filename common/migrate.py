"""
Numbered SQL files, applied once, in order, by whichever replica comes first.

Each file runs in one transaction together with its record, under an advisory lock of that
transaction: a crash leaves nothing behind, and a replica that waited finds the record.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import structlog

from common.errors import Conflict, Invalid, Unavailable

if TYPE_CHECKING:  # generic in the stubs only
    Line: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Line = asyncpg.Connection

log = structlog.get_logger()

LOCK_TIMEOUT_S = 60
MIGRATION_TIMEOUT_S = 600
CONNECT_TIMEOUT_S = 10

# The last two: what the driver says when the server dies between two of its steps.
_SILENCE = (
    *(OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError),
    *(asyncpg.InterfaceError, asyncpg.InternalClientError),
)

_FILE = re.compile(r"(\d+)_[a-z0-9_]+\.sql")
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


async def migrate(
    direct_url: str, schema: str, folder: Path, *, lock_timeout_s: float = LOCK_TIMEOUT_S
) -> None:
    """
    Bring *schema* to the newest migration in *folder*.

    A database that is newer than the folder is fine: code runs before and after a migration.

    Raises:
        Conflict: an applied file was edited, removed or overtaken.
        Invalid: a file's name or SQL is wrong, or the schema does not exist.
        Unavailable: the database is silent, or another replica holds the lock for too long.
    """
    if not _SCHEMA.fullmatch(schema):
        raise Invalid(f"{schema!r} is no name for a schema")
    migrations = read(folder)
    try:
        conn = await asyncpg.connect(
            direct_url,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=MIGRATION_TIMEOUT_S,
            statement_cache_size=0,
        )
    except (*_SILENCE, asyncpg.PostgresError) as error:
        raise Unavailable(f"cannot migrate {schema}: the database does not answer") from error
    try:
        await _bring_up(conn, schema, migrations, lock_timeout_s)
    except asyncpg.LockNotAvailableError as error:
        raise Unavailable(
            f"cannot migrate {schema}: another replica has been at it for {lock_timeout_s:g} s"
        ) from error
    except _SILENCE as error:
        raise Unavailable(f"cannot migrate {schema}: the database went silent") from error
    finally:
        conn.terminate()  # nothing is open: there is nothing to say goodbye to


def read(folder: Path) -> list[Migration]:
    """Read the files `<number>_<name>.sql` of *folder* in their order."""
    found: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise Invalid(f"{path.name}: a migration is named like 0001_first_things.sql")
        migration = Migration(int(match[1]), path.name, path.read_text("utf-8"))
        if twin := found.get(migration.number):
            raise Invalid(f"{path.name} and {twin.name} have the same number")
        found[migration.number] = migration
    return [found[number] for number in sorted(found)]


async def _bring_up(
    conn: Line,
    schema: str,
    migrations: Sequence[Migration],
    lock_timeout_s: float,
) -> None:
    if not await conn.fetchval("SELECT to_regnamespace($1) IS NOT NULL", schema):
        raise Invalid(f"schema {schema} does not exist: apply deploy/roles.sql first")
    async with conn.transaction():
        await _lock(conn, schema, lock_timeout_s)
        await conn.execute(
            f"""
            CREATE TABLE IF NOT EXISTS {schema}.migrations (
                number      integer      PRIMARY KEY,
                name        text         NOT NULL,
                checksum    text         NOT NULL,
                applied_at  timestamptz  NOT NULL DEFAULT now()
            )
            """
        )
        pending = await _pending(conn, schema, migrations)
    for migration in pending:
        await _apply(conn, schema, migration, lock_timeout_s)


async def _lock(conn: Line, schema: str, lock_timeout_s: float) -> None:
    """Wait for the other replicas, until this transaction ends."""
    await conn.execute(f"SET LOCAL lock_timeout = {int(lock_timeout_s * 1000)}")
    await conn.execute("SET LOCAL statement_timeout = 0")  # a role may have one: not for this
    await conn.execute("SELECT pg_advisory_xact_lock(hashtext('migrations'), hashtext($1))", schema)


async def _pending(conn: Line, schema: str, migrations: Sequence[Migration]) -> list[Migration]:
    rows = await conn.fetch(f"SELECT number, name, checksum FROM {schema}.migrations")  # noqa: S608
    applied = {row["number"]: (row["name"], row["checksum"]) for row in rows}
    newest = max(applied, default=0)
    known = {migration.number for migration in migrations}
    last_known = max(known, default=0)
    for number, (name, _) in applied.items():
        if number < last_known and number not in known:
            raise Conflict(f"{schema}: {name} was applied, but its file is gone")
    pending = []
    for migration in migrations:
        if migration.number not in applied:
            if migration.number < newest:
                raise Conflict(f"{schema}: {migration.name} comes too late, {newest} was applied")
            pending.append(migration)
        elif applied[migration.number][1] != migration.checksum:
            raise Conflict(f"{schema}: {migration.name} was edited after it was applied")
    return pending


async def _apply(
    conn: Line,
    schema: str,
    migration: Migration,
    lock_timeout_s: float,
) -> None:
    async with conn.transaction():
        await _lock(conn, schema, lock_timeout_s)
        if await conn.fetchval(
            f"SELECT true FROM {schema}.migrations WHERE number = $1",  # noqa: S608
            migration.number,
        ):
            return  # another replica was faster
        try:
            await conn.execute(migration.sql)
        except (asyncpg.SyntaxOrAccessError, asyncpg.DataError) as error:
            raise Invalid(f"{schema}: {migration.name}: {error}") from error
        await conn.execute(
            f"INSERT INTO {schema}.migrations (number, name, checksum) VALUES ($1, $2, $3)",  # noqa: S608
            migration.number,
            migration.name,
            migration.checksum,
        )
    log.info("migrated", schema=schema, migration=migration.name)
