"""A supervised process: ready before it counts, restarted when it ends, gone when we are."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deploy.embedded import child
from deploy.embedded.process import Process
from deploy.embedded.program import Program
from deploy.embedded.refusal import Refusal

SLEEPS = "import time; print('here', flush=True); time.sleep(600)"
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " print('here', flush=True); time.sleep(600)"
)


class Heard:
    """What the processes said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, _: str, line: str) -> None:
        self.lines.append(line)

    def has(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@pytest.fixture
def heard():
    return Heard()


def process_of(code, heard, *, stop_timeout_s=5.0, start_timeout_s=20.0, ready="here"):
    async def is_ready():
        return heard.has(ready)

    program = Program(
        "it",
        [sys.executable, "-c", code],
        environment=dict(os.environ),
        ready=is_ready,
        say=heard.say,
        start_timeout_s=start_timeout_s,
        stop_timeout_s=stop_timeout_s,
    )
    return Process("it", program, say=heard.say)


async def eventually(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  the system tells nobody
            await asyncio.sleep(0.01)


async def test_it_runs_once_started_and_is_gone_once_stopped(heard):
    process = process_of(SLEEPS, heard)

    await process.start()
    pid = process.pid
    await process.stop()

    assert pid is not None
    assert process.pid is None
    assert not psutil.pid_exists(pid)


async def test_it_is_started_again_when_it_is_killed(heard):
    process = process_of(SLEEPS, heard)
    await process.start()
    first = process.pid

    process.kill()
    async with asyncio.timeout(20):
        await process.until_ready()
    second = process.pid

    assert heard.has("ended (SIGKILL)")
    await process.stop()
    assert second not in (None, first)
    assert process.restarts == 1


async def test_who_ends_before_it_is_ready_is_refused_with_its_last_words(heard):
    process = process_of("print('no such catalog'); raise SystemExit(3)", heard)

    with pytest.raises(Refusal, match=r"(?s)it did not start \(exit code 3\).*no such catalog"):
        await process.start()
    assert process.pid is None


async def test_who_is_never_ready_is_refused_and_ended(heard):
    process = process_of(SLEEPS, heard, ready="never said", start_timeout_s=1.0)

    with pytest.raises(Refusal, match="not ready within 1 s"):
        await process.start()
    assert process.pid is None


async def test_who_ignores_the_stop_is_killed_in_time(heard):
    process = process_of(DEAF, heard, stop_timeout_s=0.5)
    await process.start()

    async with asyncio.timeout(10):
        await process.stop()

    assert heard.has("killed")
    assert process.pid is None


async def test_who_is_paused_can_still_be_stopped(heard):
    process = process_of(SLEEPS, heard)
    await process.start()
    pid = process.pid

    process.pause()
    await eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    async with asyncio.timeout(3):
        await process.stop()

    assert not psutil.pid_exists(pid)


async def test_a_line_of_any_length_and_any_bytes_is_passed_on(heard):
    code = (
        "import sys, time; sys.stdout.buffer.write(b'x' * 300_000 + b'\\n\\xff\\xfe\\nhere\\n');"
        " sys.stdout.flush(); time.sleep(600)"
    )
    process = process_of(code, heard)
    await process.start()
    await process.stop()

    assert sum(line.count("x") for line in heard.lines if set(line) == {"x"}) == 300_000
    assert "\ufffd\ufffd" in heard.lines


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_a_child_does_not_outlive_a_parent_that_was_killed(tmp_path: Path):
    note = tmp_path / "pid"
    code = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    parent = (
        "import os, subprocess, sys, time;"
        f"subprocess.Popen([sys.executable, '-IS', {child.__file__!r}, str(os.getpid()),"
        f" '9', '', '', sys.executable, '-c', {code!r}]); time.sleep(600)"
    )
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", parent]
    ) as killed:
        pid = _wait_for_pid(note)
        watched = psutil.Process(pid)
        killed.send_signal(signal.SIGKILL)

    watched.wait(timeout=10)
    assert not psutil.pid_exists(pid)


def _wait_for_pid(note: Path) -> int:
    for _ in range(500):
        if note.exists() and note.read_text():
            return int(note.read_text())
        time.sleep(0.02)
    raise AssertionError("the child never ran")
