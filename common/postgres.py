"""
The pool of Postgres connections, and the driver's errors as ours.

It works through PgBouncer in transaction mode: no startup parameters, no session state, no
named prepared statements unless a statement cache is asked for. Keep it so: no SET without
LOCAL, no LISTEN, no temporary tables, no session locks, and columns of built-in types (an enum
or a composite makes the driver look it up, which does set session state for a moment).

Nothing here waits for a server that is silent: acquiring, every statement and giving back are
bounded, and a connection that does not answer is cut, not closed politely.
"""

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import structlog
from asyncpg import exceptions as pg
from asyncpg.pool import PoolConnectionProxy
from prometheus_client import Gauge

from common.errors import Failure, TimedOut, Unavailable
from common.settings import ServiceSettings

log = structlog.get_logger()

if TYPE_CHECKING:  # generic in the stubs only
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
else:
    Pool, Connection = asyncpg.Pool, PoolConnectionProxy

GIVE_BACK_S = 1.0  # for a cancelled statement to be acknowledged, before the line is cut
ACQUIRE_S = 5.0
RECYCLE_AFTER = 50_000  # statements: a backend's caches grow
IDLE_S = 300.0  # then a connection is closed: what lies between may have forgotten it
SAY_EVERY_S = 10.0
SILENT = "the database does not answer; try again"

_CONNECTIONS = Gauge(
    "optimizer_database_connections", "Connections of this process's pool.", ["state"]
)
_BACKGROUND: set[asyncio.Task[None]] = set()

# The server is there but cannot serve: starting, stopping, full, failed over, or a lock too long.
_TRY_AGAIN = (
    pg.PostgresConnectionError,
    pg.OperatorInterventionError,
    pg.InsufficientResourcesError,
    pg.InvalidAuthorizationSpecificationError,
    pg.ReadOnlySQLTransactionError,
    pg.SerializationError,
    pg.DeadlockDetectedError,
    pg.LockNotAvailableError,
    pg.IdleInTransactionSessionTimeoutError,
)


class _Pool(asyncpg.Pool):
    """A pool that knows how long its users wait."""

    acquire_timeout_s = ACQUIRE_S


async def open_pool(settings: ServiceSettings) -> Pool:
    """
    Open a pool. A server that is not there yet is no error: connections are made when needed.

    `database_pool_min` connections are opened ahead if the server answers at once.
    """
    pool = _Pool(
        settings.database_url.get_secret_value(),
        min_size=0,
        max_size=settings.database_pool_max,
        max_queries=RECYCLE_AFTER,
        max_inactive_connection_lifetime=IDLE_S,
        timeout=settings.database_acquire_timeout_s,
        command_timeout=settings.database_statement_timeout_s,
        statement_cache_size=settings.database_statement_cache,
        reset=_keep_nothing,
        loop=asyncio.get_running_loop(),
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
    )
    pool.acquire_timeout_s = settings.database_acquire_timeout_s
    await pool
    _watch(pool)
    await _open_ahead(pool, settings.database_pool_min)
    return pool


async def close_pool(pool: Pool) -> None:
    """Close the pool; connections that do not answer are cut."""
    try:
        await asyncio.wait_for(pool.close(), GIVE_BACK_S)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        pool.terminate()


@asynccontextmanager
async def connection(pool: Pool, *, timeout_s: float | None = None) -> AsyncIterator[Connection]:
    """
    Borrow a connection. Each statement is its own transaction.

    Args:
        pool: From `open_pool`.
        timeout_s: How long to wait for a free or new connection; None: as configured.

    Raises:
        Unavailable: the server is silent, away, or cannot serve now.
        TimedOut: the server gave up on the statement.
    """
    with _our_failures():
        conn = await _acquire(pool, timeout_s)
        try:
            yield conn
        except (TimeoutError, asyncio.CancelledError):
            # The caller's time is up: the connection's recovery is not on it.
            _in_background(_give_back(pool, conn))
            raise
        except BaseException:
            await _give_back(pool, conn)
            raise
        await _give_back(pool, conn)


