"""Clients that are slow, or that only knock: they hold nothing for long and fill no log."""

import asyncio
import logging
from contextlib import suppress

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.gateway_fakes import a_stack

HEAD = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n"


@pytest.fixture(scope="module")
async def impatient():
    async with a_stack(client_wait_s=0.2, keep_alive_s=1) as stack:
        yield stack


async def everything(stack, *pieces):
    """Send bytes, then nothing more; return what comes until the gateway hangs up."""
    reader, writer = await asyncio.open_connection(*stack.address)
    writer.writelines(pieces)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


def read(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, orjson.loads(body)


@pytest.mark.parametrize("path", [b"/complete", b"/experiments", b"/production/feedback"])
@pytest.mark.parametrize("begun", [b"", b'{"prompt"'])
async def test_a_body_that_stops_coming_is_408(impatient, path, begun):
    status, head, body = read(await everything(impatient, HEAD % path, begun))

    assert (408, "request_timeout") == (status, body["code"])
    assert b"x-request-id" in head


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/embeddings"])
async def test_on_the_openai_wire_it_is_408_in_its_shape(impatient, path):
    status, _, body = read(await everything(impatient, HEAD % path, b"{"))

    assert (408, "request_timeout") == (status, body["error"]["code"])


async def test_a_body_that_comes_piece_by_piece_is_waited_for(impatient):
    body = b'{"prompt":"Hello"}'

    async def slowly():
        for begin in range(0, len(body), 6):
            yield body[begin : begin + 6]
            await asyncio.sleep(0.1)

    answer = await impatient.client.post("/complete", content=slowly())

    assert 200 == answer.status_code


async def test_headers_that_stop_coming_are_408(impatient):
    plain = read(await everything(impatient, b"GET /health HTTP/1.1\r\nhost: local"))
    openai = read(await everything(impatient, b"GET /v1/models HTTP/1.1\r\nhost: local"))

    assert (408, "request_timeout") == (plain[0], plain[2]["code"])
    assert (408, "request_timeout") == (openai[0], openai[2]["error"]["code"])


@pytest.mark.parametrize(
    "said", [b"", HEAD % b"/nothing" + b"{", b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\nGET /"]
)
async def test_nobody_stays_who_says_nothing_that_ends(impatient, said):
    await everything(impatient, said)  # returns: the gateway hung up


@pytest.mark.parametrize(
    ("begun", "told"),
    [
        (b"GET /health HTTP/1.1\r\nx: ", b" 408 "),
        (HEAD.replace(b"100", b"9999") % b"/nothing", b" 404 "),  # answered before its body came
    ],
)
async def test_what_drips_is_cut_off_too(impatient, begun, told):
    reader, writer = await asyncio.open_connection(*impatient.address)
    ended = asyncio.create_task(reader.read())
    with suppress(ConnectionError):
        writer.write(begun)
        async with asyncio.timeout(5):
            while not ended.done():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
    writer.close()

    assert told in await ended


async def test_an_answer_may_take_longer_than_a_question(impatient):
    impatient.router.answer = answering = asyncio.Event()
    asking = asyncio.create_task(impatient.client.post("/complete", json={"prompt": "Hello"}))
    await asyncio.sleep(0.4)  # twice what a client may take
    answering.set()

    assert 200 == (await asking).status_code


async def test_a_live_socket_may_stay(impatient):
    url = f"ws://{impatient.gateway.address}/metrics/live?interval=1"
    async with connect(url) as socket:
        await socket.recv()
        await asyncio.sleep(0.4)
        await socket.send('{"action":"ping"}')
        async with asyncio.timeout(5):
            await socket.recv()


async def test_what_strangers_do_wrong_fills_no_log(stack, caplog):
    caplog.set_level(logging.INFO)
    url = f"ws://{stack.gateway.address}"
    for refused in ("/metrics/live?interval=0", "/nothing?secret=sesame", "/v1/nothing"):
        with pytest.raises(InvalidStatus):
            await connect(url + refused)
    with pytest.raises(InvalidStatus):
        await connect(f"{url}/metrics/live?secret=sesame", origin="http://evil.example")
    async with connect(f"{url}/metrics/live?secret=sesame") as socket:
        await socket.recv()
    upgrade = b"host: localhost\r\nconnection: upgrade\r\nupgrade: %b\r\n\r\n"
    for wrong in (
        b"NONSENSE / HTTP/1.1\r\n\r\n",
        b"GET /metrics/live HTTP/1.1\r\n" + upgrade % b"websocket",
    ):
        await everything(stack, wrong)
    await everything(stack, b"GET /livez HTTP/1.0\r\n" + upgrade % b"h2c")

    assert [] == [r.getMessage() for r in caplog.records if r.name.startswith("uvicorn.error")]


async def test_a_bug_still_reaches_the_log(caplog):
    log = logging.getLogger("uvicorn.error.connections")

    log.error("Exception in ASGI application\n", exc_info=ValueError("a bug"))

    assert ["Exception in ASGI application\n"] == [r.getMessage() for r in caplog.records]
