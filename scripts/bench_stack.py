"""The whole stack for a measurement: in a folder of its own, on free ports, gone afterwards."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from deploy.embedded.environment import of_system
from deploy.embedded.folder import DATABASE_URL
from deploy.embedded.settings import EmbeddedSettings
from deploy.embedded.stack import Stack


@asynccontextmanager
async def bench_stack(**variables: str) -> AsyncIterator[Stack]:
    """Run the stack; *variables* are settings, nothing else of the environment reaches it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        listens = [name.upper() for name in EmbeddedSettings.model_fields if "_listen" in name]
        user = {
            **of_system(os.environ),
            **dict.fromkeys(listens, "127.0.0.1:0"),
            "DATA_FOLDER": str(Path(folder) / "data"),
            **variables,
        }
        async with Stack(EmbeddedSettings.of(user), user=user) as stack:
            yield stack


async def figure(stack: Stack, service: str, series: str) -> float:
    """Return what *service* tells Prometheus of *series*, labels included; 0: nothing yet."""
    address = stack.listens[f"{service.upper()}_OPERATIONS_LISTEN"]
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}/metrics") as answer,
    ):
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{series} "))


def database_url(stack: Stack) -> str:
    """Return where its superuser asks, who may write where the services would."""
    return (stack.folder.path / DATABASE_URL).read_text().strip()
