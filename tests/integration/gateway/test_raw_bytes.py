"""Bytes that no client library sends, and handshakes that fail: refused in our shape too."""

import asyncio
from contextlib import suppress

import orjson
import pytest

from tests.gateway_fakes import Stack

HELLO = b'{"model":"auto","messages":[{"role":"user","content":"Hello"}]}'


async def raw(stack: Stack, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are; return status, headers and body."""
    reader, writer = await asyncio.open_connection(*stack.address)
    writer.write(request)
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")[:-2]
        headers = {k.lower(): v for k, _, v in (f.partition(": ") for f in fields)}
        body = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    return int(line.split()[1]), headers, body


def a_request(*headers: bytes, line: bytes = b"POST /v1/chat/completions HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *headers, b"", b""])


LENGTH = b"content-length: %d" % len(HELLO)
CLOSE = b"connection: close"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (a_request(b"host: localhost", LENGTH) + HELLO, 200),
        (a_request(b"host: localhost", b"host: localhost", LENGTH) + HELLO, 400),
        (a_request(b"host: localhost", b"host: evil.example", LENGTH) + HELLO, 400),
        (a_request(LENGTH) + HELLO, 400),
        (a_request(b"host: evil.example", LENGTH) + HELLO, 403),
        (a_request(b"host: localhost.evil.example", LENGTH) + HELLO, 403),
        (a_request(b"host: 127.0.0.1.evil.example:80", LENGTH) + HELLO, 403),
        (a_request(b"host: ", LENGTH) + HELLO, 403),
        (a_request(b"host: LOCALHOST:1234", LENGTH) + HELLO, 200),
        (a_request(b"host: [::1]", LENGTH) + HELLO, 200),
        (a_request(b"host: [::1]:80", LENGTH) + HELLO, 200),
        (a_request(b"host: localhost", LENGTH, LENGTH) + HELLO, 400),
        (a_request(b"host: localhost", LENGTH, b"content-length: 5") + HELLO, 400),
        (a_request(b"host: localhost", b"content-length: -1") + HELLO, 400),
        (a_request(b"host: localhost", b"content-length: 1e3") + HELLO, 400),
        (a_request(b"host: localhost", LENGTH, b"transfer-encoding: chunked") + HELLO, 400),
        (a_request(b"host: localhost", b"authorization: Bearer \xc3\xa9", LENGTH) + HELLO, 401),
        (a_request(b"host: localhost", b"x-api-key: \xff", LENGTH) + HELLO, 401),
        (a_request(b"host: localhost", b"x: a\x00b", LENGTH) + HELLO, 400),
        (a_request(b"host: localhost", b"no colon", LENGTH) + HELLO, 400),
        (a_request(b"host: localhost", line=b"GET /\xff HTTP/1.1"), 400),
        (a_request(b"host: localhost", line=b"GET / HTTP/9.9"), 400),
        (a_request(b"host: localhost", line=b"NONSENSE / HTTP/1.1"), 400),
        (a_request(b"host: localhost", line=b"CONNECT localhost:80 HTTP/1.1"), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (a_request(b"host: localhost", b"origin: https://evil.example", LENGTH) + HELLO, 403),
        (a_request(b"host: localhost", b"origin: null", LENGTH) + HELLO, 403),
        (a_request(b"host: localhost", b"origin: http://[", LENGTH) + HELLO, 403),
        (a_request(b"host: localhost", b"origin: http://localhost", LENGTH) + HELLO, 200),
        (a_request(b"host: localhost", b"origin: http://localhost:3000", LENGTH) + HELLO, 403),
        (a_request(b"host: localhost", b"sec-fetch-site: same-site", LENGTH) + HELLO, 403),
        (a_request(b"host: localhost", b"sec-fetch-site: cross-site", LENGTH) + HELLO, 403),
    ],
    ids=lambda value: repr(value)[:90] if isinstance(value, bytes) else None,
)
async def test_bytes_that_no_client_library_sends(stack, request_, expected):
    status, headers, body = await raw(stack, request_)

    assert status == expected, body
    assert headers["x-request-id"] == headers["request-id"]
    assert headers["content-type"] == "application/json"
    orjson.loads(body)


async def test_a_head_without_end_is_cut_off(stack):
    reader, writer = await asyncio.open_connection(*stack.address)
    ended = asyncio.create_task(reader.read())
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ")
    sent = 0
    with suppress(ConnectionError):
        while not ended.done() and sent < 5_000_000:
            writer.write(b"x" * 10_000)
            await writer.drain()
            sent += 10_000
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await asyncio.gather(ended, return_exceptions=True)
    writer.close()

    assert sent < 5_000_000


async def test_an_upgrade_to_nothing_is_4xx(stack):
    status, headers, body = await raw(
        stack,
        a_request(
            b"host: localhost",
            b"connection: upgrade",
            b"upgrade: websocket",
            b"sec-websocket-version: 13",
            b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            line=b"GET /v1/models HTTP/1.1",
        ),
    )

    assert status == 404
    assert headers["x-request-id"]
    assert orjson.loads(body)["code"] == "not_found"


KEY = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = b"sec-websocket-version: 13"


@pytest.mark.parametrize(
    ("headers", "line", "expected"),
    [
        ((VERSION,), b"GET /metrics/live HTTP/1.1", 400),
        ((KEY,), b"GET /metrics/live HTTP/1.1", 400),
        ((KEY, KEY, VERSION), b"GET /metrics/live HTTP/1.1", 400),
        ((KEY, b"sec-websocket-version: 7"), b"GET /metrics/live HTTP/1.1", 400),
        ((KEY, VERSION, b"cookie: " + b"x" * 10_000), b"GET /metrics/live HTTP/1.1", 400),
        ((KEY, VERSION, *[b"h: 1"] * 200), b"GET /metrics/live HTTP/1.1", 400),
        ((KEY, VERSION), b"GET /metrics/live?x=" + b"x" * 10_000 + b" HTTP/1.1", 400),
        ((KEY, VERSION), b"POST /metrics/live HTTP/1.1", 405),
        ((KEY, VERSION, b"host: localhost"), b"GET /metrics/live HTTP/1.1", 400),
        ((KEY, VERSION, b"authorization: \xff"), b"GET /metrics/live HTTP/1.1", 401),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_a_handshake_that_fails_is_4xx_in_our_shape(stack, headers, line, expected):
    upgrade = (b"host: localhost", b"connection: upgrade", b"upgrade: websocket")

    status, told, body = await raw(stack, a_request(*upgrade, *headers, line=line))

    assert status == expected
    assert told["x-request-id"] == told["request-id"]
    assert orjson.loads(body).keys() == {"detail", "code"}
