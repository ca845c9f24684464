"""Starting before one's neighbours, and running until told to stop."""

import asyncio

import pytest

from common import startup
from common.errors import Invalid, Unavailable
from common.startup import run_until, until_available


class Neighbour:
    """Is away for the first calls."""

    def __init__(self, away):
        self.away = away
        self.calls = 0

    async def work(self):
        self.calls += 1
        if self.calls <= self.away:
            raise Unavailable("not there yet")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(startup, "FIRST_PAUSE_S", 0.001)


async def forever():
    await asyncio.Event().wait()


async def test_a_neighbour_that_is_late_is_waited_for():
    neighbour = Neighbour(away=4)

    assert await until_available(neighbour.work, asyncio.Event())
    assert 5 == neighbour.calls


async def test_what_waiting_does_not_mend_is_raised():
    async def broken():
        raise Invalid("no such schema")

    with pytest.raises(Invalid):
        await until_available(broken, asyncio.Event())


async def test_a_stop_ends_the_waiting_and_what_is_being_tried():
    stop, cancelled = asyncio.Event(), []

    async def hang():
        asyncio.get_running_loop().call_soon(stop.set)
        try:
            await forever()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    assert not await until_available(hang, stop)
    assert [True] == cancelled


async def test_a_stop_drains_before_it_cancels():
    stop, seen = asyncio.Event(), []

    async def busy():
        try:
            await forever()
        finally:
            seen.append("cancelled")

    async def drain():
        seen.append("drained")

    asyncio.get_running_loop().call_later(0.01, stop.set)
    await run_until(stop, busy(), drain=drain)

    assert ["drained", "cancelled"] == seen


async def test_one_that_fails_ends_all_with_its_error():
    async def fail():
        raise Invalid("broken")

    with pytest.raises(Invalid, match="broken"):
        await run_until(asyncio.Event(), forever(), fail())
