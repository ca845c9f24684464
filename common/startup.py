"""Starting before one's neighbours are there, and running until told to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from common.errors import TimedOut, Unavailable

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

log = structlog.get_logger()


async def until_available(work: Callable[[], Awaitable[object]], stop: asyncio.Event) -> bool:
    """
    Try *work* until no neighbour that it needs is silent; True: done, False: told to stop.

    Any other failure is raised: waiting does not mend it. A stop cancels what is being tried.
    """
    pause_s = FIRST_PAUSE_S
    while not stop.is_set():
        try:
            await _unless(stop, work)
        except (Unavailable, TimedOut) as failure:
            log.warning("waiting", problem=failure.message, pause_s=pause_s)
        else:
            return not stop.is_set()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return False


async def _unless(stop: asyncio.Event, work: Callable[[], Awaitable[object]]) -> None:
    task = asyncio.ensure_future(work())
    waiter = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        for one in (task, waiter):
            one.cancel()
        await asyncio.gather(task, waiter, return_exceptions=True)


async def run_until(
    stop: asyncio.Event,
    *forever: Coroutine[Any, Any, None],
    drain: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """
    Run all of *forever* until *stop*, then *drain*, and only then cancel them.

    If one of them fails or ends, all end, and its error is raised.
    """
    tasks = [asyncio.create_task(one) for one in forever]
    waiter = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({waiter, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiter}:
            task.result()
        if drain:
            await drain()
    finally:
        for task in (waiter, *tasks):
            task.cancel()
        await asyncio.gather(waiter, *tasks, return_exceptions=True)
