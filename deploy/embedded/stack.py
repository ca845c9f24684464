"""The whole product on one machine: what is started, in which order, and how it ends."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import aiohttp

from deploy.embedded import environment
from deploy.embedded.addresses import claim, url
from deploy.embedded.folder import DATABASE_URL, METRICS_ENVIRONMENT, DataFolder
from deploy.embedded.postgres import ROLES, Postgres
from deploy.embedded.process import Child, Process
from deploy.embedded.program import Say
from deploy.embedded.programs import Addresses, Programs, operations_variable, router_name
from deploy.embedded.redis import Redis
from deploy.embedded.refusal import Refusal
from deploy.embedded.settings import EmbeddedSettings

PROBE_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 40.0  # for everything together
ANY_PORT = "127.0.0.1:0"


def _unheard(_: str, __: str) -> None:
    """Say nothing: each process keeps its last lines anyway."""


class Stack:
    """
    Started by `start` (or `async with`), ended by `stop`; `processes` holds them by name.

    Args:
        settings: A port 0 becomes a free one, see `base_url` and `sandbox_url`.
        user: The user's environment; what belongs to a service is passed on to it.
        say: Gets every line of every process.
    """

    def __init__(
        self,
        settings: EmbeddedSettings,
        *,
        user: Mapping[str, str] | None = None,
        say: Say = _unheard,
    ) -> None:
        self.processes: dict[str, Process] = {}
        self.folder = DataFolder(settings.data_folder)
        self.listens: dict[str, str] = {}  # by variable
        self.addresses: Addresses | None = None
        self._settings = settings
        self._user = environment.read(Path(".env")) if user is None else user
        self._say = say
        self._http: aiohttp.ClientSession | None = None

    @property
    def base_url(self) -> str:
        """Where the gateway answers."""
        return url(self.listens["GATEWAY_LISTEN"])

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox answers; its OpenAI-compatible part is below `/v1`."""
        return url(self.listens["SANDBOX_LISTEN"])

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """
        Start everything, each when what it needs is ready; return when the gateway is.

        Raises:
            Refusal: something is in the way; nothing is left running.
        """
        try:
            self.folder.open()
            self.listens = claim(self._wanted())
            self._http = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S), trust_env=False
            )
            await self._start_all()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End everything, in reverse order. Safe to call at any time, more than once."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                for process in reversed(self.processes.values()):
                    await process.stop()
        except TimeoutError:
            await self.kill()
        self.processes.clear()
        if self._http is not None:
            await self._http.close()
            self._http = None
        self.folder.close()

    async def kill(self) -> None:
        """End everything at once; nothing is lost by that."""
        await asyncio.gather(*(one.kill_for_good() for one in self.processes.values()))

    def _wanted(self) -> dict[str, str]:
        """Return what each variable asks for; what only we need takes any port."""
        fields = self._settings.model_dump()
        wanted = {name.upper(): value for name, value in fields.items() if name.endswith("_listen")}
        for index in range(1, self._settings.embedded_routers):
            wanted[operations_variable(router_name(index))] = ANY_PORT
        if self._settings.embedded_routers > 1:
            for index in range(self._settings.embedded_routers):
                wanted[_grpc_variable(index)] = ANY_PORT
        return wanted

    async def _start_all(self) -> None:
        postgres = Postgres(self.folder.path / "postgres")
        redis = Redis(self.folder.path / "redis")
        await self._start({"postgres": postgres, "redis": redis})
        self.folder.note(DATABASE_URL, postgres.superuser_url)
        self.addresses = self._addresses(
            databases={role: postgres.url(role) for role in ROLES}, redis=redis.url
        )
        programs = Programs(
            self._user,
            self.addresses,
            self.folder.internal_token(),
            self._answers,
            self._settings,
            self._say,
        )
        routers = [programs.router(index) for index in range(self._settings.embedded_routers)]
        metrics = programs.metrics()
        self.folder.note(METRICS_ENVIRONMENT, json.dumps(dict(metrics.environment)))
        for group in (
            [programs.sandbox(), *routers],
            [programs.experiments(), metrics],
            [programs.gateway()],
        ):
            await self._start({program.name: program for program in group})

    def _addresses(self, *, databases: Mapping[str, str], redis: str) -> Addresses:
        sockets = self.folder.sockets()
        many = self._settings.embedded_routers > 1  # one gRPC target cannot name two sockets
        return Addresses(
            listens=self.listens,
            databases=databases,
            redis=redis,
            routers=tuple(
                self.listens[_grpc_variable(index)] if many else f"unix:{sockets}/router.grpc"
                for index in range(self._settings.embedded_routers)
            ),
            experiments=f"unix:{sockets}/experiments.grpc",
            metrics=f"unix:{sockets}/metrics.grpc",
            journal=self.folder.private("journal"),
        )

    async def _start(self, children: Mapping[str, Child]) -> None:
        """Start some that do not need each other; the first refusal ends the others."""
        processes = [Process(name, child, say=self._say) for name, child in children.items()]
        self.processes.update({process.name: process for process in processes})
        try:
            async with asyncio.TaskGroup() as group:
                for process in processes:
                    group.create_task(process.start())
        except* Refusal as failures:
            raise failures.exceptions[0] from None

    async def _answers(self, probe: str) -> bool:
        assert self._http is not None  # noqa: S101  open while processes run
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.get(probe) as answer:
                return answer.status == 200  # noqa: PLR2004  OK
        return False


def _grpc_variable(index: int) -> str:
    return f"{router_name(index).upper().replace('-', '_')}_GRPC_LISTEN"
