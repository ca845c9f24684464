"""The data folder: one stack at a time, a private token, short paths for sockets."""

import stat

import pytest

from deploy.embedded.folder import DATABASE_URL, DataFolder
from deploy.embedded.folders import open_log
from deploy.embedded.refusal import Refusal


@pytest.fixture
def folder(tmp_path):
    opened = DataFolder(tmp_path / "a folder with spaces").open()
    yield opened
    opened.close()


def test_a_second_stack_on_it_is_refused_with_the_first_ones_pid(folder):
    with pytest.raises(Refusal, match=r"another instance \(pid \d+\) runs .* set DATA_FOLDER"):
        DataFolder(folder.path).open()


def test_once_closed_it_opens_again(folder):
    folder.close()

    again = DataFolder(folder.path).open()
    again.close()


def test_the_token_is_made_once_and_for_its_owner_only(folder):
    first = folder.internal_token()

    assert first == folder.internal_token()
    assert len(first) > 30
    assert 0o600 == stat.S_IMODE((folder.path / "internal-token").stat().st_mode)


def test_nobody_else_looks_into_it(folder):
    mode = stat.S_IMODE(folder.path.stat().st_mode)

    assert 0 == mode & 0o066  # under root Postgres passes, but reads nothing


def test_what_was_open_to_all_is_closed(folder):
    (folder.path / "journal").mkdir(mode=0o755)

    assert 0o700 == stat.S_IMODE(folder.private("journal").stat().st_mode)


@pytest.mark.parametrize(("append", "expected"), [(True, b"old, new"), (False, b"new")])
def test_a_log_is_for_its_owner_only(tmp_path, append, expected):
    path = tmp_path / "server.log"
    path.write_bytes(b"old, ")
    path.chmod(0o644)

    with open_log(path, append=append) as log:
        log.write(b"new")

    assert expected == path.read_bytes()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_sockets_get_a_short_private_path_wherever_the_data_lives(tmp_path):
    deep = DataFolder(tmp_path / ("deep " * 20) / ("er" * 40)).open()

    sockets = deep.sockets()
    assert len(str(sockets)) < 60
    assert " " not in str(sockets)
    assert 0o700 == stat.S_IMODE(sockets.stat().st_mode)
    deep.close()
    assert not sockets.exists()


def test_what_a_killed_stack_left_behind_is_removed(folder):
    (folder.sockets() / "router.grpc").touch()

    assert [] == list(folder.sockets().iterdir())


def test_the_way_into_the_database_is_noted_only_while_it_runs(folder):
    folder.note(DATABASE_URL, "postgresql://secret")
    note = folder.path / DATABASE_URL

    assert 0o600 == stat.S_IMODE(note.stat().st_mode)
    folder.close()
    assert not note.exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(Refusal, match="DATA_FOLDER: cannot write"):
        DataFolder(tmp_path / "file" / "below").open()
