"""What is pushed to whoever watches, where Redis comes and goes."""

import asyncio
from types import SimpleNamespace

from services.metrics.live import Live


class Deaf:
    """A Redis that hears nothing the first two times."""

    def __init__(self):
        self.asked = 0
        self.heard = asyncio.Queue()

    async def publish(self, channel, message):
        self.asked += 1
        if self.asked < 3:
            return False
        await self.heard.put(message)
        return True


async def test_what_redis_did_not_hear_is_pushed_again_without_another_change():
    async def snapshot():
        return SimpleNamespace(json=b"{}")

    redis = Deaf()
    live = Live(SimpleNamespace(snapshot=snapshot), redis, interval_s=0)
    pushing = asyncio.create_task(live.run())
    await live.changed()
    async with asyncio.timeout(5):
        assert b"{}" == await redis.heard.get()

    await live.changed()
    for _ in range(10):
        await asyncio.sleep(0)
    assert 3 == redis.asked, "nothing is pushed twice"
    pushing.cancel()
