"""Steady traffic while something else is measured."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import orjson

from scripts.http_client import Connection, Target

WORKERS = 32  # answers that may be waited for at once; more requests come late


@asynccontextmanager
async def traffic(url: str, per_s: float) -> AsyncIterator[None]:
    """Ask for so many completions a second, each another one, in steps that wait for no answer."""
    target = Target.of(url, "/complete", "POST", {})
    connections = [Connection(target) for _ in range(WORKERS)]
    due = itertools.count(monotonic(), 1 / per_s)

    async def work(connection: Connection) -> None:
        for when in due:
            await asyncio.sleep(max(0, when - monotonic()))
            status = await connection.send(orjson.dumps({"prompt": f"What is {when} + 1?"}))
            if status != 200:  # noqa: PLR2004  OK
                raise SystemExit(f"a completion was answered {status}")

    try:
        async with asyncio.TaskGroup() as group:
            working = [group.create_task(work(connection)) for connection in connections]
            yield
            for task in working:
                task.cancel()
    finally:
        for connection in connections:
            connection.close()
