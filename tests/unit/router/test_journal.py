"""The journal: durable, torn at any byte, damaged in the middle, full, shared, orphaned."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import Unavailable
from services.router.store.journal import Journal, JournalFile

HEADER_BYTES = 12
RECORDS = [b'["first"]', b'["second OLJ1 record"]', b'["third"]']


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal-0"


def written(path: Path, records: list[bytes] = RECORDS) -> bytes:
    """Write a journal and return its bytes."""
    file = JournalFile.claim(path)
    for record in records:
        file.append(record)
    file.close()
    return path.read_bytes()


def read_all(path: Path) -> list[bytes]:
    file = JournalFile.claim(path)
    try:
        return file.read(1 << 20)[0]
    finally:
        file.close()


def test_what_was_appended_is_read_in_order(path):
    written(path)

    assert RECORDS == read_all(path)


def test_a_record_torn_at_any_byte_is_cut_off_and_the_others_stay(path):
    whole = written(path)
    last_begins = len(whole) - HEADER_BYTES - len(RECORDS[-1])

    for end in range(last_begins, len(whole)):
        path.write_bytes(whole[:end])
        assert RECORDS[:-1] == read_all(path)
        assert last_begins == path.stat().st_size


def test_appending_goes_on_behind_a_torn_record(path):
    whole = written(path)
    path.write_bytes(whole[:-3])

    written(path, [b'["fourth"]'])

    assert [*RECORDS[:-1], b'["fourth"]'] == read_all(path)


def test_damage_at_any_byte_costs_only_its_record_which_is_set_aside(path):
    whole = written(path)
    begins = HEADER_BYTES + len(RECORDS[0])
    ends = begins + HEADER_BYTES + len(RECORDS[1])

    for at in range(begins, ends):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        assert [RECORDS[0], RECORDS[2]] == read_all(path)
    aside = list(path.parent.glob("journal-0.damaged-*"))
    assert ends - begins == len(aside)
    assert {ends - begins} == {a.stat().st_size for a in aside}


def test_a_journal_of_garbage_is_emptied_not_fatal(path):
    path.write_bytes(os.urandom(5000))

    assert [] == read_all(path)


def test_what_was_replayed_is_given_back_to_the_disk(path):
    written(path)
    file = JournalFile.claim(path)
    first, behind_first = file.read(1)

    file.advance(behind_first)
    rest, end = file.read(1 << 20)
    file.advance(end)

    assert RECORDS == [*first, *rest]
    assert 0 == path.stat().st_size
    file.close()


def test_what_is_appended_during_a_replay_is_kept(path):
    file = JournalFile.claim(path)
    file.append(b"[1]")
    _, end = file.read(1 << 20)
    file.append(b"[2]")

    file.advance(end)

    assert [b"[2]"] == file.read(1 << 20)[0]
    file.close()


def test_a_full_disk_leaves_the_journal_as_it_was(path):
    # A limit on file size fails as a full disk does: in the middle of a write.
    script = f"""
import resource, sys
from pathlib import Path
from services.router.store.journal import JournalFile
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
file = JournalFile.claim(Path({str(path)!r}))
file.append(b"[1]")
try:
    file.append(b"x" * 200)
except OSError as error:
    file.append(b"[2]")
    sys.exit(7)
"""

    code = subprocess.run([sys.executable, "-c", script], check=False).returncode  # noqa: S603

    assert (7, [b"[1]", b"[2]"]) == (code, read_all(path))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100


async def test_a_journal_at_its_limit_refuses_and_keeps_what_it_has(tmp_path):
    journal = Journal(tmp_path, max_bytes=60)
    await journal.append(b"[1]")

    with pytest.raises(Unavailable, match="cannot be recorded"):
        await journal.append(b"x" * 60)

    file = await journal.open()
    assert [b"[1]"] == file.read(1 << 20)[0]
    await journal.close()


async def test_a_folder_that_cannot_be_written_refuses_to_record(tmp_path):
    (tmp_path / "file").write_text("in the way")
    journal = Journal(tmp_path / "file" / "journal")

    with pytest.raises(Unavailable, match="cannot be recorded"):
        await journal.append(b"[1]")
    await journal.close()


async def test_replicas_take_a_slot_each_and_adopt_those_of_the_dead(tmp_path):
    alive, dying = Journal(tmp_path), Journal(tmp_path)
    await alive.append(b'["alive"]')
    await dying.append(b'["dying"]')
    assert [] == await alive.orphans()

    await dying.close()
    (orphan,) = await alive.orphans()

    assert [b'["dying"]'] == orphan.read(1 << 20)[0]
    orphan.close()
    await alive.close()


async def test_a_restarted_replica_finds_its_own(tmp_path):
    first = Journal(tmp_path)
    await first.append(b"[1]")
    await first.close()

    second = Journal(tmp_path)
    file = await second.open()

    assert [b"[1]"] == file.read(1 << 20)[0]
    await second.close()
