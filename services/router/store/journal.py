"""
Where the ledger writes while Postgres is down or silent: a local file that survives us.

    journal-0   [magic 4][length 4][crc32 4][payload] [magic]...        little-endian

Replicas that share a folder take a slot each and lock it; a slot whose owner died is adopted by
whoever finds it. Every append is one write and one fdatasync. What a crash tore off the last
record was never acknowledged, so it is cut off. Bytes that went bad in between are set aside in
a file of their own, and what follows them is found again by its magic and checksum.
"""

import asyncio
import fcntl
import mmap
import os
import re
import struct
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

import structlog
from prometheus_client import Gauge

from common.errors import Unavailable

MAX_BYTES = 1024 * 1024 * 1024
MAX_SLOTS = 64
ROOM_BYTES = 16 * 1024  # a few requests' rows

T = TypeVar("T")
log = structlog.get_logger()

_MAGIC = b"OLJ1"
_HEADER = struct.Struct("<4sII")
_SLOT = re.compile(r"journal-\d+")
_BYTES = Gauge("optimizer_journal_bytes", "Journal that waits to be replayed into Postgres.")


class JournalFile:
    """One slot, locked. Blocking: `Journal` calls it from its thread."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._end = 0  # of the last good record
        self._set_aside: set[int] = set()  # where damage was found and kept
        self.position = 0  # of the first record that is not replayed

    @classmethod
    def claim(cls, path: Path) -> Self | None:
        """Open and lock a slot, made if need be; None when another process holds it."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        try:
            _sync_folder(path.parent)
            slot = cls(path, fd)
            slot._cut_torn_record()
        except BaseException:
            os.close(fd)
            raise
        return slot

    @property
    def waiting_bytes(self) -> int:
        return self._end - self.position

    @property
    def size(self) -> int:
        return self._end

    def append(self, payload: bytes) -> None:
        """
        Write one record durably, or leave the file as it was.

        Raises:
            OSError: there is no room, or the disk fails.
        """
        record = _HEADER.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload
        try:
            written = 0
            while written < len(record):
                written += os.pwrite(self._fd, record[written:], self._end + written)
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._end)
            raise
        self._end += len(record)

    def check_room(self) -> None:
        """
        Find out whether the next record would fit.

        Raises:
            OSError: it would not.
        """
        try:
            os.posix_fallocate(self._fd, self._end, ROOM_BYTES)
        finally:
            os.ftruncate(self._fd, self._end)

    def read(self, most_bytes: int) -> tuple[list[bytes], int]:
        """
        Return what is not replayed yet, and the position behind it.

        Args:
            most_bytes: Enough; at least one record is returned if there is one.
        """
        payloads: list[bytes] = []
        position, size = self.position, 0
        while position < self._end and size < most_bytes:
            payload = self._record_at(position)
            if payload is None:
                position = self._skip_damage(position)
                continue
            payloads.append(payload)
            size += len(payload)
            position += _HEADER.size + len(payload)
        return payloads, position

    def advance(self, position: int) -> None:
        """Say that everything before *position* is in Postgres."""
        self.position = position
        if self.position >= self._end:
            os.ftruncate(self._fd, 0)
            self.position = self._end = 0
            self._set_aside.clear()

    def set_aside(self, content: bytes, why: str) -> None:
        """Keep what cannot be used where somebody can look at it; never fatal."""
        aside = self.path.with_name(f"{self.path.name}.{why}-{time.time_ns()}")
        log.error("journal_set_aside", path=str(aside), why=why, bytes=len(content))
        try:
            aside.write_bytes(content)
        except OSError as error:
            log.exception("journal_not_set_aside", reason=str(error))

    def close(self) -> None:
        os.close(self._fd)  # which unlocks

    def _record_at(self, position: int) -> bytes | None:
        header = os.pread(self._fd, _HEADER.size, position)
        if len(header) < _HEADER.size:
            return None
        magic, length, checksum = _HEADER.unpack(header)
        if magic != _MAGIC or position + _HEADER.size + length > self._end:
            return None
        payload = os.pread(self._fd, length, position + _HEADER.size)
        return payload if len(payload) == length and zlib.crc32(payload) == checksum else None

    def _skip_damage(self, position: int) -> int:
        found = self._next_record(position + 1)
        if position not in self._set_aside:
            self._set_aside.add(position)
            self.set_aside(os.pread(self._fd, found - position, position), "damaged")
        return found

    def _next_record(self, position: int) -> int:
        """Find the first good record at or behind *position*; the end, if there is none."""
        with mmap.mmap(self._fd, self._end, access=mmap.ACCESS_READ) as content:
            while (found := content.find(_MAGIC, position)) >= 0:
                if self._record_at(found) is not None:
                    return found
                position = found + 1
        return self._end

    def _cut_torn_record(self) -> None:
        size = self._end = os.fstat(self._fd).st_size
        position = good_end = 0
        while position < size:
            payload = self._record_at(position)
            if payload is None:
                position = self._next_record(position + 1)
            else:
                position = good_end = position + _HEADER.size + len(payload)
        self._end = good_end
        if good_end < size:
            log.warning("journal_tail_cut", path=str(self.path), bytes=size - good_end)
            os.ftruncate(self._fd, good_end)
            os.fdatasync(self._fd)


