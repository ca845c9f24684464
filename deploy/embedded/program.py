"""A program of ours as a child: its lines are heard, and it has started once it is ready."""

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from deploy.embedded.child import spawn
from deploy.embedded.refusal import Refusal

POLL_S = 0.05
LAST_WORDS_S = 1.0
LONGEST_LINE = 64 * 1024
LAST_LINES = 12

Say = Callable[[str, str], None]  # (name, line)


class Program:
    """
    Run by `start`, ended by `stop`; both may be called again.

    Args:
        name: Stands before its lines.
        command: The program and its arguments.
        environment: All that it sees of ours.
        ready: Whether it works; asked again and again.
        say: Gets its lines.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        ready: Callable[[], Awaitable[bool]],
        say: Say,
        start_timeout_s: float,
        stop_timeout_s: float,
    ) -> None:
        self.name = name
        self.process: asyncio.subprocess.Process | None = None
        self.tail: deque[str] = deque(maxlen=200)
        self._command = command
        self.environment = environment
        self._ready = ready
        self._say = say
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._output: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """
        Run it and return when it is ready.

        Raises:
            Refusal: it ended, or was not ready in time; nothing of it is left running.
        """
        self.tail.clear()
        self.process = await spawn(
            self._command,
            death_signal=signal.SIGKILL,  # what it has to finish would outlive us
            environment=self.environment,
            output=asyncio.subprocess.PIPE,
        )
        self._output = asyncio.create_task(self._listen(self.process))
        try:
            await self._until_ready(self.process)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ask it to end; insist when the time is up."""
        process = self.process
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGCONT)  # a paused process would hear nothing
            process.terminate()
            try:
                async with asyncio.timeout(self._stop_timeout_s):
                    await process.wait()
            except TimeoutError:
                self._say(self.name, f"did not stop within {self._stop_timeout_s:g} s: killed")
                process.kill()
                await process.wait()
        await self._hear_last_words()

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(self._start_timeout_s):
                while process.returncode is None:
                    if await self._ready():
                        return
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            why = f"was not ready within {self._start_timeout_s:g} s"
        else:
            await self._hear_last_words()
            why = f"did not start ({how_it_ended(process.returncode)})"
        raise Refusal(f"{self.name} {why}{self._last_lines()}")

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Pass on whole lines, however long, whatever their bytes."""
        assert process.stdout is not None  # noqa: S101 - asked for above
        rest = b""
        while data := await process.stdout.read(LONGEST_LINE):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) >= LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._hear(line)
        if rest:
            self._hear(rest)

    def _hear(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        self.tail.append(text)
        self._say(self.name, text)

    async def _hear_last_words(self) -> None:
        if self._output is not None:  # a grandchild may hold the pipe open: do not wait for it
            await asyncio.wait([self._output], timeout=LAST_WORDS_S)
            self._output.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._output

    def _last_lines(self) -> str:
        lines = list(self.tail)[-LAST_LINES:]
        return "; its last lines:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""


def how_it_ended(code: int | None) -> str:
    """Tell a return code in words."""
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
