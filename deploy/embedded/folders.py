"""Folders that a server may use: private, enterable, and short enough for a socket."""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
from pathlib import Path
from typing import IO

from common.errors import Invalid
from deploy.embedded import rights

_SHORT = Path("/tmp")  # noqa: S108 - a socket's path has about 100 bytes; checked in `socket_folder`


def package_folder(package: str) -> Path:
    """Find an installed package without importing it: some make folders when imported."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise Invalid(f"{package} is not installed: it comes with the extra `embedded`")
    return Path(found.origin).parent


def unprivileged_user() -> str | None:
    """Name the user to run Postgres as: it refuses to be root. None: as ourselves."""
    return "nobody" if os.geteuid() == 0 else None


def private_folder(folder: Path, user: str | None) -> None:
    """
    Make *folder* and give it to *user* alone.

    Raises:
        Invalid: it cannot be made, or *user* could not enter it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if user:
            _check_reachable(folder, user)
            _give(folder, user)
        folder.chmod(0o700)
    except OSError as error:
        raise Invalid(f"cannot use the folder {folder}: {error.strerror}") from error


def socket_folder(folder: Path, user: str | None) -> Path:
    """
    Make the folder for the sockets of the server whose data is in *folder*: always the same one.

    Raises:
        Invalid: somebody else has made it.
    """
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
    short = _SHORT / f"optimizer-{os.geteuid()}-{name}"
    try:
        short.mkdir(mode=0o700, exist_ok=True)
        found = short.lstat()
    except OSError as error:
        raise Invalid(f"cannot use the folder {short}: {error.strerror}") from error
    ours = {os.geteuid(), _uid(user)}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in ours:
        raise Invalid(f"{short} belongs to somebody else: remove it")
    private_folder(short, user)
    return short


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def write_private(path: Path, text: str, user: str | None) -> None:
    """Write a file that its owner alone can read, from its first byte on."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    if user:
        _give(path, user)


def open_log(path: Path, *, append: bool) -> IO[bytes]:
    """Open a log that its owner alone can read, even if an older one was open to all."""
    how = os.O_APPEND if append else os.O_TRUNC
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
    os.fchmod(handle, 0o600)
    return os.fdopen(handle, "wb")


def _uid(user: str | None) -> int:
    return pwd.getpwnam(user).pw_uid if user else os.geteuid()


def _give(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def right_needed(user: str | None, *paths: Path) -> int | None:
    """Return the capability without which *user* could not reach all *paths*; None: needs none."""
    closed = user and any(_closed_above(path, user) for path in paths)
    return rights.passing() if closed else None


def _check_reachable(folder: Path, user: str) -> None:
    closed = _closed_above(folder, user)
    if closed and rights.passing() is None:
        raise Invalid(
            f"Postgres cannot run as root, and as {user!r} it cannot enter {closed}:"
            " start as an ordinary user, or choose another data folder"
        )


def _closed_above(folder: Path, user: str) -> Path | None:
    entry = pwd.getpwnam(user)
    for above in folder.resolve().parents:
        found = above.stat()
        enterable = (
            found.st_mode & stat.S_IXOTH
            or (found.st_uid == entry.pw_uid and found.st_mode & stat.S_IXUSR)
            or (found.st_gid == entry.pw_gid and found.st_mode & stat.S_IXGRP)
        )
        if not enterable:
            return above
    return None
