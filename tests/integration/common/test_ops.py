"""The operations port: measured, alive, ready; and which check is not."""

import asyncio

import aiohttp
import pytest
from prometheus_client import Counter

from common.errors import Unavailable
from common.ops import Operations, checks

COUNTED = Counter("optimizer_test_counted_total", "Counts for a test.")


async def fine():
    return None


async def failing():
    raise Unavailable("the database does not answer")


async def broken():
    raise ZeroDivisionError


async def hanging():
    await asyncio.Event().wait()


@pytest.fixture
async def serve():
    started = []

    async def start(ready):
        operations = Operations("127.0.0.1:0", ready=ready)
        await operations.start()
        started.append(operations)
        return f"http://{operations.address}"

    yield start
    for operations in started:
        await operations.stop()


async def get(url):
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        is_json = answer.content_type == "application/json"
        return answer.status, await answer.json() if is_json else await answer.text()


async def test_ready_when_every_check_is(serve):
    url = await serve(checks({"postgres": fine, "redis": fine}))

    assert (200, {"status": "ok", "checks": {"postgres": "ok", "redis": "ok"}}) == await get(
        f"{url}/readyz"
    )


async def test_not_ready_says_which_check_failed_and_why(serve):
    url = await serve(checks({"a": fine, "b": failing, "c": broken, "d": hanging}, timeout_s=0.05))

    assert (
        503,
        {
            "status": "unready",
            "checks": {
                "a": "ok",
                "b": "the database does not answer",
                "c": "the check itself failed; see the log",
                "d": "no answer within 0.05 s",
            },
        },
    ) == await get(f"{url}/readyz")


async def test_alive_whatever_the_neighbours_do(serve):
    url = await serve(hanging)

    assert (200, {"status": "ok"}) == await get(f"{url}/livez")


async def test_readiness_that_is_broken_is_unready(serve):
    url = await serve(broken)

    status, body = await get(f"{url}/readyz")

    assert (503, "unready") == (status, body["status"])


async def test_what_is_counted_shows(serve):
    url = await serve(checks({}))
    COUNTED.inc(3)

    status, text = await get(f"{url}/metrics")

    assert 200 == status
    assert "optimizer_test_counted_total 3.0" in text


async def test_anything_else_is_not_found(serve):
    url = await serve(checks({}))

    assert 404 == (await get(f"{url}/etc"))[0]


async def test_a_taken_port_is_an_error(serve):
    url = await serve(checks({}))

    with pytest.raises(OSError, match="address"):
        await Operations(url.removeprefix("http://"), ready=fine).start()
