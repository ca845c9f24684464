"""The cache: get, set, delete, flush; and nothing worse than a miss when Redis is in trouble."""

import asyncio
import time
from uuid import uuid4
from weakref import WeakSet

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from common import redis_line
from common.cache import Cache
from common.redis_line import NoAnswerError, RedisLine
from common.redis_listen import listen
from tests.conftest import paused

NOWHERE = "unix:///nowhere/redis.sock"
PATIENCE_S = 5.0  # of a trip, where a test is not about how long one may take


@pytest.fixture
async def redis(redis_url):
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def cache(redis_url):
    made = Cache(redis_url, prefix=f"test-{uuid4().hex}:", timeout_s=PATIENCE_S)
    yield made
    await made.flush()
    await made.close()


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None]}, [], "text", 0, False, "é\u2028"])
async def test_what_is_kept_comes_back(cache, value):
    assert await cache.set("key", value)

    assert value == await cache.get("key")


async def test_nothing_kept_is_none(cache):
    assert None is await cache.get("absent")


async def test_none_may_be_kept(cache):
    assert await cache.set("key", None)

    assert None is await cache.get("key")
    assert b"null" == await cache.get_bytes("key")


async def test_without_a_lifetime_it_is_five_minutes(cache, redis):
    await cache.set("key", 1)

    assert 298_000 < await redis.pttl(cache._prefix + "key") <= 300_000


async def test_a_trip_that_is_cancelled_ends_cancelled(redis_url):
    for ticks in range(60):  # of the loop, so that each step of a trip is hit
        line = RedisLine(redis_url)
        trip = asyncio.create_task(line.trip(lambda redis: redis.ping()))
        for _ in range(ticks):
            await asyncio.sleep(0)
        if trip.done():
            break
        trip.cancel()
        await asyncio.wait([trip])
        assert trip.cancelled(), f"after {ticks} ticks"
        await line.close()


async def test_the_gauges_count_connections(redis_url, monkeypatch):
    monkeypatch.setattr(redis_line, "_POOLS", WeakSet())  # those of other tests come and go

    def gauge(state):
        return REGISTRY.get_sample_value("optimizer_redis_connections", {"state": state})

    async def count(redis):
        await redis.ping()
        async with redis.client():
            return gauge("idle"), gauge("used")

    line, other = RedisLine(redis_url), RedisLine(redis_url)
    assert (0, 0) == (gauge("idle"), gauge("used"))
    assert (0, 1) == await line.trip(count)
    assert (1, 1) == await other.trip(count)
    assert (2, 0) == (gauge("idle"), gauge("used"))
    await line.close()
    await other.close()


async def test_a_lifetime_is_kept(cache, redis):
    await cache.set("key", 1, ttl_s=0.05)

    await asyncio.sleep(0.06)

    assert None is await cache.get("key")


@pytest.mark.parametrize("ttl_s", [0, -1])
async def test_a_lifetime_that_is_over_keeps_nothing(cache, ttl_s):
    assert False is await cache.set("key", 1, ttl_s=ttl_s)


async def test_what_is_deleted_is_gone(cache):
    await cache.set("key", 1)

    assert await cache.delete("key")

    assert None is await cache.get("key")


async def test_garbage_is_a_miss(cache):
    await cache.set_bytes("key", b"{not json")

    assert None is await cache.get("key")


async def test_what_is_no_json_is_not_kept(cache):
    assert False is await cache.set("key", object())


async def test_another_type_under_the_key_is_a_miss_and_no_reason_to_give_up(cache, redis):
    await redis.lpush(cache._prefix + "list", "x")

    for _ in range(10):
        assert None is await cache.get("list")

    assert await cache.set("key", 1)
    await redis.delete(cache._prefix + "list")


async def test_flushing_forgets_own_keys_only(redis_url, redis):
    mine, other = (
        Cache(redis_url, prefix=prefix, timeout_s=PATIENCE_S) for prefix in ("a[*]?:", "ab:")
    )
    for number in range(1200):
        await mine.set(str(number), number)
    await other.set("kept", 1)
    await redis.set("a", "kept")

    assert 1200 == await mine.flush()

    assert None is await mine.get("7")
    assert 1 == await other.get("kept")
    assert b"kept" == await redis.get("a")
    await other.flush()


async def test_flushing_without_a_prefix_is_refused(redis_url, redis):
    await redis.set("somebodys", "kept")

    assert False is await Cache(redis_url, prefix="").flush()

    assert b"kept" == await redis.get("somebodys")


async def every_answer(cache):
    return [
        await cache.get("key"),
        await cache.set("key", 1),
        await cache.delete("key"),
        await cache.flush(),
        await cache.publish("channel", b"x"),
        await cache.ping(),
    ]


