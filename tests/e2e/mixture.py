"""All that can happen to a request, by chance: over HTTP, and as rows that others once wrote."""

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from common.ids import first_id_at
from tests.e2e.stack import StackUnderTest
from tests.e2e.traffic import EXPECTED_UNDER_FIRE, Traffic

UNPRICED = "sandbox/unpriced"
MODELS = (
    *("auto",) * 4,
    "auto:cheapest",
    "auto:cascade",
    "sandbox/tiny",
    "sandbox/large",
    UNPRICED,
)
FAULTS = (
    *("status=429,times=1,retry_after=0", "status=500,models=tiny|small") * 3,
    *("cut_after=3", "cut_after=2,models=tiny", "end_after=4,models=small|medium") * 2,
    *("no_usage", "error_after_billing,times=1", "garbage_after=2,times=1", "status=503"),
    *("hang,times=1", "stall_after=2,models=tiny|small", "insufficient_quota,models=tiny,times=1"),
)
FAULTY_RATIO, REPEATED_RATIO, COMPLETE_RATIO = 0.17, 0.15, 0.3
REPEATED = 25  # questions

WRITTEN = "written"  # the tenant of rows that no router of this stack wrote
WRITTEN_MODELS = [("acme", f"acme/m{n:02}") for n in range(14)] + [
    ("zeta", "zeta/one"),
    (None, None),
]
OUTCOMES = ["ok"] * 6 + ["failed", "cancelled", "truncated", "unknown"]
REACH = (timedelta(minutes=50), timedelta(hours=23), timedelta(days=6), timedelta(days=34))
COLUMNS = (
    *("attempt_id", "kind", "revision", "request_id", "epoch", "recorded_at", "tenant", "user_id"),
    *("strategy", "confidence", "provider", "model", "outcome", "input_tokens", "output_tokens"),
    *("cached_input_tokens", "cost_nano_usd", "pricing", "baseline_cost_nano_usd", "latency_ms"),
    *("time_to_first_token_ms", "cache_hit", "streamed", "estimated", "fallbacks", "details"),
)


class Mixture(Traffic):
    """Faults in one question of seven, repeats that the cache answers, an experiment's users."""

    expected = EXPECTED_UNDER_FIRE | {429}  # every candidate was out of rate or credit

    def __init__(
        self, stack: StackUnderTest, *, seed: int, experiment_id: int, hang_up_ratio: float = 0
    ) -> None:
        super().__init__(stack, seed=seed, hang_up_ratio=hang_up_ratio)
        self._experiment_id = experiment_id

    def _request(self) -> tuple[str, dict[str, Any]]:
        dice, number = self._dice, next(self._numbers)
        if dice.random() < REPEATED_RATIO:
            prompt = f"Which is the capital of country {dice.randrange(REPEATED)}?"
            return "/complete", {"prompt": prompt, "max_tokens": 1000, "auto_route": True}
        prompt = f"Question {self._seed}.{number}: what is 17 * {number}, and why?"
        if dice.random() < FAULTY_RATIO:
            prompt = f"{prompt} [[fault:{dice.choice(FAULTS)},id=n{self._seed}-{number}]]"
        if dice.random() < COMPLETE_RATIO:
            user = {"experiment_id": self._experiment_id, "user_id": f"u{dice.randrange(50)}"}
            asked = {"prompt": prompt, "max_tokens": 40, "auto_route": dice.random() < 0.5}
            return "/complete", asked | (user if dice.random() < 0.5 else {})
        return "/v1/chat/completions", {
            "model": dice.choice(MODELS),
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": 40,
            "stream": dice.random() < 0.5,
        }


