"""A running stack, as a test sees it from outside: its addresses, its rows, and its plugs."""

import abc
import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Self

import aiohttp
import asyncpg
import orjson

# Short deadlines, so that what a kill leaves open is settled while a test waits.
SETTINGS: Mapping[str, str] = {
    "ROUTER_REAPER_INTERVAL_S": "1",
    "ROUTER_REAPER_GRACE_S": "1",
    "GATEWAY_REQUEST_TIMEOUT_S": "8",
    "ROUTER_REQUEST_TIMEOUT_S": "8",
    "ROUTER_STREAM_DRAIN_S": "10",
    "SANDBOX_LATENCY_SCALE": "0.3",
    "SANDBOX_BILL_ENTRIES": "1000000",
}
TIMEOUT = aiohttp.ClientTimeout(total=60)
SERVICES = ("gateway", "router", "experiments", "metrics")


async def until(
    condition: Callable[[], Awaitable[bool]], *, within_s: float, step_s: float = 0.1
) -> None:
    """Ask again and again: other processes tell nobody when they get there."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(step_s)


class Reply:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:500]!r}>"


class StackUnderTest(abc.ABC):
    """
    What every scenario may use. Whoever pulls a plug puts it back.

    Args:
        pause_s: How long scenarios keep a part silent.
        mixed_requests: How many requests the great mix sends.
    """

    def __init__(self, *, pause_s: float, mixed_requests: int) -> None:
        self.pause_s = pause_s
        self.mixed_requests = mixed_requests
        self.base_url = ""
        self.sandbox_url = ""
        self.key = ""  # empty: the gateway is open
        self.internal_token = ""
        self._session: aiohttp.ClientSession | None = None
        self._database: asyncpg.Connection | None = None

    # pulled plugs

    @abc.abstractmethod
    async def start(self) -> None:
        """Start everything; return when the gateway is ready."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """End everything and remove what it left."""

    @abc.abstractmethod
    async def kill(self, service: str) -> None:
        """Kill -9 one process of a service, which whoever watches it then starts again."""

    @abc.abstractmethod
    async def ready(self, service: str) -> None:
        """Return when the killed service works again."""

    @abc.abstractmethod
    def postgres_paused(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Freeze Postgres: it neither answers nor refuses."""

    @abc.abstractmethod
    async def stop_redis(self) -> None:
        """End Redis and leave it ended."""

    @abc.abstractmethod
    async def start_redis(self) -> None:
        """Start it again."""

    @abc.abstractmethod
    def superuser_url(self) -> str:
        """Where a superuser reaches the product's database."""

    @abc.abstractmethod
    def role_url(self, service: str) -> str:
        """Where a service reaches it, with its own role and password."""

    @abc.abstractmethod
    def grpc_targets(self) -> Mapping[str, str]:
        """Where the services' gRPC ports are, by service."""

    @abc.abstractmethod
    async def router_metrics(self) -> list[str]:
        """Return what each router tells Prometheus."""

    @abc.abstractmethod
    def last_lines(self) -> list[str]:
        """Return what the services said last."""

    # what all stacks do alike

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_clients()
        await self.stop()

    async def close_clients(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._database is not None:
            with contextlib.suppress(OSError, asyncpg.PostgresError, TimeoutError):
                await self._database.close(timeout=2)
        self._session = self._database = None

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    @contextlib.contextmanager
    def without_key(self) -> Iterator[None]:
        kept, self.key = self.key, ""
        try:
            yield
        finally:
            self.key = kept

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)
        return self._session

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.call("GET", path, headers=headers)

    async def post(self, path: str, body: Any, **headers: str) -> Reply:
        return await self.call("POST", path, orjson.dumps(body), headers=headers)

    async def call(
        self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str]
    ) -> Reply:
        given = {
            "content-type": "application/json",
            **self.headers,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        url = self.base_url + path
        async with self.session.request(method, url, data=body, headers=given) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def chat(
        self,
        prompt: str,
        *,
        model: str = "auto",
        headers_: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Reply:
        messages = [{"role": "user", "content": prompt}]
        return await self.post(
            "/v1/chat/completions",
            {"model": model, "messages": messages, **fields},
            **(headers_ or {}),
        )

    async def sandbox(self, method: str, path: str, body: Any = None) -> Any:
        url = self.sandbox_url + path
        async with self.session.request(method, url, json=body) as answer:
            return await answer.json(content_type=None)

    async def bill(self) -> list[dict[str, Any]]:
        """Return the whole bill, page by page, once nothing is being generated any more."""

        async def quiet() -> bool:
            return not (await self.sandbox("GET", "/bill?limit=1"))["in_flight"]

        await until(quiet, within_s=60, step_s=0.05)
        entries: list[dict[str, Any]] = []
        after, more = 0, True
        while more:
            page = await self.sandbox("GET", f"/bill?after={after}&limit=5000")
            assert page["dropped"] == 0, "the bill forgot entries: it cannot be compared"
            entries += page["entries"]
            after, more = page["next"], page["more"]
        return entries

    async def sql(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask the database as a superuser."""
        if self._database is None or self._database.is_closed():
            self._database = await asyncpg.connect(self.superuser_url(), timeout=10)
        return await self._database.fetch(query, *arguments, timeout=20)