@asynccontextmanager
async def transaction(pool: Pool, *, timeout_s: float | None = None) -> AsyncIterator[Connection]:
    """
    Borrow a connection for one transaction: committed when the block ends, else rolled back.

    Raises:
        As `connection`; after a timeout it is not known whether the commit happened.
    """
    async with connection(pool, timeout_s=timeout_s) as conn:
        unit = conn.transaction()
        await unit.start()
        try:
            yield conn
            await unit.commit()
        except (TimeoutError, asyncio.CancelledError):
            # A rollback would wait for the statement that is stuck. Cutting the line rolls back.
            conn.terminate()
            raise
        except BaseException:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, OSError):
                await unit.rollback()
            raise


async def ping(pool: Pool) -> None:
    """Ask the server for a sign of life; the readiness check."""
    async with connection(pool) as conn:
        await conn.fetchval("SELECT 1")


async def _acquire(pool: Pool, timeout_s: float | None) -> Connection:
    seconds = getattr(pool, "acquire_timeout_s", ACQUIRE_S) if timeout_s is None else timeout_s
    try:
        return await pool.acquire(timeout=seconds)
    except TimeoutError:
        busy = pool.get_size() == pool.get_max_size() and not pool.get_idle_size()
        raise Unavailable("the database is busy; try again" if busy else SILENT) from None
    except OSError as error:  # refused, no such socket, no such name
        _say("database unreachable", reason=str(error))
        raise Unavailable(SILENT) from error


async def _give_back(pool: Pool, conn: Connection) -> None:
    """Give back within a second; asyncpg cuts the connection by itself when that fails."""
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, OSError):
        await pool.release(conn, timeout=GIVE_BACK_S)


async def _keep_nothing(_: Any) -> None:
    """Reset nothing: there is no session state, and resetting costs a round trip at each use."""


async def _open_ahead(pool: Pool, connections: int) -> None:
    async def hold(everyone: asyncio.Barrier) -> None:
        with suppress(Failure):
            async with connection(pool):
                with suppress(asyncio.BrokenBarrierError):
                    await everyone.wait()
                return
        await everyone.abort()

    if connections:
        everyone = asyncio.Barrier(connections)
        await asyncio.gather(*(hold(everyone) for _ in range(connections)))


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _BACKGROUND.add(task)  # the loop itself keeps only a weak reference
    task.add_done_callback(_BACKGROUND.discard)


def _watch(pool: Pool) -> None:
    known = weakref.ref(pool)

    def idle() -> int:
        found = known()
        return found.get_idle_size() if found else 0

    def used() -> int:
        found = known()
        return found.get_size() - found.get_idle_size() if found else 0

    _CONNECTIONS.labels("idle").set_function(idle)
    _CONNECTIONS.labels("used").set_function(used)


_said_at: dict[str, float] = {}


def _say(event: str, **details: object) -> None:
    """Log, but not with every request: an outage is one event."""
    now = time.monotonic()
    if now - _said_at.get(event, -SAY_EVERY_S) >= SAY_EVERY_S:
        _said_at[event] = now
        log.warning(event, **details)


@contextmanager
def _our_failures() -> Iterator[None]:
    """Turn what says "not now" into our failures. The rest is a bug, or the store's to answer."""
    try:
        yield
    except Failure:
        raise
    except pg.QueryCanceledError as error:
        raise TimedOut("the database gave up on the statement") from error
    except TimeoutError as error:
        raise Unavailable(SILENT) from error
    except _TRY_AGAIN as error:
        _say("database cannot serve", reason=str(error), sqlstate=error.sqlstate)
        raise Unavailable("the database cannot serve now; try again") from error
    except asyncpg.InternalClientError as error:  # it died between two of the driver's steps
        raise Unavailable(SILENT) from error
    except asyncpg.InterfaceError as error:
        if "clos" not in str(error):  # "connection is closed", "pool is closing"
            raise
        raise Unavailable(SILENT) from error
