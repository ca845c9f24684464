"""
`make demo`: sends realistic traffic to a running gateway and prints what was saved.

Prompts of different difficulty, several users, some streamed. Each answer is rated by whether
the sandbox was right, which is what real users would tell. Real providers are never asked.
"""

import argparse
import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deploy.embedded import environment
from sandbox.skill import is_right
from scripts.prompts import prompts

USERS = ("ada", "bashir", "chen", "dolores", "emeka", "freya", "goran", "hana")
STREAMED_RATIO = 0.3
RATED_RATIO = 0.5
CATCH_UP_S = 45.0  # the figures are cached for up to 30 s
TIMEOUT = aiohttp.ClientTimeout(total=120)


class Problem(Exception):  # noqa: N818  # shown as it is, without a traceback
    """Why there is no demo, and what to do about it."""


@dataclass(slots=True)
class Tally:
    answered: Counter[str] = field(default_factory=Counter)  # by model
    right: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)  # by reason
    rated: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    request_id: str
    model: str  # "provider/model"


class Demo:
    def __init__(self, session: aiohttp.ClientSession, url: str, seed: int) -> None:
        self.tally = Tally()
        self._session = session
        self._url = url
        self._dice = random.Random(seed)
        self._seed = int(os.environ.get("SANDBOX_SEED") or 0)

    async def check(self) -> None:
        """
        Make sure that there is a gateway and that nothing here costs real money.

        Raises:
            Problem: there is none, or a real provider is on.
        """
        try:
            providers = (await self._get("/providers"))["providers"]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Problem(
                f"no gateway answers at {self._url} ({error}): `make run` first"
            ) from None
        real = [one["name"] for one in providers if one["enabled"] and not one["sandbox"]]
        if real:
            raise Problem(
                f"real providers are on ({', '.join(real)}): the demo would spend your money."
                " Unset their keys and start the gateway again."
            )
        if not any(one["enabled"] for one in providers):
            raise Problem("no provider is on: GET /providers says why")

    async def work(self, todo: Iterator[str], done: Progress, bar: Any) -> None:
        """Send prompts until there are no more, and rate some of the answers."""
        for prompt in todo:
            user = self._dice.choice(USERS)
            streamed = self._dice.random() < STREAMED_RATIO
            try:
                answer = await (self._stream if streamed else self._complete)(prompt, user)
                await self._rate(answer, prompt)
            except (aiohttp.ClientError, TimeoutError, Problem) as error:
                self.tally.failed[str(error) or type(error).__name__] += 1
            done.advance(bar)

    async def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._get("/routing/metrics")
        return found

    async def metrics_after(self, decisions: int) -> dict[str, Any]:
        """Return the figures once they include *decisions*, or as they are when time is up."""
        found = await self.metrics()
        try:
            async with asyncio.timeout(CATCH_UP_S):
                while found["total_decisions"] < decisions:
                    await asyncio.sleep(1)
                    found = await self.metrics()
        except TimeoutError:
            pass
        return found

    async def _complete(self, prompt: str, user: str) -> Answer:
        body = {"prompt": prompt, "auto_route": True, "max_tokens": 400, "user_id": user}
        async with self._session.post(f"{self._url}/complete", json=body) as reply:
            found = await _json(reply)
        return Answer(found["request_id"], found["model"])

    async def _stream(self, prompt: str, user: str) -> Answer:
        body = {
            "model": "auto",
            "stream": True,
            "user": user,
            "messages": [{"role": "user", "content": prompt}],
        }
        async with self._session.post(f"{self._url}/v1/chat/completions", json=body) as reply:
            if reply.status != 200:  # noqa: PLR2004  OK
                await _json(reply)
            events = (await reply.read()).split(b"\n\n")
        if b"data: [DONE]" not in events:
            raise Problem("a stream broke off")
        return Answer(reply.headers["x-request-id"], reply.headers["x-optimizer-model"])

    async def _rate(self, answer: Answer, prompt: str) -> None:
        right = is_right(answer.model.partition("/")[2], prompt, seed=self._seed)
        self.tally.answered[answer.model] += 1
        self.tally.right[answer.model] += right
        if self._dice.random() >= RATED_RATIO:
            return
        body = {
            "request_id": answer.request_id,
            "quality_score": self._dice.choice((4, 5) if right else (1, 2)),
            "is_correct": right,
        }
        async with self._session.post(f"{self._url}/production/feedback", json=body) as reply:
            await _json(reply)
        self.tally.rated += 1

    async def _get(self, path: str) -> Any:
        async with self._session.get(self._url + path) as reply:
            return await _json(reply)


