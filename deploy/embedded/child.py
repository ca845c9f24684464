"""
Starts a server as a child that never outlives its parent, under a user that need not be ours.

Between us and the server stands this file once more, as a script: it gives up its rights, asks
the kernel for a signal when the parent dies, and becomes the server. (`preexec_fn` would do the
same inside a fork of a process that has threads, which may deadlock.)
"""

import asyncio
import contextlib
import ctypes
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


async def spawn(
    command: Sequence[str | Path],
    *,
    user: str | None = None,
    keep: int | None = None,
    death_signal: int = signal.SIGTERM,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | int | None = None,
) -> asyncio.subprocess.Process:
    """
    Start *command* in a process group of its own, so that Ctrl-C reaches us and not it.

    Args:
        command: The program and its arguments.
        user: Run as this user; only root can.
        keep: The one capability that *user* keeps, see `rights.passing`.
        death_signal: What it gets from the kernel when we die, however we die.
        environment: Instead of ours.
        output: Takes its stdout and stderr; None: ours.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-IS",
        __file__,
        str(os.getpid()),
        str(int(death_signal)),
        user or "",
        "" if keep is None else str(keep),
        *map(str, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else asyncio.subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


async def end(
    process: asyncio.subprocess.Process | None, *signals: signal.Signals, limit_s: float
) -> None:
    """Send *process* one signal after another until it has ended; each has *limit_s* to work."""
    for number in signals:
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGCONT)  # a stopped process would hear nothing
        process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), limit_s)


def become(parent: int, death_signal: int, user: str, keep: str, command: list[str]) -> None:
    """Turn this process into *command*."""
    if user:  # by path: as a script on its own we cannot import our neighbours
        rights = runpy.run_path(str(Path(__file__).with_name("rights.py")))
        rights["become"](user, keep=int(keep) if keep else None)
    if sys.platform == "linux":  # after setuid, which forgets it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it died before the kernel knew
        raise SystemExit(1)
    os.execv(command[0], command)  # noqa: S606 - the point


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
