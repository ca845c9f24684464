"""A router's worth of writing, to be killed: prints what was acknowledged, line by line."""

import asyncio
import random
import sys
from dataclasses import replace
from pathlib import Path

from services.router.domain.entries import Kind
from tests.ledger_builders import a_ledger, a_pool, a_row, an_opened, keys


async def write(url: str, folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    pool = await a_pool(url)
    async with a_ledger(pool, folder, commit_limit_s=0.2) as ledger:
        print("ready", flush=True)  # noqa: T201

        async def requests() -> None:
            while True:
                opened = an_opened()
                settled = replace(opened, kind=Kind.SETTLED, outcome="ok")
                closed = a_row(attempt_id=opened.request_id, request_id=opened.request_id)
                for rows in ([opened], [settled, closed]):
                    await ledger.append(rows)
                    for key in keys(rows):
                        print(*key, flush=True)  # noqa: T201
                    await asyncio.sleep(chance.random() * 0.01)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(requests())


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
