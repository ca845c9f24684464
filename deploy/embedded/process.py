"""One supervised child: kept running from `start` to `stop`, whatever happens to it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from common.errors import Failure
from deploy.embedded.program import how_it_ended
from deploy.embedded.refusal import Refusal

FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 10.0
SOUND_AFTER_S = 30.0  # who lived this long is not in a crash loop


class Child(Protocol):
    """What can be supervised: Postgres, Redis, a program of ours."""

    process: asyncio.subprocess.Process | None

    async def start(self) -> None:
        """Run it and return when it is ready. It may be called again after an end."""

    async def stop(self) -> None:
        """End it, in bounded time. Calling it twice is fine."""


class Process:
    """Also lets tests do to the child what life does: kill it, freeze it."""

    def __init__(self, name: str, child: Child, *, say: Callable[[str, str], None]) -> None:
        self.name = name
        self.restarts = 0
        self._child = child
        self._say = say
        self._guard: asyncio.Task[None] | None = None
        self._working = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        process = self._child.process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """
        Return when it is ready; from then on it is restarted whenever it ends.

        Raises:
            Refusal: it does not start; nothing of it is left running.
        """
        try:
            await self._child.start()
        except Failure as failure:
            raise Refusal(f"{self.name}: {failure.message}") from failure
        self._working.set()
        self._guard = asyncio.create_task(self._keep_running())

    async def until_ready(self) -> None:
        """Wait until it works, again if need be."""
        await self._working.wait()

    async def stop(self) -> None:
        """End it, and leave it ended until `start`."""
        await self._let_go()
        self._working.clear()
        await self._child.stop()

    def kill(self) -> None:
        """End it without asking. It starts again by itself."""
        self._working.clear()
        self._signal(signal.SIGKILL)

    async def kill_for_good(self) -> None:
        """End it without asking, and leave it ended."""
        self.kill()
        await self.stop()

    def pause(self) -> None:
        """Freeze it and every process it started: it neither answers nor refuses."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, what: signal.Signals) -> None:
        self._signal(what)  # first itself, so that it starts no more children
        for below in list(descendants(self.pid)) if self.pid else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(below, what)

    def _signal(self, what: signal.Signals) -> None:
        process = self._child.process
        if process is not None and process.returncode is None:
            process.send_signal(what)

    async def _let_go(self) -> None:
        """Stop restarting it."""
        if self._guard is not None:
            self._guard.cancel()
            await asyncio.wait([self._guard])
            self._guard = None

    async def _keep_running(self) -> None:
        clock = asyncio.get_running_loop().time
        backoff_s = FIRST_BACKOFF_S
        while True:
            started = clock()
            if self._child.process is not None:
                code = await self._child.process.wait()
                self._working.clear()
                self._say(self.name, f"ended ({how_it_ended(code)}); it is started again")
            if clock() - started > SOUND_AFTER_S:
                backoff_s = FIRST_BACKOFF_S
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
            self.restarts += 1
            try:
                await self._child.start()
            except (Failure, Refusal, OSError) as error:
                self._say(self.name, f"cannot start: {error}")
            else:
                self._working.set()


def descendants(pid: int) -> Iterator[int]:
    """Yield every process below *pid*, as far as /proc tells."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            after_name = stat.read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(after_name[1]), []).append(int(stat.parent.name))
    wave = children.get(pid, [])
    while wave:
        yield from wave
        wave = [below for one in wave for below in children.get(one, [])]
