"""
`make bench-live`: how late live sockets are, and what thousands of them cost the gateway.

It starts the whole stack beside nothing and connects to the one gateway from this process, so that
the gateway's processor time is its own. Then some sockets stop to read, and the others are measured
again. The page's first paint and the answers from cache are measured before.
"""

import argparse
import asyncio
import itertools
import shutil
import statistics
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import uvloop
from playwright.async_api import async_playwright

from common.redis_listen import listen
from common.redis_names import METRICS_LIVE
from deploy.embedded.stack import Stack
from scripts.bench_live_report import Hits, Pushes, Report, late_ms, render, spread_ms
from scripts.bench_page import TARGET, facts, write
from scripts.bench_stack import bench_stack, figure
from scripts.bench_traffic import traffic
from scripts.benchmark_performance import benchmark
from scripts.live_clients import Client, connected
from scripts.screenshots import FLAGS

PAGE = Path(__file__).parents[1] / "services" / "gateway" / "dashboard" / "dist" / "index.html"
OFTEN_S, USUAL_S = 1, 5  # the shortest interval that a socket may want, and the default
REQUESTS_PER_S = 4  # that change the figures; they are pushed once a second at most
ASKED = 400  # by each stuck socket, so that every buffer on the way to it is full
ASK_EVERY_S = 0.01
MOST_KEPT = 2  # for a stuck socket: what was being sent to it, and the newest
SETTLE_S = 2.0
ROUNDS = 5
PAINTS = 7
PAINT = """new Promise((done) => new PerformanceObserver((seen) =>
    seen.getEntriesByName("first-contentful-paint").forEach((one) => done(one.startTime))
).observe({ type: "paint", buffered: true }))"""
PAINT_S = 30.0
MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Sizes:
    sockets: int
    stuck: int
    window_s: float
    requests: int


class Sockets:
    """Many sockets on one gateway, and what they hear."""

    def __init__(self, stack: Stack, sizes: Sizes) -> None:
        self._url = f"{stack.base_url.replace('http', 'ws', 1)}/metrics/live?interval="
        self._gateway = psutil.Process(stack.processes["gateway"].pid)
        self._sizes = sizes
        self._numbers: dict[bytes, int] = {}  # of snapshots, as they were first seen by anyone
        self._published: list[tuple[float, int]] = []  # in this window
        self._heard: list[list[tuple[float, int]]] = []

    def numbers(self) -> set[int]:
        """Return which snapshots were published since the last measurement began."""
        return {number for _, number in self._published}

    def published(self, snapshot: bytes) -> None:
        self._published.append((monotonic(), self._number(snapshot)))

    @asynccontextmanager
    async def open(self, interval_s: int) -> AsyncIterator[None]:
        """Connect them all; they are gone afterwards."""
        _say(f"connecting {self._sizes.sockets:,} sockets")
        self._heard = [[] for _ in range(self._sizes.sockets)]
        clients = [self._client(interval_s, heard) for heard in self._heard]
        try:
            await connected(clients)
            yield
            if lost := sum(client.lost for client in clients):
                raise SystemExit(f"the gateway closed {lost} sockets that did read")
        finally:
            for client in clients:
                client.close()

    @asynccontextmanager
    async def stuck(self) -> AsyncIterator[list[list[tuple[float, int]]]]:
        """Connect more, which ask and do not read; afterwards they do, and have what they heard."""
        _say(f"{self._sizes.stuck} more sockets ask {ASKED} times each, and read nothing")
        heard: list[list[tuple[float, int]]] = [[] for _ in range(self._sizes.stuck)]
        clients = [self._client(OFTEN_S, one) for one in heard]
        try:
            await connected(clients, small=True)
            for client in clients:
                client.stop_reading()
            for _ in range(ASKED):
                for client in clients:
                    client.ask()
                await asyncio.sleep(ASK_EVERY_S)
            yield heard
            for client in clients:
                client.resume_reading()
            await asyncio.sleep(SETTLE_S)
        finally:
            for client in clients:
                client.close()

    async def measure(self, name: str, interval_s: int) -> Pushes:
        """Listen for a while."""
        _say(f"listening for {self._sizes.window_s:.0f} s: {name}")
        await asyncio.sleep(SETTLE_S)
        self._published.clear()
        for heard in self._heard:
            heard.clear()
        began, spent_s = monotonic(), self._spent_s()
        await asyncio.sleep(self._sizes.window_s)
        ended = monotonic()
        ratio = (self._spent_s() - spent_s) / (ended - began)
        spread = spread_ms(self._published, self._heard, until=ended - interval_s - 1)
        if not all(self._heard) or not spread:
            raise SystemExit(f"{name}: too short to hear anything")
        return Pushes(
            name,
            interval_s,
            len(self._heard),
            sum(map(len, self._heard)),
            sorted(itertools.chain(*(late_ms(heard, interval_s) for heard in self._heard))),
            sorted(spread),
            ratio,
            self._gateway.memory_info().rss / MEBIBYTE,
        )

    def _client(self, interval_s: int, heard: list[tuple[float, int]]) -> Client:
        return Client(
            f"{self._url}{interval_s}",
            lambda snapshot: heard.append((monotonic(), self._number(snapshot))),
        )

    def _number(self, snapshot: bytes) -> int:
        return self._numbers.setdefault(snapshot, len(self._numbers))

    def _spent_s(self) -> float:
        times = self._gateway.cpu_times()
        return times.user + times.system


