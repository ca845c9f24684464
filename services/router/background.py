"""
Stories that are told to their end, whether or not somebody still listens.

    listener ──starts──▶ story (its own task)        the listener may be cancelled at any moment;
        ◀───items────────┘                           the story hears of it and settles its accounts
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Generic, TypeVar

import structlog

from common.errors import Failure

T = TypeVar("T")

MOST_WAITING = 64  # items that a slow listener may be behind; then the story waits

log = structlog.get_logger()


class Caller:
    """Somebody who waits for an answer, until they do not."""

    def __init__(self) -> None:
        self.gone = False
        self._listeners: list[Callable[[], None]] = []

    def leave(self) -> None:
        """Say that nobody waits any more. Saying it again changes nothing."""
        if not self.gone:
            self.gone = True
            for listener in self._listeners:
                listener()

    def on_leaving(self, listener: Callable[[], None]) -> None:
        """Call *listener* when the caller leaves; at once if they have left."""
        if self.gone:
            listener()
        else:
            self._listeners.append(listener)


class Outlet(Caller, Generic[T]):
    """Where a story puts what it has to say. Once the caller has gone, it says it to nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.items: deque[T] = deque()
        self.stirred = asyncio.Event()  # for the listener: look again
        self._room = asyncio.Event()

    async def put(self, item: T) -> None:
        """Say *item*. Waits while the listener is too far behind."""
        while len(self.items) >= MOST_WAITING and not self.gone:
            self._room.clear()
            await self._room.wait()
        if not self.gone:
            self.items.append(item)
            self.stirred.set()

    def take(self) -> T:
        self._room.set()
        return self.items.popleft()

    def leave(self) -> None:
        super().leave()
        self.items.clear()
        self._room.set()


class Stories:
    """Runs them, and waits for them at shutdown."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def tell(self, story: Callable[[Caller], Coroutine[Any, Any, T]]) -> T:
        """Return what *story* returns. If we are cancelled, it goes on without us."""
        caller = Caller()
        task = self._start(story(caller), caller)
        try:
            return await asyncio.shield(task)
        finally:
            if not task.done():
                caller.leave()

    async def stream(
        self, story: Callable[[Outlet[T]], Coroutine[Any, Any, None]]
    ) -> AsyncGenerator[T, None]:
        """Yield what *story* puts, then raise what it raised. If we are closed, it goes on."""
        outlet: Outlet[T] = Outlet()
        task = self._start(story(outlet), outlet)
        task.add_done_callback(lambda _: outlet.stirred.set())
        try:
            while True:
                while outlet.items:
                    yield outlet.take()
                if task.done():
                    break
                outlet.stirred.clear()
                await outlet.stirred.wait()
            await task
        finally:
            outlet.leave()

    async def drain(self, timeout_s: float) -> None:
        """Wait for the stories under way; those that take longer are cancelled, and settle so."""
        if not self._running:
            return
        _, late = await asyncio.wait(set(self._running), timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            log.warning("stories_cut_short", count=len(late))
            await asyncio.wait(late)

    def _start(self, story: Coroutine[Any, Any, T], caller: Caller) -> asyncio.Task[T]:
        task = asyncio.create_task(story)
        self._running.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, caller))
        return task

    def _ended(self, task: asyncio.Task[Any], caller: Caller) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and caller.gone and not isinstance(error, Failure):
            log.error("story_failed_unheard", exc_info=error)  # a bug; nobody else will report it
