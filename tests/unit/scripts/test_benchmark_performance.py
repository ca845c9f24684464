"""The benchmark counts what it says it counts."""

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from scripts.benchmark_performance import benchmark, main, percentile, summary

KEYS = {
    "total_requests",
    "concurrent",
    "total_time_s",
    "requests_per_sec",
    "avg_latency_ms",
    "median_latency_ms",
    "p95_latency_ms",
    "p99_latency_ms",
    "min_latency_ms",
    "max_latency_ms",
    "errors",
}


class Server:
    """Counts what it is asked, and how much of it at once."""

    def __init__(self):
        self.bodies = []
        self.most_at_once = 0
        self._now = 0

    async def answer(self, request):
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        self.bodies.append(await request.text())
        number = len(self.bodies)
        await asyncio.sleep(0.002)
        self._now -= 1
        if number % 10 == 0:
            return web.Response(status=503)
        return web.json_response({"ok": True})

    async def cut(self, request):
        request.transport.abort()
        return web.Response()

    async def stream(self, request):
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b'data: {"choices": []}\n\n')
        await answer.write(b"data: [DONE]\n\n" if "whole" in request.path else b"data: {}\n\n")
        return answer


@pytest.fixture
async def server():
    counted = Server()
    app = web.Application()
    app.router.add_route("*", "/answer", counted.answer)
    app.router.add_route("*", "/cut", counted.cut)
    app.router.add_route("*", "/whole-stream", counted.stream)
    app.router.add_route("*", "/broken-stream", counted.stream)
    async with TestServer(app) as running:
        counted.url = str(running.make_url("/")).rstrip("/")
        yield counted


async def test_every_request_is_sent_once_and_errors_are_counted_apart(server):
    result = await benchmark(server.url, "/answer", concurrency=4, requests=100, warm_up=0)

    assert KEYS == result.keys()
    assert (100, 100, 10, 4, 4) == (
        len(server.bodies),
        result["total_requests"],
        result["errors"],
        result["concurrent"],
        server.most_at_once,
    )
    assert result["requests_per_sec"] == pytest.approx(90 / result["total_time_s"])
    assert 2 <= result["min_latency_ms"] <= result["median_latency_ms"] <= result["max_latency_ms"]


async def test_the_warm_up_is_not_measured(server):
    result = await benchmark(server.url, "/answer", concurrency=2, requests=10, warm_up=30)

    assert (40, 10) == (len(server.bodies), result["total_requests"])


async def test_each_body_can_be_different(server):
    await benchmark(
        server.url,
        "/answer",
        method="POST",
        body='{"prompt": "{n}"}',
        concurrency=3,
        requests=20,
        warm_up=0,
    )

    assert {str(n) for n in range(20)} == {json.loads(body)["prompt"] for body in server.bodies}


async def test_a_connection_that_is_cut_is_an_error_and_not_repeated(server):
    result = await benchmark(server.url, "/cut", concurrency=2, requests=6, warm_up=0)

    assert {"error": "No successful requests", "errors": 6} == result


async def test_nobody_there_is_an_error_too():
    result = await benchmark("http://127.0.0.1:1", "/", concurrency=2, requests=4, warm_up=0)

    assert {"error": "No successful requests", "errors": 4} == result


async def test_an_answer_that_does_not_come_is_an_error(server):
    result = await benchmark(
        server.url, "/answer", concurrency=1, requests=2, warm_up=0, timeout_s=0.0005
    )

    assert {"error": "No successful requests", "errors": 2} == result


@pytest.mark.parametrize(("path", "errors"), [("/whole-stream", 0), ("/broken-stream", 5)])
async def test_a_stream_without_its_end_is_an_error(server, path, errors):
    result = await benchmark(server.url, path, concurrency=1, requests=5, warm_up=0)

    assert errors == result["errors"]


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50), (95, 95), (99, 99), (100, 100), (1, 1)]
)
def test_a_percentile_is_a_value_that_was_measured(percent, expected):
    assert expected == percentile(range(1, 101), percent)


def test_one_request_is_its_own_percentile():
    assert 7 == percentile([7], 99)


def test_milliseconds_come_from_seconds():
    assert {"avg": 20.0, "median": 20.0, "rate": 2.0} == {
        "avg": summary([0.01, 0.03], 0, 1, 1.0)["avg_latency_ms"],
        "median": summary([0.01, 0.03], 0, 1, 1.0)["median_latency_ms"],
        "rate": summary([0.01, 0.03], 0, 1, 1.0)["requests_per_sec"],
    }


def test_the_command_prints_json_and_fails_when_nothing_succeeds(capsys):
    exit_code = main(["--url", "http://127.0.0.1:1", "--requests", "3", "--json", "--warm-up", "0"])

    assert (1, {"error": "No successful requests", "errors": 3}) == (
        exit_code,
        json.loads(capsys.readouterr().out),
    )


@pytest.mark.parametrize("argument", ["0", "-1", "many"])
def test_a_count_below_one_is_refused(argument):
    with pytest.raises(SystemExit):
        main(["--requests", argument])
