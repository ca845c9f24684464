"""The snapshot over HTTP and over the live socket: from Redis, and without it."""

import asyncio

import orjson
import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from common.redis_names import METRICS_LATEST, METRICS_LIVE
from deploy.embedded.redis import Redis as RedisServer
from scripts.live_clients import Client
from tests.gateway_fakes import SNAPSHOT, Stack, a_stack

PING = '{"action":"ping"}'


@pytest.fixture
async def redis(redis_url):
    client = Redis.from_url(redis_url)
    await client.delete(METRICS_LATEST)
    yield client
    await client.delete(METRICS_LATEST)
    await client.aclose()


@pytest.fixture
async def pushed(redis, redis_url):
    """A gateway that has a Redis and has subscribed to the channel."""
    async with a_stack(redis_url=redis_url, live_poll_s=3600) as running:
        async with asyncio.timeout(5):
            while (await redis.pubsub_numsub(METRICS_LIVE))[0][1] == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield running


def socket_of(stack: Stack, query: str = ""):
    return connect(f"ws://{stack.gateway.address}/metrics/live{query}")


async def test_a_hit_gives_the_bytes_of_redis_and_is_counted(pushed, redis):
    await redis.set(METRICS_LATEST, b'{"total_decisions":9}')

    first = await pushed.client.get("/routing/metrics")
    await redis.delete(METRICS_LATEST)
    second = await pushed.client.get("/routing/metrics")

    assert (first.content, second.content) == (b'{"total_decisions":9}', SNAPSHOT)
    stats = (await pushed.client.get("/metrics-cache/stats")).json()
    assert stats == {"hits": 1, "misses": 1, "hit_ratio": 0.5}


async def test_without_redis_the_metrics_service_answers(stack):
    answers = await asyncio.gather(*(stack.client.get("/routing/metrics") for _ in range(5)))

    assert {answer.content for answer in answers} == {SNAPSHOT}


async def test_without_redis_and_metrics_it_is_503(own_stack):
    await own_stack.metrics_server.stop()

    answer = await own_stack.client.get("/routing/metrics")

    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")


async def test_a_client_is_shown_at_once_and_answered_at_once(pushed, redis):
    await redis.set(METRICS_LATEST, b'{"total_decisions":9}')
    async with socket_of(pushed) as socket:
        at_once = await socket.recv()
        await socket.send(PING)
        answered = await socket.recv()

    assert at_once == answered == '{"total_decisions":9}'


async def test_what_is_published_reaches_every_client(pushed, redis):
    async with socket_of(pushed, "?interval=1") as one, socket_of(pushed, "?interval=1") as two:
        await asyncio.gather(one.recv(), two.recv())
        await redis.publish(METRICS_LIVE, b'{"total_decisions":1}')
        await redis.publish(METRICS_LIVE, b'{"total_decisions":2}')
        seen = await asyncio.gather(one.recv(), two.recv())

    assert seen == ['{"total_decisions":2}'] * 2  # the newest; the older one was dropped
    assert pushed.metrics.snapshots == 1  # one look for both, none for what was pushed


async def test_without_redis_it_is_polled_and_says_so(own_stack):
    async with socket_of(own_stack) as one, socket_of(own_stack) as two:
        seen = [orjson.loads(await one.recv()), orjson.loads(await two.recv())]

    assert [snapshot["source"] for snapshot in seen] == ["poll", "poll"]
    assert seen[0]["total_decisions"] == 3
    assert own_stack.metrics.snapshots == 1


async def ask_until(socket, *, source: str | None) -> None:
    async with asyncio.timeout(10):
        while True:
            await socket.send(PING)
            if orjson.loads(await socket.recv()).get("source") == source:
                return


async def test_when_redis_goes_away_it_is_polled_until_it_is_back(short_folder):
    server = RedisServer(short_folder / "leaving")
    await server.start()
    async with a_stack(redis_url=server.url, live_poll_s=0.05) as stack, socket_of(stack) as socket:
        await ask_until(socket, source=None)
        await server.stop()
        await ask_until(socket, source="poll")
        await server.start()
        await ask_until(socket, source=None)
    await server.stop()

    assert stack.metrics.snapshots > 1


async def test_without_anything_a_client_is_told_at_once_too(own_stack):
    await own_stack.metrics_server.stop()

    async with socket_of(own_stack) as socket:
        seen = orjson.loads(await socket.recv())

    assert seen["source"] == "none"
    assert seen["timestamp"]


@pytest.mark.parametrize(
    "garbage",
    ["", "{", "null", "[]", '"ping"', '{"action":["ping"]}', b"\x00\xff", "[" * 4000, "\x00"],
    ids=repr,
)
async def test_garbage_is_no_reason_to_part(stack, garbage):
    async with socket_of(stack) as socket:
        await socket.recv()
        await socket.send(garbage)
        await socket.send(PING)

        assert orjson.loads(await socket.recv())["source"] == "poll"


async def test_a_message_without_bounds_closes_the_socket(stack):
    async with socket_of(stack) as socket:
        await socket.recv()
        await socket.send("x" * 100_000)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()

    assert closed.value.rcvd.code == 1009


async def test_one_client_too_many_is_sent_away():
    async with a_stack(live_clients=1) as stack:
        async with socket_of(stack) as first, socket_of(stack) as second:
            await first.recv()
            with pytest.raises(ConnectionClosed) as closed:
                await second.recv()
        await until_a_place_is_free(stack)  # once the server has noticed

    assert closed.value.rcvd.code == 1013


@pytest.mark.parametrize("interval", ["0", "61", "abc", "nan", "inf", "-1", ""])
async def test_an_interval_out_of_bounds_is_422(stack, interval):
    with pytest.raises(InvalidStatus) as refused:
        await socket_of(stack, f"?interval={interval}&x=")

    assert refused.value.response.status_code == 422
    assert orjson.loads(refused.value.response.body)["code"] == "invalid_value"


async def test_a_client_that_only_asks_and_never_reads_holds_nobody_up(stack):
    _, writer = await asyncio.open_connection(*stack.address)
    writer.write(
        b"GET /metrics/live HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n"
        b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    ping = PING.encode()
    frame = bytes([0x81, 0x80 | len(ping), 0, 0, 0, 0]) + ping  # masked with zeros
    for _ in range(5_000):
        writer.write(frame)
    await writer.drain()

    async with asyncio.timeout(5):  # the gateway is busy with others all the while
        assert (await stack.client.get("/livez")).status_code == 200
    writer.close()


async def test_a_client_that_reads_nothing_loses_its_place(redis, redis_url, monkeypatch):
    monkeypatch.setattr("services.gateway.__main__.WS_PING_S", 0.2)
    await redis.set(METRICS_LATEST, b'{"large":"%b"}' % (b"x" * 500_000))
    async with a_stack(redis_url=redis_url, live_clients=1) as stack:
        stuck = Client(f"ws://{stack.gateway.address}/metrics/live", lambda _: None)
        await stuck.connect(small=True)
        stuck.stop_reading()

        await until_a_place_is_free(stack)
        stuck.close()


async def until_a_place_is_free(stack: Stack) -> None:
    async with asyncio.timeout(5):
        while True:
            async with socket_of(stack) as socket:
                try:
                    await socket.recv()
                except ConnectionClosed:
                    continue
                return


async def test_a_stop_closes_live_sockets():
    async with a_stack() as stack, socket_of(stack) as socket:
        await socket.recv()
        stack.stop.set()
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()

    assert closed.value.rcvd.code == 1012
