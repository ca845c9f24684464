"""The stack as a library: whatever ends is back by itself, and the API answers again."""

import asyncio
import os

import aiohttp
import pytest

from deploy.embedded.environment import of_system
from deploy.embedded.settings import EmbeddedSettings
from deploy.embedded.stack import Stack

ANY_PORT = "127.0.0.1:0"
LISTENS = {name: ANY_PORT for name in EmbeddedSettings.model_fields if name.endswith("_listen")}
NAMES = ("postgres", "redis", "sandbox", "router", "router-2", "experiments", "metrics", "gateway")


@pytest.fixture(scope="module")
async def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack") / "data"
    settings = EmbeddedSettings(data_folder=folder, embedded_routers=2, **LISTENS)
    user = {**of_system(os.environ), "SANDBOX_LATENCY_SCALE": "0"}
    async with Stack(settings, user=user) as started:
        yield started


def test_every_process_has_its_name(stack):
    assert set(NAMES) == set(stack.processes)


@pytest.mark.parametrize("name", NAMES)
async def test_whoever_is_killed_is_back_and_the_api_answers(stack, name):
    process = stack.processes[name]
    before = process.pid

    process.kill()
    async with asyncio.timeout(60):
        await process.until_ready()
        answer = await until_answered(stack.base_url, f"What is 2 + {NAMES.index(name)}?")

    assert process.pid not in (None, before)
    assert 1 == process.restarts
    assert answer["model"].startswith("sandbox/")


async def test_who_is_stopped_stays_so_until_it_is_started(stack):
    redis = stack.processes["redis"]

    await redis.stop()
    assert redis.pid is None
    answer = await until_answered(stack.base_url, "Name three rivers.")
    assert redis.pid is None
    await redis.start()

    assert redis.pid is not None
    assert answer["response"]


async def until_answered(url, prompt):
    """Ask again as long as the answer is 503: the neighbours are still finding each other."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.post(f"{url}/complete", json={"prompt": prompt}) as answer:
                if answer.status == 200:
                    return await answer.json()
                assert answer.status == 503, await answer.text()
            await asyncio.sleep(0.2)
