"""A sandbox of one's own, on a free port, without delays."""

import asyncio

import aiohttp
import pytest

from sandbox.__main__ import build
from sandbox.settings import SandboxSettings


class Client:
    """Asks the sandbox and reads its bill."""

    def __init__(self, session, url):
        self.session = session
        self.url = url

    async def ask(self, prompt, *, model="small", client_request_id=None, **fields):
        """Return status, headers and the raw body."""
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], **fields}
        headers = {"x-client-request-id": client_request_id} if client_request_id else {}
        async with self.session.post(
            f"{self.url}/v1/chat/completions", json=body, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers, await answer.read()

    async def get(self, path, **headers):
        async with self.session.get(self.url + path, headers=headers) as answer:
            return await answer.json(content_type=None)

    async def busy(self, *, billed):
        """Return when a request is being answered and that many are on the bill."""
        async with asyncio.timeout(5):
            while True:
                bill = await self.get("/bill?limit=10000")
                if bill["in_flight"] and len(bill["entries"]) >= billed:
                    return
                await asyncio.sleep(0.01)

    async def quiet(self):
        """Return when no request is being answered any more."""
        async with asyncio.timeout(5):
            while (await self.get("/bill"))["in_flight"]:  # noqa: ASYNC110  # it is another server
                await asyncio.sleep(0.01)

    async def entries(self):
        return (await self.get("/bill?limit=10000"))["entries"]


@pytest.fixture
async def sandbox():
    settings = SandboxSettings(listen="127.0.0.1:0", latency_scale=0)
    async with build(settings) as running, aiohttp.ClientSession() as session:
        yield Client(session, running.url)
