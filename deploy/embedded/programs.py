"""The services' processes: which module, told what, ready when."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.addresses import url
from deploy.embedded.environment import of_service
from deploy.embedded.program import Program, Say
from deploy.embedded.settings import EmbeddedSettings

Answers = Callable[[str], Awaitable[bool]]  # does this URL answer 200?


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the processes of one stack find each other."""

    listens: Mapping[str, str]  # by variable
    databases: Mapping[str, str]  # URL by role
    redis: str
    routers: tuple[str, ...]  # gRPC, as each router listens
    experiments: str
    metrics: str
    journal: Path

    @property
    def router_target(self) -> str:
        """Return one gRPC target for all routers."""
        return self.routers[0] if len(self.routers) == 1 else "ipv4:" + ",".join(self.routers)


@dataclass(frozen=True)
class Programs:
    """Makes each service's program from the user's environment and the stack's addresses."""

    user: Mapping[str, str]
    addresses: Addresses
    internal_token: str
    answers: Answers
    settings: EmbeddedSettings
    say: Say

    def sandbox(self) -> Program:
        listen = self.addresses.listens["SANDBOX_LISTEN"]
        return self._program(
            "sandbox", "sandbox", f"{url(listen)}/livez", fixed={"SANDBOX_LISTEN": listen}
        )

    def router(self, index: int) -> Program:
        name = router_name(index)
        return self._service(
            "router",
            name=name,
            operations=self.addresses.listens[operations_variable(name)],
            grpc=self.addresses.routers[index],
            fixed={"ROUTER_JOURNAL_PATH": str(self.addresses.journal)},
            defaults={"SANDBOX_URL": f"{url(self.addresses.listens['SANDBOX_LISTEN'])}/v1"},
        )

    def experiments(self) -> Program:
        return self._follower("experiments", self.addresses.experiments)

    def metrics(self) -> Program:
        return self._follower("metrics", self.addresses.metrics)

    def gateway(self) -> Program:
        return self._service(
            "gateway",
            operations=self.addresses.listens["GATEWAY_OPERATIONS_LISTEN"],
            fixed={
                "GATEWAY_LISTEN": self.addresses.listens["GATEWAY_LISTEN"],
                "GATEWAY_ROUTER_TARGET": self.addresses.router_target,
                "GATEWAY_EXPERIMENTS_TARGET": self.addresses.experiments,
                "GATEWAY_METRICS_TARGET": self.addresses.metrics,
            },
        )

    def _follower(self, service: str, grpc: str) -> Program:
        return self._service(
            service,
            operations=self.addresses.listens[operations_variable(service)],
            grpc=grpc,
            fixed={f"{service.upper()}_ROUTER_TARGET": self.addresses.router_target},
        )

    def _service(
        self,
        service: str,
        *,
        operations: str,
        fixed: Mapping[str, str],
        defaults: Mapping[str, str] | None = None,
        grpc: str | None = None,
        name: str | None = None,
    ) -> Program:
        common = {
            "DATABASE_URL": self.addresses.databases[service],
            "DATABASE_DIRECT_URL": self.addresses.databases[service],
            "REDIS_URL": self.addresses.redis,
            "INTERNAL_TOKEN": self.internal_token,
            "OPERATIONS_LISTEN": operations,
        }
        if grpc is not None:
            common["GRPC_LISTEN"] = grpc
        usual = {
            "DATABASE_STATEMENT_CACHE": "100",  # no PgBouncer between us
            "DRAIN_S": "5",
        }
        prefix = f"{service.upper()}_"
        return self._program(
            service,
            f"services.{service}",
            f"{url(operations)}/readyz",
            name=name,
            fixed={**{prefix + key: value for key, value in common.items()}, **fixed},
            defaults={**{prefix + key: value for key, value in usual.items()}, **(defaults or {})},
        )

    def _program(
        self,
        service: str,
        module: str,
        probe: str,
        *,
        fixed: Mapping[str, str],
        defaults: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> Program:
        return Program(
            name or service,
            (sys.executable, "-m", module),
            environment=of_service(service, self.user, fixed=fixed, defaults=defaults or {}),
            ready=lambda: self.answers(probe),
            say=self.say,
            start_timeout_s=self.settings.embedded_start_timeout_s,
            stop_timeout_s=self.settings.embedded_stop_timeout_s,
        )


def router_name(index: int) -> str:
    """Name the process: the first is `router`, then `router-2`."""
    return "router" if index == 0 else f"router-{index + 1}"


def operations_variable(name: str) -> str:
    """Name the variable of a process's operations port."""
    return f"{name.upper().replace('-', '_')}_OPERATIONS_LISTEN"
