"""The data folder: one stack at a time, a token for its owner only, short paths for sockets."""

import contextlib
import fcntl
import os
import secrets
from pathlib import Path
from typing import Self

from common.errors import Failure
from deploy.embedded.folders import (
    private_folder,
    remove,
    socket_folder,
    unprivileged_user,
    write_private,
)
from deploy.embedded.refusal import Refusal

DATABASE_URL = "database-url"  # of the superuser, while it runs: for psql

METRICS_ENVIRONMENT = "metrics-environment"  # of the metrics service, while it runs: JSON


class DataFolder:
    """
    Held from `open` to `close`, by a lock that the kernel releases even when we are killed.

    Sockets live elsewhere: their paths are limited to some 100 bytes, and a data folder may be
    deep or have a name that an address cannot carry.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None
        self._sockets: Path | None = None

    def open(self) -> Self:
        """
        Create what is missing and take the lock.

        Raises:
            Refusal: another stack runs on it, or it cannot be written.
        """
        try:
            # Under root Postgres is somebody else, who has to pass.
            mode = 0o711 if unprivileged_user() else 0o700
            self.path.mkdir(mode=mode, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Refusal(f"DATA_FOLDER: cannot write to {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            self._lock = None
            raise Refusal(
                f"another instance (pid {owner}) runs on {self.path}:"
                " stop it, or set DATA_FOLDER to another folder"
            ) from None
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())
        return self

    def close(self) -> None:
        """Remove the sockets and release the lock."""
        if self._sockets is not None:
            remove(self._sockets)
            self._sockets = None
        if self._lock is not None:
            for name in (DATABASE_URL, METRICS_ENVIRONMENT):
                (self.path / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def sockets(self) -> Path:
        """
        Make a short private folder for sockets, empty even if a killed stack left some behind.

        Raises:
            Refusal: somebody else has made it.
        """
        try:
            remove(socket_folder(self.path, None))
            self._sockets = socket_folder(self.path, None)
        except Failure as failure:
            raise Refusal(failure.message) from failure
        return self._sockets

    def private(self, name: str) -> Path:
        """
        Make a folder for its owner only, even if it was open to all.

        Raises:
            Refusal: it cannot be made.
        """
        folder = self.path / name
        try:
            private_folder(folder, None)
        except Failure as failure:
            raise Refusal(f"DATA_FOLDER: {failure.message}") from failure
        return folder

    def note(self, name: str, text: str) -> None:
        """Keep *text* for its owner only."""
        write_private(self.path / name, text, None)

    def internal_token(self) -> str:
        """Return what the services tell each other; made on first use."""
        file = self.path / "internal-token"
        if not file.exists() or not file.read_text().strip():
            self.note(file.name, secrets.token_urlsafe(32))
        return file.read_text().strip()