class Journal:
    """
    The slot of this process, used from a thread of its own: step by step, the loop never waits.

    Args:
        folder: Shared by the replicas of one volume, or not.
        max_bytes: A journal that would grow larger refuses.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._file: JournalFile | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        _BYTES.set_function(lambda: self.waiting_bytes)

    @property
    def waiting_bytes(self) -> int:
        return self._file.waiting_bytes if self._file else 0

    async def open(self) -> JournalFile:
        """
        Take a slot, if that is not done.

        Raises:
            Unavailable: the folder cannot be written.
        """
        return await self.do(self._slot)

    async def append(self, payload: bytes) -> None:
        """
        Keep *payload*; it is durable on return.

        Raises:
            Unavailable: the journal is full or cannot be written, so nothing can be recorded.
        """
        await self.do(self._append, payload)

    async def check(self) -> None:
        """
        Find out whether something could be kept now.

        Raises:
            Unavailable: it could not.
        """
        await self.do(self._check)

    async def orphans(self) -> list[JournalFile]:
        """Adopt the slots whose owners died before they had replayed everything."""
        return await self.do(self._orphans)

    async def do(self, step: Callable[..., T], *arguments: object) -> T:
        """Run *step* in the journal's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, step, *arguments)

    async def close(self) -> None:
        if self._file:
            await self.do(self._file.close)
            self._file = None
        self._thread.shutdown()

    def _slot(self) -> JournalFile:
        if self._file is None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                _sync_folder(self._folder.parent)
                slots = (JournalFile.claim(self._folder / f"journal-{n}") for n in range(MAX_SLOTS))
                self._file = next((slot for slot in slots if slot), None)
            except OSError as error:
                raise _cannot_record(error.strerror) from error
            if self._file is None:
                raise _cannot_record(f"all {MAX_SLOTS} slots are taken")
        return self._file

    def _check(self) -> None:
        slot = self._slot_with_room(ROOM_BYTES)
        try:
            slot.check_room()
        except OSError as error:
            raise _cannot_record(error.strerror) from error

    def _slot_with_room(self, size: int) -> JournalFile:
        slot = self._slot()
        if slot.size + size > self._max_bytes:
            raise _cannot_record("it has reached its size limit")
        return slot

    def _append(self, payload: bytes) -> None:
        slot = self._slot_with_room(len(payload) + _HEADER.size)
        try:
            slot.append(payload)
        except OSError as error:
            raise _cannot_record(error.strerror) from error

    def _orphans(self) -> list[JournalFile]:
        own = self._slot()
        found = []
        for path in sorted(self._folder.iterdir()):
            if path == own.path or not _SLOT.fullmatch(path.name) or not path.stat().st_size:
                continue
            try:
                orphan = JournalFile.claim(path)
            except OSError as error:
                log.warning("journal_not_adopted", path=str(path), reason=error.strerror)
                continue
            if orphan:
                found.append(orphan)
        return found


def _cannot_record(why: str | None) -> Unavailable:
    log.error("journal_cannot_record", why=why)
    return Unavailable("what happens cannot be recorded now; try again", code="cannot_record")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
