"""The stack of `docker compose up`, as a project of its own beside any other."""

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from dotenv import dotenv_values

from scripts.fill_env import filled
from tests.e2e.stack import SETTINGS, StackUnderTest

ROOT = Path(__file__).parents[2]
OVERRIDE = Path(__file__).with_name("compose.override.yaml")
INNER_PORTS = {"gateway": 8000, "sandbox": 8090, "postgres": 5432}
GRPC_PORTS = {"router": 50051, "experiments": 50052, "metrics": 50053}
SEEN = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR")
LOG_LINES = "200"


class ComposeStack(StackUnderTest):
    def __init__(self, *, routers: int = 1) -> None:
        super().__init__(pause_s=90, mixed_requests=10_000)
        self._routers = routers
        self._project = f"optimizer-e2e-{secrets.token_hex(3)}"
        self._folder: Path | None = None
        self._environment: dict[str, str | None] = {}
        self._ports: dict[str, str] = {}

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
        for service, port in {**INNER_PORTS, **GRPC_PORTS}.items():
            published = await self._compose("port", service, str(port))
            self._ports[service] = published.strip()
        self.base_url = f"http://{self._ports['gateway']}"
        self.sandbox_url = f"http://{self._ports['sandbox']}"

    async def stop(self) -> None:
        if self._folder is not None:
            await self._compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
            shutil.rmtree(self._folder, ignore_errors=True)

    async def kill_router(self) -> None:
        """Docker takes a kill for a wish and does not restart what it killed: we do."""
        container = (await self._compose("ps", "--quiet", "router")).split()[0]
        await self._docker("kill", "--signal", "KILL", container)
        await self._docker("start", container)

    async def router_ready(self) -> None:
        await self._compose(
            *("up", "--detach", "--wait", "--no-recreate", "--no-build"),
            *("--scale", f"router={self._routers}", "router"),
        )

    @contextlib.asynccontextmanager
    async def postgres_paused(self) -> AsyncIterator[None]:
        await self._compose("pause", "postgres")
        try:
            yield
        finally:
            await self._compose("unpause", "postgres")

    async def stop_redis(self) -> None:
        await self._compose("stop", "--timeout", "5", "redis")

    async def start_redis(self) -> None:
        await self._compose("up", "--detach", "--wait", "--no-recreate", "--no-build", "redis")

    def superuser_url(self) -> str:
        return self._database("postgres", "POSTGRES_PASSWORD")

    def role_url(self, service: str) -> str:
        return self._database(service, f"POSTGRES_{service.upper()}_PASSWORD")

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

    async def read_log(self) -> None:
        text = await self._compose("logs", "--no-color", "--tail", LOG_LINES)
        self.log = text.splitlines()

    def _database(self, user: str, password_variable: str) -> str:
        password = self._environment[password_variable]
        return f"postgresql://{user}:{password}@{self._ports['postgres']}/optimizer"

    async def _compose(self, *arguments: str) -> str:
        assert self._folder is not None, "start it first"
        return await self._docker(
            *("compose", "--project-name", self._project, "--project-directory", str(ROOT)),
            *("--file", str(ROOT / "docker-compose.yml"), "--file", str(OVERRIDE)),
            *("--env-file", str(self._folder / "env"), *arguments),
        )

    async def _docker(self, *arguments: str) -> str:
        """Run docker with nothing of ours: a key in our environment would turn a provider on."""
        process = await asyncio.create_subprocess_exec(
            "docker",
            *arguments,
            env={name: value for name, value in os.environ.items() if name in SEEN},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, problems = await process.communicate()
        assert process.returncode == 0, f"docker {arguments}: {problems.decode()[-3000:]}"
        return out.decode()
