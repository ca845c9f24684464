"""
`make bench`: measures the promises; writes its section of docs/reference/performance.md.

It starts the whole stack with every feature on, beside it nothing, the sandbox without delay. The
rows are measured in turn, round after round, so that a slow moment of the machine hits all alike;
what is reported is the median of the rounds.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
import uvloop

from deploy.embedded.stack import Stack
from scripts.bench_page import TARGET, facts, write
from scripts.bench_report import Memory, Report, Row, render
from scripts.bench_stack import bench_stack
from scripts.benchmark_performance import benchmark

CHAT = "/v1/chat/completions"
LOAD = 64  # in flight, of the rows under load
PROMPT = "Explain in one sentence how request {n} of round %s is routed, and what it costs."
MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    where: str  # gateway or sandbox
    path: str
    concurrent: int
    requests: int  # a round
    body: str | None = None  # `{n}` and `%s` become the request's and the round's number


def cases(scale: float) -> list[Case]:
    """List what is measured; *scale* multiplies the requests."""

    def count(requests: int) -> int:
        return max(20, round(requests * scale))

    chat = '{"model": "%s", "max_tokens": 20, "messages": [{"role": "user", "content": "%s"}]%s}'
    plain, stream = "", ', "stream": true'
    through = {kind: chat % ("auto", PROMPT, kind) for kind in (plain, stream)}
    direct = {kind: chat % ("small", PROMPT, kind) for kind in (plain, stream)}
    complete = f'{{"prompt": "{PROMPT}", "max_tokens": 20, "auto_route": true}}'
    return [
        Case("GET /routing/metrics", "gateway", "/routing/metrics", 10, count(2_000)),
        Case("GET /health", "gateway", "/health", 10, count(2_000)),
        Case("chat, sandbox alone", "sandbox", CHAT, 1, count(500), direct[plain]),
        Case("chat", "gateway", CHAT, 1, count(300), through[plain]),
        Case("POST /complete", "gateway", "/complete", 1, count(300), complete),
        Case("stream, sandbox alone", "sandbox", CHAT, 1, count(200), direct[stream]),
        Case("stream", "gateway", CHAT, 1, count(150), through[stream]),
        Case("chat, sandbox alone", "sandbox", CHAT, LOAD, count(4_000), direct[plain]),
        Case("chat", "gateway", CHAT, LOAD, count(2_000), through[plain]),
        Case("POST /complete", "gateway", "/complete", LOAD, count(2_000), complete),
        Case("stream, sandbox alone", "sandbox", CHAT, LOAD, count(1_000), direct[stream]),
        Case("stream", "gateway", CHAT, LOAD, count(600), through[stream]),
    ]


class Bench:
    def __init__(self, stack: Stack, scale: float) -> None:
        self._stack = stack
        self._cases = cases(scale)
        self._urls = {"gateway": stack.base_url, "sandbox": stack.sandbox_url}
        self._sent = 0

    async def rounds(self, count: int) -> list[Row]:
        """Measure every case in every round; a round before them warms everything up."""
        found: dict[Case, list[dict[str, Any]]] = {case: [] for case in self._cases}
        for number in range(count + 1):
            _say(f"round {number} of {count}" if number else "warming up")
            for case in self._cases:
                result = await self._measure(case, f"{number}")
                if number:
                    found[case].append(result)
        return [_row(case, results) for case, results in found.items()]

    async def memory(self, requests: int) -> list[Memory]:
        """Send many requests and say what the gateway and the router weigh, now and then."""
        case = next(c for c in self._cases if c.where == "gateway" and c.concurrent == LOAD)
        steps = 5
        weights = [self._weigh()]
        for step in range(steps):
            _say(f"memory: {requests * (step + 1) // steps:,} of {requests:,} requests")
            body = (case.body or "").replace("%s", f"memory {step}")
            result = await benchmark(
                self._urls["gateway"],
                case.path,
                method="POST",
                body=body,
                concurrency=LOAD,
                requests=requests // steps,
                warm_up=0,
            )
            self._sent += requests // steps
            if result["errors"]:
                raise SystemExit(f"{result['errors']} requests failed while measuring memory")
            weights.append(self._weigh())
        return weights

    async def _measure(self, case: Case, number: str) -> dict[str, Any]:
        body = None if case.body is None else case.body.replace("%s", number)
        result = await benchmark(
            self._urls[case.where],
            case.path,
            method="GET" if body is None else "POST",
            body=body,
            concurrency=case.concurrent,
            requests=case.requests,
            warm_up=case.concurrent,
        )
        if result["errors"]:
            raise SystemExit(f"{case.name} at {case.concurrent}: {result['errors']} errors")
        if case.where == "gateway":
            self._sent += case.requests + case.concurrent
        return result

    def _weigh(self) -> Memory:
        weights = {}
        for name in ("gateway", "router"):
            pid = self._stack.processes[name].pid
            weights[name] = psutil.Process(pid).memory_info().rss / MEBIBYTE
        return Memory(self._sent, weights["gateway"], weights["router"])


def _row(case: Case, results: Sequence[Mapping[str, Any]]) -> Row:
    def middle(key: str) -> float:
        return float(statistics.median(result[key] for result in results))

    return Row(
        case.name,
        case.concurrent,
        sum(result["total_requests"] for result in results),
        middle("requests_per_sec"),
        middle("median_latency_ms"),
        middle("p95_latency_ms"),
        middle("p99_latency_ms"),
    )


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


async def run(rounds: int, scale: float, memory_requests: int) -> Report:
    """Start the stack, measure, stop it."""
    _say("starting everything")
    began = perf_counter()
    async with bench_stack(SANDBOX_LATENCY_SCALE="0") as stack:
        start_s = perf_counter() - began
        bench = Bench(stack, scale)
        rows = await bench.rounds(rounds)
        memory = await bench.memory(memory_requests) if memory_requests else []
    return Report(rows, memory, start_s)


def main(arguments: Sequence[str]) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure this machine.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="times the requests of a round")
    parser.add_argument(
        "--memory-requests", type=int, default=50_000, help="0: do not measure memory"
    )
    parser.add_argument("--output", type=Path, default=TARGET)
    asked = parser.parse_args(arguments)
    command = " ".join(["python -m scripts.bench", *arguments]) if arguments else "make bench"
    told = facts(command)
    report = uvloop.run(run(asked.rounds, asked.scale, asked.memory_requests))
    section = render(report, told)
    write("requests", section, asked.output)
    print(section)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