class Written:
    """
    Rows as other routers may have written them: old ones, and truths that come late.

    Their requests are named by *began*, whose partition is there, and ended within 34 days before
    *now*: what has to be right about time depends on that only.
    """

    def __init__(self, *, seed: int, epoch: int, began: datetime, now: datetime) -> None:
        self._dice = random.Random(seed)
        self._epoch = epoch
        self._next = first_id_at(began).int + (7 << 76) + (2 << 62)  # a UUIDv7
        self._now = now
        self._late: list[tuple[Any, ...]] = []

    def batch(self, requests: int) -> list[tuple[Any, ...]]:
        """Return the rows of new requests, and the late ones of the batch before."""
        late, self._late = self._late, []
        return late + [row for _ in range(requests) for row in self._request()]

    def _request(self) -> list[tuple[Any, ...]]:
        dice, request_id, attempt_id = self._dice, self._new_id(), self._new_id()
        provider, model = dice.choice(WRITTEN_MODELS)
        hit = dice.random() < 0.2
        cost = 0 if hit else dice.choice([None, 0, dice.randrange(10**4, 10**7)])
        streamed = dice.random() < 0.3
        shared = {
            "request_id": request_id,
            "recorded_at": self._moment(),
            "strategy": dice.choice(["hybrid", "cheapest", "best"]),
            "confidence": dice.choice(["high", "medium", "low"]),
            "provider": provider,
            "model": model,
            "outcome": "ok" if hit else dice.choice(OUTCOMES),
            "input_tokens": dice.randrange(10, 5000),
            "output_tokens": dice.randrange(10, 1000),
            "cached_input_tokens": dice.randrange(10),
            "cost_nano_usd": cost,
            "pricing": "unpriced" if cost is None else "priced",
            "latency_ms": dice.lognormvariate(5, 2),
            "streamed": streamed,
        }
        closed = {
            **shared,
            "kind": 4,
            "attempt_id": request_id,
            "baseline_cost_nano_usd": dice.choice([None, dice.randrange(10**8)]),
            "time_to_first_token_ms": dice.lognormvariate(3, 1) if streamed else None,
            "cache_hit": hit,
            "fallbacks": dice.choice([0, 0, 0, 1, 2]),
        }
        if hit or model is None:
            return [self._row(closed)]
        settled = {**shared, "attempt_id": attempt_id, "kind": 2}
        rows = [{**settled, "kind": 1, "outcome": None}, settled, closed]
        if dice.random() < 0.2:
            self._late.append(self._correction(settled))
        elif dice.random() < 0.1:
            self._late += [self._feedback(closed, revision) for revision in (1, 2)]
        return [self._row(row) for row in rows]

    def _moment(self) -> datetime:
        """Some end in the very last moment of a minute."""
        moment = self._now - self._dice.random() * self._dice.choice(REACH)
        last = moment.replace(second=59, microsecond=999_999)
        return last if self._dice.random() < 0.02 and last < self._now else moment

    def _correction(self, settled: dict[str, Any]) -> tuple[Any, ...]:
        """Differences: a truth that is dearer or cheaper than the guess, or has no price at all."""
        dice, guessed = self._dice, settled["cost_nano_usd"]
        change = {
            "kind": 3,
            "revision": 1,
            "input_tokens": dice.randrange(-5, 5),
            "output_tokens": dice.randrange(-5, 5),
            "cached_input_tokens": 0,
            "cost_nano_usd": dice.randrange(-1000, 1000) if guessed else None,
            "pricing": dice.choice([settled["pricing"]] * 4 + ["unpriced"]),
        }
        return self._row({**settled, **change})

    def _feedback(self, closed: dict[str, Any], revision: int) -> tuple[Any, ...]:
        details = f'{{"quality_score": {self._dice.randrange(1, 6)}, "is_correct": true}}'
        return self._row({**closed, "kind": 5, "revision": revision, "details": details})

    def _row(self, fields: dict[str, Any]) -> tuple[Any, ...]:
        usual = {
            "revision": 0,
            "epoch": self._epoch,
            "tenant": WRITTEN,
            "cache_hit": False,
            "estimated": False,
            "fallbacks": 0,
        }
        return tuple({**usual, **fields}.get(name) for name in COLUMNS)

    def _new_id(self) -> UUID:
        self._next += 1
        return UUID(int=self._next)