async def _json(reply: aiohttp.ClientResponse) -> Any:
    try:
        found = orjson.loads(await reply.read())
    except ValueError:
        found = {}
    if reply.status != 200:  # noqa: PLR2004  OK
        said = found.get("detail") or (found.get("error") or {}).get("message") or reply.reason
        raise Problem(f"{reply.status}: {said}")
    return found


def report(
    console: Console, tally: Tally, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Print who answered and what was saved."""
    models = Table(title="Who answered (simulated models)")
    for column in ("model", "answers", "right"):
        models.add_column(column, justify="left" if column == "model" else "right")
    for model, count in tally.answered.most_common():
        models.add_row(model, f"{count:,}", f"{tally.right[model] / count:.0%}")
    console.print(models)
    answered = sum(tally.answered.values())
    if answered:
        console.print(
            f"right overall: {sum(tally.right.values()) / answered:.0%}; {tally.rated:,} rated"
        )

    savings = after["cost_savings"]
    money = Table(title=f"Saved over {after['period_days']} days")
    money.add_column("")
    money.add_column("USD", justify="right")
    money.add_row("everything on the baseline model", _usd(savings["baseline_cost"]))
    money.add_row("as it was routed", _usd(savings["intelligent_cost"]))
    money.add_row("[bold]saved[/bold]", f"[bold]{_usd(savings['total_saved'])}[/bold]")
    console.print(money)
    new = after["total_decisions"] - before["total_decisions"]
    percent = savings["percent_saved"]
    share = "" if percent is None else f"{percent:.1f} % saved. "
    console.print(f"{share}{new:,} of {after['total_decisions']:,} decisions are from this demo.")
    for reason, count in tally.failed.most_common():
        console.print(f"[red]{count} failed[/red]: {reason}", highlight=False)


def _usd(amount: float | None) -> str:
    return "unpriced" if amount is None else f"{amount:.6f}"


async def run(url: str, key: str, requests: int, concurrency: int, seed: int) -> int:
    """Run the demo; exit 1 if nothing was answered."""
    console = Console()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(headers=headers, timeout=TIMEOUT) as session:
        demo = Demo(session, url.rstrip("/"), seed)
        await demo.check()
        before = await demo.metrics()
        todo = islice(prompts(seed), requests)
        columns = (TextColumn("asking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("asking", total=requests)
            await asyncio.gather(*(demo.work(todo, progress, bar) for _ in range(concurrency)))
        answered = sum(demo.tally.answered.values())
        with console.status("waiting for the figures to include it all"):
            after = await demo.metrics_after(before["total_decisions"] + answered)
    report(console, demo.tally, before, after)
    return 0 if answered else 1


def main(arguments: Sequence[str]) -> int:
    """Read the arguments, and what `make run` reads too; then run."""
    user = environment.read(Path(".env"))
    parser = argparse.ArgumentParser(prog="make demo", description="Send realistic traffic.")
    url = user.get("GATEWAY_URL") or "http://127.0.0.1:8000"
    parser.add_argument("--url", default=url, help="default: GATEWAY_URL, or this machine's")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked = parser.parse_args(arguments)
    key = user.get("GATEWAY_API_KEY") or user.get("GATEWAY_ADMIN_KEY") or ""
    try:
        return uvloop.run(run(asked.url, key, asked.requests, asked.concurrency, asked.seed))
    except Problem as problem:
        print(f"no demo: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
