"""Providers that all fail, requests that make no sense: clear errors, and nothing half-written."""

import asyncio

import orjson
import pytest

from tests.e2e.books import closed_books

OPENAI_KEYS = {"message", "type", "param", "code"}


@pytest.mark.parametrize("stream", [False, True])
async def test_when_all_fail_the_answer_names_what_was_tried(stack, since, stream):
    reply = await stack.chat(f"{since} [[fault:status=503]]", stream=stream)

    error = reply.json["error"]
    assert 502 == reply.status
    assert OPENAI_KEYS == error.keys()
    assert "sandbox/" in error["message"]
    assert "127.0.0.1" not in error["message"]
    assert "x-should-retry" not in reply.headers
    assert [] == (await closed_books(stack, since)).problems()


async def test_a_failure_that_was_billed_must_not_be_retried(stack, since):
    reply = await stack.chat(f"{since} [[fault:cut_after=1]]", model="sandbox/medium")

    books = await closed_books(stack, since)
    assert (502, "false") == (reply.status, reply.headers["x-should-retry"])
    assert len(books.bill) >= 1
    assert [] == books.problems()


async def test_a_stream_that_breaks_ends_in_an_error_and_no_finish(stack, since):
    reply = await stack.chat(f"{since} [[fault:cut_after=3]]", model="sandbox/large", stream=True)

    events = [part for part in reply.body.split(b"\n\n") if part.startswith(b"data: ")]
    last = orjson.loads(events[-1].removeprefix(b"data: "))
    assert 200 == reply.status
    assert OPENAI_KEYS == last["error"].keys()
    assert b"[DONE]" not in reply.body
    assert b'"finish_reason":"' not in reply.body
    assert [] == (await closed_books(stack, since)).problems()


async def test_one_that_fails_is_replaced_before_anyone_notices(stack, since):
    reply = await stack.chat(
        f"What is 6 * 7? {since} [[fault:status=500,models=tiny]]", model="auto:cheapest"
    )

    books = await closed_books(stack, since)
    assert 200 == reply.status
    assert "sandbox/tiny" != reply.headers["x-optimizer-model"]
    assert int(reply.headers["x-optimizer-fallbacks"]) >= 1
    assert [] == books.problems()


# What no server must trip over. On /v1 as OpenAI says it, elsewhere as {"detail", "code"}.
BODIES = {
    "nothing": b"",
    "broken": b'{"prompt": ',
    "null": b"null",
    "an array": b"[]",
    "a string": b'"prompt"',
    "a number": b"1e400",
    "NaN": b'{"prompt": NaN, "messages": NaN, "model": "auto"}',
    "bad UTF-8": b'{"prompt": "\xff\xfe", "model": "auto"}',
    "a lone surrogate": b'{"prompt": "\\ud800", "model": "auto", "messages": []}',
    "NUL": b'{"prompt": "a\\u0000b", "model": "auto\\u0000", "messages": []}',
    "5,000 levels": b'{"prompt": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "wrong types": b'{"prompt": 7, "model": [], "messages": "x", "max_tokens": "many"}',
    "emptiness": b'{"prompt": "", "model": "", "messages": []}',
    "nothing known": b'{"foo": 1}',
    "too much wanted": b'{"prompt": "x", "max_tokens": 10001, "model": "auto", "messages": 3}',
    "infinity": b'{"prompt": "x", "max_tokens": 1e999, "model": "auto", "messages": 3}',
    "an absurd experiment": b'{"prompt":"x","experiment_id":99999999999999999999,"user_id":"u",'
    b'"model":"auto","messages":0}',
}


@pytest.mark.parametrize("path", ["/complete", "/v1/chat/completions"])
@pytest.mark.parametrize("name", BODIES)
async def test_nonsense_is_refused_in_the_right_shape(stack, since, name, path):
    reply = await stack.call("POST", path, BODIES[name], headers={})

    assert reply.status in (400, 404, 413, 422), reply
    check_shape(reply, path)
    assert [] == (await closed_books(stack, since)).rows


@pytest.mark.parametrize("path", ["/complete", "/v1/chat/completions"])
async def test_forty_megabytes_are_too_much(stack, path):
    reply = await stack.call("POST", path, b'{"prompt": "' + b"a" * 40_000_000 + b'"}', headers={})

    assert 413 == reply.status
    check_shape(reply, path)


@pytest.mark.parametrize("path", ["/complete", "/v1/chat/completions", "/health"])
@pytest.mark.parametrize(
    "lines",
    [
        b"Host: a\r\nHost: b\r\n",
        b"Host: 127.0.0.1\r\nAuthorization: Bearer \xc3\xa9\xff\r\n",
        b"Host: 127.0.0.1\r\nBroken header\r\n",
        b"Host: 127.0.0.1\r\nContent-Length: many\r\n",
        b"Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ],
)
async def test_broken_headers_are_no_server_error(stack, path, lines):
    address = stack.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(address[0], int(address[1]))
    writer.write(b"POST %b HTTP/1.1\r\n%bConnection: close\r\n\r\n{}" % (path.encode(), lines))
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    status = int(answer.split(b" ", 2)[1])
    assert 400 <= status < 500, answer
    assert b"Traceback" not in answer


async def test_an_unknown_route_is_404_in_both_shapes(stack):
    for path in ("/v1/nothing", "/nothing"):
        reply = await stack.get(path)
        assert 404 == reply.status
        check_shape(reply, path)


def check_shape(reply, path):
    found = reply.json
    if path.startswith("/v1"):
        assert OPENAI_KEYS == found["error"].keys()
        assert found["error"]["message"]
    else:
        assert isinstance(found["detail"], str)
        assert found["code"]
    assert reply.headers["x-request-id"] == reply.headers["request-id"]
