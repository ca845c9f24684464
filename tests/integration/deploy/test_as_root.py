"""Root can run it too: Postgres becomes somebody else, and still finds its way."""

import os

import asyncpg
import psutil
import pytest

from common.errors import Invalid
from deploy.embedded import rights
from deploy.embedded.postgres import Postgres

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="about being root")


@pytest.fixture
def closed(tmp_path):
    folder = tmp_path / "only root enters"
    folder.mkdir(mode=0o700)
    return folder


async def test_postgres_runs_below_a_folder_that_only_root_may_enter(closed):
    server = Postgres(closed / "postgres", fast=True)
    await server.start()
    try:
        conn = await asyncpg.connect(server.url("router"))
        assert "router" == await conn.fetchval("SELECT current_user")
        await conn.close()
        assert "nobody" == psutil.Process(server.process.pid).username()
    finally:
        await server.stop()


async def test_without_the_right_to_pass_it_is_refused_in_words(closed, monkeypatch):
    monkeypatch.setattr(rights, "passing", lambda: None)

    with pytest.raises(Invalid, match=r"cannot enter .* choose another"):
        await Postgres(closed / "postgres", fast=True).start()
