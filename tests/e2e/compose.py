"""The stack of `docker compose up`, as a project of its own beside any other."""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from dotenv import dotenv_values

from scripts.fill_env import filled
from tests.e2e.stack import SETTINGS, StackUnderTest, until

ROOT = Path(__file__).parents[2]
OVERRIDE = Path(__file__).with_name("compose.override.yaml")
GRPC_PORTS = {"router": 50051, "experiments": 50052, "metrics": 50053}
PORTS = {
    "gateway": 8000,
    "sandbox": 8090,
    "postgres": 5432,
    "prometheus": 9090,
    **GRPC_PORTS,
}
HEALTHY_IN_TIME_S = 90
SEEN = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR")
LOG_LINES = "30"  # of each container


class ComposeStack(StackUnderTest):
    def __init__(self, *, routers: int = 1) -> None:
        super().__init__(pause_s=90, mixed_requests=10_000)
        self._routers = routers
        self._project = f"optimizer-e2e-{secrets.token_hex(3)}"
        self._folder: Path | None = None
        self._environment: dict[str, str | None] = {}
        self._ports: dict[str, str] = {}
        self.prometheus_url = ""

    async def start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="e2e-"))
        given = "".join(f"{name}={value}\n" for name, value in SETTINGS.items())
        env = self._folder / "env"
        env.touch(mode=0o600)
        env.write_text(filled((ROOT / ".env.example").read_text()) + given)
        self._environment = dotenv_values(env)
        self.key = self._environment["GATEWAY_ADMIN_KEY"] or ""
        self.internal_token = self._environment["INTERNAL_TOKEN"] or ""
        await self._compose(
            *("up", "--build", "--detach", "--wait", "--scale", f"router={self._routers}")
        )
        self._ports = await self._published(*PORTS)
        self.base_url = f"http://{self._ports['gateway']}"
        self.sandbox_url = f"http://{self._ports['sandbox']}"
        self.prometheus_url = f"http://{self._ports['prometheus']}"

    async def stop(self) -> None:
        if self._folder is not None:
            await self._compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
            shutil.rmtree(self._folder, ignore_errors=True)

    async def kill(self, service: str) -> None:
        """
        Docker takes a kill for a wish and does not restart what it killed: we do.

        Compose is not asked for the name: while it answers, a short load may be over.
        """
        container = f"{self._project}-{service}-1"
        await self._docker("kill", "--signal", "KILL", container)
        await self._docker("start", container)

    async def ready(self, service: str) -> None:
        await self._healthy(service)
        self._ports |= await self._published(service)

    @contextlib.asynccontextmanager
    async def postgres_paused(self) -> AsyncIterator[None]:
        await until(self._pause_postgres, within_s=30, step_s=1)
        try:
            yield
        finally:
            await self._compose("unpause", "postgres")

    async def _pause_postgres(self) -> bool:
        """A kernel under load may not freeze everything in time; then nothing is frozen."""
        try:
            await self._compose("pause", "postgres")
        except AssertionError as refused:
            if "unable to freeze" in str(refused):
                return False
            raise
        return True

    async def promtool(self, *arguments: str) -> str:
        """Run Prometheus' own tool beside it; it must succeed."""
        return await self._compose("exec", "-T", "prometheus", "promtool", *arguments)

    @contextlib.asynccontextmanager
    async def without(self, service: str) -> AsyncIterator[None]:
        """Do without one service for a while."""
        await self._compose("stop", "--timeout", "5", service)
        try:
            yield
        finally:
            await self._compose("start", service)
            await self.ready(service)

    async def stop_redis(self) -> None:
        await self._compose("stop", "--timeout", "5", "redis")

    async def start_redis(self) -> None:
        await self._compose("start", "redis")
        await self._healthy("redis")

    def superuser_url(self) -> str:
        return self._database_url("postgres", "POSTGRES_PASSWORD")

    def role_url(self, service: str) -> str:
        return self._database_url(service, f"POSTGRES_{service.upper()}_PASSWORD")

    def grpc_targets(self) -> Mapping[str, str]:
        return {service: self._ports[service] for service in GRPC_PORTS}

    async def router_metrics(self) -> list[str]:
        fetch = (
            "import urllib.request as u;"
            " print(u.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
        )
        return [
            await self._docker("exec", container, "python", "-c", fetch)
            for container in (await self._compose("ps", "--quiet", "router")).split()
        ]

    def last_lines(self) -> list[str]:
        told = subprocess.run(  # noqa: S603
            ["docker", *self._of_project("logs", "--no-color", "--tail", LOG_LINES)],  # noqa: S607
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        return told.stdout.splitlines()

    def _database_url(self, user: str, password_variable: str) -> str:
        password = self._environment[password_variable]
        return f"postgresql://{user}:{password}@{self._ports['postgres']}/optimizer"

    async def _healthy(self, service: str) -> None:
        """Wait for one service; `up --wait` would also judge what it depends on."""

        async def all_healthy() -> bool:
            containers = (await self._compose("ps", "--quiet", service)).split()
            told = await self._docker(
                "inspect", "--format", "{{.State.Health.Status}}", *containers
            )
            return {"healthy"} == set(told.split())

        await until(all_healthy, within_s=HEALTHY_IN_TIME_S, step_s=0.3)

    async def _published(self, *services: str) -> dict[str, str]:
        """Ask where services can be reached; a container that starts again gets another port."""
        return {
            service: (await self._compose("port", service, str(PORTS[service]))).strip()
            for service in services
        }

    def _of_project(self, *arguments: str) -> list[str]:
        assert self._folder is not None, "start it first"
        return [
            *("compose", "--project-name", self._project, "--project-directory", str(ROOT)),
            *("--file", str(ROOT / "docker-compose.yml"), "--file", str(OVERRIDE)),
            *("--env-file", str(self._folder / "env"), *arguments),
        ]

    async def _compose(self, *arguments: str) -> str:
        return await self._docker(*self._of_project(*arguments))

    async def _docker(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "docker",
            *arguments,
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, problems = await process.communicate()
        assert process.returncode == 0, f"docker {arguments}: {problems.decode()[-3000:]}"
        return out.decode()


def _environment() -> dict[str, str]:
    """Hand docker nothing of ours: a key in our environment would turn a provider on."""
    return {name: value for name, value in os.environ.items() if name in SEEN}
