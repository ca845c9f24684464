"""The demo shows the key that the gateway it finds was started with."""

import pytest

from scripts import demo


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """The address and the key of each demo that was begun, in a folder without `.env`."""
    found = []

    async def run(url, key, *_):
        found.append((url, key))
        return 0

    for name in ("GATEWAY_URL", "GATEWAY_API_KEY", "GATEWAY_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "run", run)
    return found


def test_it_needs_no_key_where_none_is_set(begun):
    demo.main([])

    assert [("http://127.0.0.1:8000", "")] == begun


def test_it_takes_the_key_from_the_file_that_make_run_reads(begun, tmp_path):
    (tmp_path / ".env").write_text("GATEWAY_ADMIN_KEY=of-the-file\n")

    demo.main([])

    assert [("http://127.0.0.1:8000", "of-the-file")] == begun


def test_the_shell_wins_over_the_file(begun, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("GATEWAY_ADMIN_KEY=of-the-file\n")
    monkeypatch.setenv("GATEWAY_ADMIN_KEY", "of-the-shell")

    demo.main([])

    assert [("http://127.0.0.1:8000", "of-the-shell")] == begun


def test_a_clients_key_wins_over_the_admins(begun, tmp_path):
    (tmp_path / ".env").write_text("GATEWAY_ADMIN_KEY=admin\nGATEWAY_API_KEY=client\n")

    demo.main([])

    assert [("http://127.0.0.1:8000", "client")] == begun
