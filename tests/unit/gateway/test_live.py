"""The newest snapshot that a gateway holds, whichever way it came."""

import asyncio

from services.gateway.live import Live


class Slow:
    """An answer that was made before what is pushed while it is on its way."""

    def __init__(self):
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()

    async def look(self):
        self.asked.set()
        await self.let_go.wait()
        return b"old", True


async def test_what_was_pushed_meanwhile_is_newer_than_what_was_looked_up():
    snapshots = Slow()
    live = Live(snapshots, poll_s=60)
    looking = asyncio.create_task(live.newest())
    await snapshots.asked.wait()
    live.published(b"new")
    snapshots.let_go.set()

    assert b"new" == await looking
    assert b"new" == await live.newest()
