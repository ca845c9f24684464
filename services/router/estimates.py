"""What another strategy would have cost, from how requests were routed lately."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from common.errors import Invalid
from common.postgres import Pool
from services.router.domain.hindsight import Logged, Rule, cases_of, rule_of
from services.router.domain.off_policy import Case, Estimate, estimate
from services.router.domain.request import StrategyChoice
from services.router.domain.strategies import Strategies
from services.router.store import past_decisions

USUAL_DAYS = 7
MOST_DAYS = 30
MOST_REQUESTS = 50_000  # the newest
READING_S = 3.5  # of the caller's five seconds; then what was read has to do


class Estimates:
    """
    Args:
        pool: Of the router's schema.
        strategies: Know which strategies and parameters there are.
        clock: Seconds that only grow.
    """

    def __init__(
        self, pool: Pool, strategies: Strategies, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._strategies = strategies
        self._clock = clock
        self._turn = asyncio.Lock()  # one at a time: completions need the processor, too

    async def of(self, choice: StrategyChoice, days: int) -> Estimate:
        """
        Estimate what *choice* would have cost on the newest requests of the last *days*; 0: 7.

        Raises:
            Invalid: *days* is out of bounds, the strategy's parameters are wrong, or what it would
                have chosen is not to be told.
            NotFound: there is no such strategy.
            Unavailable, TimedOut: Postgres is silent.
        """
        if not 0 <= days <= MOST_DAYS:
            raise Invalid(f"days must be within 1..{MOST_DAYS}, got {days}", param="days")
        self._strategies.get(choice)
        rule = rule_of(choice)
        async with self._turn:
            found = await self._read(rule, days or USUAL_DAYS)
            return await asyncio.to_thread(_estimate, found)

    async def _read(self, rule: Rule, days: int) -> "_Found":
        until = self._clock() + READING_S
        found = _Found(0, 0, [])
        pages = past_decisions.pages(
            self._pool, lambda page: _found(page, rule), days=days, most=MOST_REQUESTS
        )
        async with aclosing(pages):
            async for page in pages:
                found.add(page)
                if self._clock() >= until:
                    break
        return found


@dataclass(slots=True)
class _Found:
    routed: int
    priced: int
    cases: list[Case]

    def add(self, other: "_Found") -> None:
        self.routed += other.routed
        self.priced += other.priced
        self.cases += other.cases


def _found(rows: Sequence[Logged], rule: Rule) -> _Found:
    priced = sum(row.cost_nano_usd is not None for row in rows)
    return _Found(len(rows), priced, list(cases_of(rows, rule)))


def _estimate(found: _Found) -> Estimate:
    if found.cases:
        return estimate(found.cases)
    if not found.routed:
        return Estimate(0, reason="no request was routed in that time")
    if not found.priced:
        return Estimate(0, reason="no request of that time has a price")
    return Estimate(
        0, reason="what this strategy would have taken was no candidate, or has no price"
    )
