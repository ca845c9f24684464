"""
Measures one HTTP endpoint with closed-loop workers: each sends its next request when its last
one is answered, no batch waits for its slowest.

    python -m scripts.benchmark_performance --path /health --concurrency 10 --requests 2000
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import uvloop

from scripts.http_client import Connection, Target

NUMBER = "{n}"  # in a body: the request's number, so that no answer comes from a cache
_OK = range(200, 400)


@dataclass(slots=True)
class _Tally:
    latencies_s: list[float] = field(default_factory=list)
    errors: int = 0


async def benchmark(
    url: str,
    path: str = "/",
    *,
    method: str = "GET",
    body: str | None = None,
    concurrency: int = 10,
    requests: int = 1_000,
    warm_up: int | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 60,
) -> dict[str, Any]:
    """
    Send *requests* requests, *concurrency* at a time, and say how long they took.

    An error is a status of 400 or above, a broken connection, no answer within *timeout_s*, or an
    event stream without its end. Errors have no latency. `{n}` in *body* becomes the number of the
    request. *warm_up* requests are sent before the clock starts; None: a tenth, two a worker.
    """
    target = Target.of(url, path, method, dict(headers or {}))
    bodies = ((body or "").replace(NUMBER, str(n)).encode() for n in itertools.count())
    connections = [Connection(target) for _ in range(concurrency)]
    if warm_up is None:
        warm_up = max(requests // 10, 2 * concurrency)

    async def run(count: int) -> _Tally:
        tally = _Tally()
        todo = itertools.islice(bodies, count)
        await asyncio.gather(*(_work(one, todo, timeout_s, tally) for one in connections))
        return tally

    try:
        await run(warm_up)
        started = perf_counter()
        tally = await run(requests)
        total_time_s = perf_counter() - started
    finally:
        for connection in connections:
            connection.close()
    return summary(tally.latencies_s, tally.errors, concurrency, total_time_s)


async def _work(
    connection: Connection,
    todo: Iterator[bytes],
    timeout_s: float,
    tally: _Tally,
) -> None:
    for body in todo:
        started = perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                status = await connection.send(body)
        except (OSError, TimeoutError):
            connection.close()
            tally.errors += 1
            continue
        if status in _OK and connection.answered_fully():
            tally.latencies_s.append(perf_counter() - started)
        else:
            tally.errors += 1


def summary(
    latencies_s: Sequence[float], errors: int, concurrent: int, total_time_s: float
) -> dict[str, Any]:
    """Summarise the latencies of the answers; times in ms unless named otherwise."""
    if not latencies_s:
        return {"error": "No successful requests", "errors": errors}
    ordered = sorted(1_000 * latency for latency in latencies_s)
    return {
        "total_requests": len(ordered) + errors,
        "concurrent": concurrent,
        "total_time_s": total_time_s,
        "requests_per_sec": len(ordered) / total_time_s,
        "avg_latency_ms": statistics.fmean(ordered),
        "median_latency_ms": statistics.median(ordered),
        "p95_latency_ms": percentile(ordered, 95),
        "p99_latency_ms": percentile(ordered, 99),
        "min_latency_ms": ordered[0],
        "max_latency_ms": ordered[-1],
        "errors": errors,
    }


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the smallest value that at least *percent* of the *ordered* values do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.benchmark_performance", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--path", default="/health")
    parser.add_argument("--method", help="default: GET, or POST with a body")
    parser.add_argument("--body", help="JSON; {n} in it becomes the request's number")
    parser.add_argument("--header", action="append", default=[], help="'name: value'; repeatable")
    parser.add_argument("--concurrency", type=_positive, default=10)
    parser.add_argument("--requests", type=_positive, default=1_000)
    parser.add_argument("--warm-up", type=int, help="default: a tenth, at least two a worker")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for one answer")
    parser.add_argument("--json", action="store_true", help="print the result as JSON only")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main(arguments: Sequence[str]) -> int:
    """Measure and print; exit 1 when nothing succeeded."""
    asked = _arguments(arguments)
    headers = dict(one.split(":", 1) for one in asked.header)
    result = uvloop.run(
        benchmark(
            asked.url,
            asked.path,
            method=asked.method or ("POST" if asked.body else "GET"),
            body=asked.body,
            concurrency=asked.concurrency,
            requests=asked.requests,
            warm_up=asked.warm_up,
            headers={name.strip(): value.strip() for name, value in headers.items()},
            timeout_s=asked.timeout,
        )
    )
    if asked.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:20} {value:,.2f}" if isinstance(value, float) else f"{name:20} {value}")
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