@pytest.mark.parametrize("url", [None, NOWHERE, "redis://127.0.0.1:1"])
async def test_without_redis_every_answer_is_none_or_false(url):
    cache = Cache(url, prefix="p:")

    assert [None, False, False, False, False, False] == await every_answer(cache)
    await cache.close()


async def test_a_silent_redis_costs_a_tenth_of_a_second_at_first_and_nothing_later(
    redis_url, redis_server
):
    cache = Cache(redis_url, prefix="p:")
    assert await cache.set("key", 1)

    with paused(redis_server.process.pid):
        first = await timed(cache.get("key"))
        for _ in range(2):
            await cache.get("key")
        later = sum([await timed(cache.get("key")) for _ in range(20)])

    assert 0.05 < first < 1.0
    assert later < 1.0  # had each waited as the first did, it would be two seconds
    await cache.close()


async def timed(*work):
    started = time.perf_counter()
    assert {None} == set(await asyncio.gather(*work))
    return time.perf_counter() - started


async def test_connecting_to_a_silent_redis_is_bounded_too(redis_url, redis_server):
    cache = Cache(redis_url, prefix="p:")

    with paused(redis_server.process.pid):
        assert await timed(*(cache.get("key") for _ in range(50))) < 2  # unbounded, it is for ever
    await cache.close()


async def test_one_probe_at_a_time_asks_whether_a_silent_redis_is_back(redis_url, redis_server):
    trips = 0

    async def count(redis):
        nonlocal trips
        trips += 1
        return await redis.ping()

    async def attempt(line):
        with pytest.raises(NoAnswerError):
            await line.trip(count)

    line = RedisLine(redis_url, pause_s=0.05)
    with paused(redis_server.process.pid):
        for _ in range(3):
            await attempt(line)
        await asyncio.sleep(0.06)
        await asyncio.gather(*(attempt(line) for _ in range(50)))

    assert 4 == trips
    await line.close()


async def test_a_redis_that_comes_back_is_used_again(redis_url, redis_server):
    cache = Cache(redis_url, prefix="p:")
    with paused(redis_server.process.pid):
        for _ in range(4):
            assert None is await cache.get("key")

    async with asyncio.timeout(5):
        while not await cache.set("key", 1):  # noqa: ASYNC110 - the world has no event
            await asyncio.sleep(0.05)

    assert 1 == await cache.get("key")
    await cache.close()


async def test_a_caller_that_hangs_up_leaves_no_answer_for_the_next(cache):
    await cache.set("one", 1)
    await cache.set("two", 2)

    for _ in range(50):
        hasty = [asyncio.create_task(cache.get("one")) for _ in range(4)]
        await asyncio.sleep(0)
        for task in hasty:
            task.cancel()
        await asyncio.gather(*hasty, return_exceptions=True)

        assert 2 == await cache.get("two")


async def test_a_listener_hears_what_is_published(redis_url, cache):
    heard, connected = asyncio.Queue(), asyncio.Event()
    task = asyncio.create_task(listen(redis_url, "ch", heard.put_nowait, on_connect=connected.set))
    await asyncio.wait_for(connected.wait(), 5)

    await cache.publish("ch", b"hello")

    assert b"hello" == await asyncio.wait_for(heard.get(), 5)
    task.cancel()


async def test_a_listener_survives_its_own_failures(redis_url, cache):
    heard, connected = asyncio.Queue(), asyncio.Event()

    def fussy(message):
        if message == b"bad":
            raise ValueError
        heard.put_nowait(message)

    task = asyncio.create_task(listen(redis_url, "ch", fussy, on_connect=connected.set))
    await asyncio.wait_for(connected.wait(), 5)

    await cache.publish("ch", b"bad")
    await cache.publish("ch", b"good")

    assert b"good" == await asyncio.wait_for(heard.get(), 5)
    task.cancel()


async def test_a_listener_outlives_a_cut_line(redis_url, redis, cache):
    heard, connected = asyncio.Queue(), asyncio.Semaphore(0)
    task = asyncio.create_task(
        listen(redis_url, "ch", heard.put_nowait, on_connect=connected.release)
    )
    await asyncio.wait_for(connected.acquire(), 5)

    await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await asyncio.wait_for(connected.acquire(), 5)
    await cache.publish("ch", b"again")

    assert b"again" == await asyncio.wait_for(heard.get(), 5)
    task.cancel()


async def test_a_listener_leaves_a_silent_server(redis_url, redis_server, cache):
    heard, connected = asyncio.Queue(), asyncio.Semaphore(0)
    task = asyncio.create_task(
        listen(redis_url, "ch", heard.put_nowait, on_connect=connected.release, silence_s=0.1)
    )
    await asyncio.wait_for(connected.acquire(), 5)

    with paused(redis_server.process.pid):
        await asyncio.sleep(0.5)
    await asyncio.wait_for(connected.acquire(), 5)

    assert not task.done()
    task.cancel()
