"""Mixed load: plain, streamed and /complete; pinned and routed; some clients hang up."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp
import orjson

from tests.e2e.stack import StackUnderTest

MODELS = ("auto", "auto", "auto:cheapest", "sandbox/tiny", "sandbox/small", "sandbox/medium")
PATIENCE_S = 0.25  # those who hang up do so within this time
BACK_OFF_S = 1.0  # after a 503, as clients do that want to be served again
EXPECTED_UNDER_FIRE = frozenset({200, 502, 503, 504})


@dataclass(slots=True)
class Tally:
    statuses: Counter[int] = field(default_factory=Counter)
    hung_up: int = 0
    broken: Counter[str] = field(default_factory=Counter)  # answers that ended badly, by how
    odd: list[str] = field(default_factory=list)  # what should never happen

    @property
    def answered(self) -> int:
        return self.statuses[200]

    @property
    def total(self) -> int:
        return self.statuses.total() + self.hung_up + self.broken.total()


class Traffic:
    """Closed-loop clients that go on until their requests are sent or they are told to stop."""

    expected = EXPECTED_UNDER_FIRE

    def __init__(self, stack: StackUnderTest, *, seed: int, hang_up_ratio: float = 0) -> None:
        self.tally = Tally()
        self._stack = stack
        self._dice = random.Random(seed)
        self._hang_up_ratio = hang_up_ratio
        self._numbers = count()
        self._stop = asyncio.Event()
        self._seed = seed

    async def send(self, requests: int, *, clients: int = 16, think_s: float = 0) -> Tally:
        left = iter(range(requests))

        async def work() -> None:
            for _ in left:
                if self._stop.is_set():
                    return
                await self._one()
                if think_s:
                    await asyncio.sleep(think_s)

        await asyncio.gather(*(work() for _ in range(clients)))
        return self.tally

    def stop(self) -> None:
        self._stop.set()

    async def _one(self) -> None:
        hangs_up = self._dice.random() < self._hang_up_ratio
        patience_s = self._dice.random() * PATIENCE_S if hangs_up else None
        path, body = self._request()
        try:
            async with asyncio.timeout(patience_s):
                status = await self._ask(path, body)
            if status == 503:
                await asyncio.sleep(BACK_OFF_S)  # it was counted: no hang-up may count it again
        except TimeoutError:
            if hangs_up:
                self.tally.hung_up += 1
            else:
                self.tally.broken["timeout"] += 1
        except aiohttp.ClientError as error:
            self.tally.broken[type(error).__name__] += 1

    def _request(self) -> tuple[str, dict[str, Any]]:
        prompt = f"Question {self._seed}.{next(self._numbers)}: what is 17 * 23, and why?"
        if self._dice.random() < 0.4:
            # never the same prompt twice: what the cache answers is not on the bill
            return "/complete", {"prompt": prompt, "max_tokens": 60, "auto_route": True}
        return "/v1/chat/completions", {
            "model": self._dice.choice(MODELS),
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self._dice.choice((5, 20, 60)),
            "stream": self._dice.random() < 0.5,
        }

    async def _ask(self, path: str, body: dict[str, Any]) -> int:
        stack = self._stack
        async with stack.session.post(
            stack.base_url + path, json=body, headers=stack.headers
        ) as answer:
            data = await answer.read()
        if answer.status == 200 and body.get("stream"):
            problem = _stream_problem(data)
            if problem == "error event":
                self.tally.broken[problem] += 1
                return answer.status
            if problem:
                self.tally.odd.append(f"{problem}: {data[-300:]!r}")
        elif answer.status == 200:
            self._check_plain(path, data)
        elif answer.status not in self.expected:
            self.tally.odd.append(f"{answer.status}: {data[:300]!r}")
        self.tally.statuses[answer.status] += 1
        return answer.status

    def _check_plain(self, path: str, data: bytes) -> None:
        found = orjson.loads(data)
        text = (
            found["response"] if path == "/complete" else found["choices"][0]["message"]["content"]
        )
        if not text:
            self.tally.odd.append(f"an empty answer: {data[:300]!r}")


def _stream_problem(data: bytes) -> str | None:
    """A stream ends cleanly or says that it did not: anything between is a lie."""
    finished = b'"finish_reason":"' in data.replace(b'": "', b'":"')
    done = data.rstrip().endswith(b"data: [DONE]")
    if b'"error"' in data:
        return "finished and failed" if finished else "error event"
    if finished and done:
        return None
    return "a stream that just ended"
