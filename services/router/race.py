"""
Turns that are taken one after another, and side by side while one is merely slow.

    first   ──────────────(slow)───────────────▶ given up, once the second has answered
    second                  └──────────▶ answer
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from common.errors import Failure

T = TypeVar("T")

MOST_SIDE_BY_SIDE = 2
LEAST_WAIT_S = 0.01
ASK_AGAIN_RATIO = 0.25  # of the patience: nobody else was to be asked now, but may be soon


@dataclass(frozen=True, slots=True)
class Turn(Generic[T]):
    """
    One try. Its work returns None if it failed so that another may do better.

    Args:
        work: Not begun. What it raises ends the race, once nobody else is under way.
        patience_s: After so long another turn is to be begun beside it; None: never.
        on_slow: Called when it was that long, once.
    """

    work: Coroutine[Any, Any, T | None]
    patience_s: float | None
    on_slow: Callable[[], None]


@dataclass(slots=True)
class _Running(Generic[T]):
    task: asyncio.Task[T | None]
    turn: Turn[T]
    impatient_at: float  # on time.monotonic
    slow: bool = False


class Race(Generic[T]):
    """
    Args:
        first: Begins a turn when none is under way; None: there is none any more.
        beside: Begins one beside others; None: nobody else is to be asked now.
        discard: Takes a result that came too late.
    """

    def __init__(
        self,
        *,
        first: Callable[[], Turn[T] | None],
        beside: Callable[[], Turn[T] | None],
        discard: Callable[[T], object],
    ) -> None:
        self._first = first
        self._beside = beside
        self._discard = discard
        self._running: list[_Running[T]] = []
        self._held: Failure | None = None

    async def run(self) -> T | None:
        """Return the first result; None if every turn failed."""
        try:
            while True:
                if not self._running:
                    if self._held is not None:
                        raise self._held
                    if (turn := self._first()) is None:
                        return None
                    if turn.patience_s is None:  # the usual case once, and for the last one
                        if (found := await turn.work) is not None:
                            return found
                        continue
                    self._begin(turn)
                if (found := await self._step()) is not None:
                    return found
        finally:
            await self._end(self._running)

    async def _step(self) -> T | None:
        """Wait until somebody is done or slow; return a result if there is one."""
        limit = self._running[-1].impatient_at
        timeout = None if limit == float("inf") else max(limit - time.monotonic(), 0)
        done, _ = await asyncio.wait(
            [running.task for running in self._running],
            timeout=timeout,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not done:
            await self._ask_another()
            return None
        for running in [r for r in self._running if r.task in done]:
            self._running.remove(running)
            try:
                found = running.task.result()
            except Failure as failure:
                self._held = self._held or failure  # raised when nobody else is under way
            else:
                if found is not None:
                    return found
        return None

    async def _ask_another(self) -> None:
        slow = self._running[-1]
        if not slow.slow:
            slow.slow = True
            slow.turn.on_slow()
        if (turn := self._beside()) is None:
            wait_s = (slow.turn.patience_s or 0) * ASK_AGAIN_RATIO
            slow.impatient_at = time.monotonic() + max(wait_s, LEAST_WAIT_S)
            return
        if len(self._running) == MOST_SIDE_BY_SIDE:
            await self._end([self._running.pop(0)])
        self._begin(turn)

    def _begin(self, turn: Turn[T]) -> None:
        patience_s = float("inf") if turn.patience_s is None else turn.patience_s
        task = asyncio.ensure_future(turn.work)
        self._running.append(_Running(task, turn, time.monotonic() + patience_s))

    async def _end(self, running: list[_Running[T]]) -> None:
        """Call off what is under way, and wait until it has settled its accounts."""
        if not running:
            return
        tasks = [r.task for r in running]
        for task in tasks:
            task.cancel()
        for late in await asyncio.gather(*tasks, return_exceptions=True):
            if late is not None and not isinstance(late, BaseException):
                self._discard(late)
