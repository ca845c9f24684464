"""Runs a service: the loop, the signals, and what is said when it dies."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import uvloop

from common.errors import Failure
from common.logs import setup_logs
from common.loop_lag import watch_loop

log = structlog.get_logger()

YOUNG_OBJECTS = 20_000  # between collections; a request leaves hundreds, hardly ever in cycles


def run(service: str, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """
    Run *main* until it returns. SIGTERM and SIGINT set its stop event; the second one ends it.

    Args:
        service: Its name in the logs.
        main: May set the logs up anew, once it knows how.

    Raises:
        SystemExit: with 1 when *main* raised; what, is in the log.
    """
    setup_logs(service, "info")
    gc.collect()
    gc.freeze()  # what was imported stays: no use in looking through it again and again
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_supervised(main))
        except Failure as failure:  # foreseen: its message is enough
            log.error("stopped", reason=failure.message, code=failure.code)  # noqa: TRY400
            raise SystemExit(1) from failure
        except (asyncio.CancelledError, KeyboardInterrupt) as impatience:
            raise SystemExit(1) from impatience
        except Exception as bug:
            log.exception("stopped")
            raise SystemExit(1) from bug


async def _supervised(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_stray)
    task = asyncio.current_task()
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set() and task is not None:  # asked twice: do not drain
            task.cancel()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    watching = asyncio.create_task(watch_loop())
    try:
        await main(stop)
    finally:
        watching.cancel()


def _log_stray(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nobody awaited the task that failed: say it at least."""
    error = context.get("exception")
    log.error("stray failure", reason=context.get("message"), exc_info=error)