async def hits(stack: Stack, name: str, concurrent: int, requests: int) -> Hits:
    """Ask for the snapshot, round after round."""
    results: list[dict[str, Any]] = [
        await benchmark(
            stack.base_url, "/routing/metrics", concurrency=concurrent, requests=requests // ROUNDS
        )
        for _ in range(ROUNDS)
    ]
    if errors := sum(result["errors"] for result in results):
        raise SystemExit(f"/routing/metrics: {errors} errors")

    def middle(key: str) -> float:
        return float(statistics.median(result[key] for result in results))

    return Hits(
        name,
        concurrent,
        sum(result["total_requests"] for result in results),
        middle("requests_per_sec"),
        middle("median_latency_ms"),
        middle("p99_latency_ms"),
    )


async def paints(url: str) -> list[float]:
    """Open the page in new browsers; return the first contentful paint of each, in ms."""
    chromium = shutil.which("chromium")
    if chromium is None or not PAGE.is_file():
        _say("the page is left out: it needs chromium on the PATH, and `make dashboard`")
        return []
    _say("opening the page")
    found = []
    async with async_playwright() as playwright:
        for _ in range(PAINTS):
            browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = await browser.new_page()
            await page.goto(url)
            async with asyncio.timeout(PAINT_S):
                found.append(float(await page.evaluate(PAINT)))
            await browser.close()
    return found


async def run(sizes: Sizes) -> Report:
    """Start the stack, measure, stop it."""
    _say("starting everything")
    most = str(2 * sizes.sockets + sizes.stuck)  # those that just left are counted for a moment
    async with bench_stack(GATEWAY_LIVE_CLIENTS=most, SANDBOX_LATENCY_SCALE="0") as stack:
        assert stack.addresses is not None  # noqa: S101  it runs
        _say("asking for figures")
        found = [await hits(stack, "alone", n, sizes.requests) for n in (1, 10)]
        painted = await paints(stack.base_url)
        sockets = Sockets(stack, sizes)
        listening = asyncio.create_task(
            listen(stack.addresses.redis, METRICS_LIVE, sockets.published)
        )
        pushes = []
        async with traffic(stack.base_url, REQUESTS_PER_S):
            async with sockets.open(USUAL_S):
                pushes.append(await sockets.measure(f"every {USUAL_S} s", USUAL_S))
            async with sockets.open(OFTEN_S):
                pushes.append(await sockets.measure("every second", OFTEN_S))
                found.append(await hits(stack, "while sockets are served", 10, sizes.requests))
                async with sockets.stuck() as heard:
                    name = f"every second, {sizes.stuck} more stuck"
                    pushes.append(await sockets.measure(name, OFTEN_S))
                    unread = sockets.numbers()
                    served = await figure(stack, "gateway", "optimizer_ws_clients")
        listening.cancel()
    if gone := sizes.sockets + sizes.stuck - round(served):
        raise SystemExit(f"the gateway has parted from {gone} stuck sockets: too slow a machine")
    kept = max(len(unread.intersection(number for _, number in one)) for one in heard)
    if kept > MOST_KEPT:
        raise SystemExit("the stuck sockets were not stuck")
    return Report(found, painted, pushes, sizes.stuck, len(unread), kept)


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="make bench-live", description="Measure live sockets.")
    parser.add_argument("--sockets", type=int, default=2_000)
    parser.add_argument("--stuck", type=int, default=100)
    parser.add_argument("--window", type=float, default=15, help="seconds of listening")
    parser.add_argument("--requests", type=int, default=3_000, help="for /routing/metrics, a row")
    parser.add_argument("--output", type=Path, default=TARGET)
    asked = parser.parse_args(arguments)
    command = " ".join(["python -m scripts.bench_live", *arguments])
    told = facts(command if arguments else "make bench-live")
    sizes = Sizes(asked.sockets, asked.stuck, asked.window, asked.requests)
    section = render(uvloop.run(run(sizes)), told)
    write("live", section, asked.output)
    print(section)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
