"""
Tells every setting where the user sets them: .env.example, and the containers' environment.

Both are made from the settings classes, so that they list every setting and no other.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from common.settings import TelemetrySettings
from deploy.embedded.settings import EmbeddedSettings
from sandbox.settings import SandboxSettings
from services.experiments.settings import ExperimentsSettings
from services.gateway.settings import GatewaySettings
from services.metrics.settings import MetricsSettings
from services.router.settings import SHIPPED_CATALOG, RouterSettings

ROOT = Path(__file__).parents[1]
TARGET = ROOT / ".env.example"
COMPOSE = ROOT / "docker-compose.yml"
SERVICES: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("gateway", GatewaySettings),
    ("router", RouterSettings),
    ("experiments", ExperimentsSettings),
    ("metrics", MetricsSettings),
    ("sandbox", SandboxSettings),
)
HEADER = """\
# Every setting there is. `make env` copies this to .env with fresh secrets; `make run` and
# `docker compose` read it there. A line that starts with # shows the default.
# Made by `make env-example` from the settings classes.

# --- Secrets: containers need them all; `make run` makes its own but for the admin key ---
# Letters and digits only: they become part of addresses.

# the database's owner, and one password per service
POSTGRES_PASSWORD=
POSTGRES_GATEWAY_PASSWORD=
POSTGRES_ROUTER_PASSWORD=
POSTGRES_EXPERIMENTS_PASSWORD=
POSTGRES_METRICS_PASSWORD=

# what the services show each other
INTERNAL_TOKEN=

# the first admin's key; with it, every client needs a key
GATEWAY_ADMIN_KEY=

# --- Provider keys: only the router sees them; a provider without one is off ---

"""
PASSED_ON = "      # from .env, where it is set there \\(kept by `make env-example`\\)\n"
CONTAINERS = """
# --- Containers: what is published, and where ---

#GATEWAY_PUBLISH=127.0.0.1:8000
#PROMETHEUS_PUBLISH=127.0.0.1:9090
"""


def render() -> str:
    """Return the text of .env.example."""
    keys = "".join(f"#{name}=\n" for name in provider_variables(SHIPPED_CATALOG.read_text()))
    embedded = _section("make run: everything on this machine", EmbeddedSettings, told=set())
    told = {name for name, _ in variables(EmbeddedSettings)} | {"GATEWAY_ADMIN_KEY"}
    services = "".join(_section(title, settings, told) for title, settings in SERVICES)
    telemetry = _section("OpenTelemetry: all services but the sandbox", TelemetrySettings, set())
    return HEADER + keys + CONTAINERS + embedded + services + telemetry


def compose(text: str) -> str:
    """Return docker-compose.yml with every setting that it does not fix passed on from .env."""
    services = yaml.safe_load(text)["services"]
    for service, settings in SERVICES:
        fixed = {name for name, value in services[service]["environment"].items() if value}
        passed = [name for name, _ in variables(settings) if name not in fixed]
        if service != "sandbox":
            passed += [name for name, _ in variables(TelemetrySettings)]
        if service == "router":
            passed += provider_variables(SHIPPED_CATALOG.read_text())
        lines = "".join(f"      {name}:\n" for name in passed)
        block = re.search(
            rf"(?m)^  {service}:\n(?:(?!  \w).*\n)*?{PASSED_ON}((?:      \w+:\n)*)", text
        )
        if block is None:
            raise SystemExit(f"docker-compose.yml: {service} has no place for what is passed on")
        text = text[: block.start(1)] + lines + text[block.end(1) :]
    return text


def provider_variables(catalog: str) -> list[str]:
    """List the variables that hold keys or addresses of providers, in the catalog's order."""
    found: list[str] = []
    for provider in yaml.safe_load(catalog)["providers"]:
        found += re.findall(r"\$\{(\w+)\}", provider.get("base_url") or "")
        found += [provider["api_key_env"]] if provider.get("api_key_env") else []
    return list(dict.fromkeys(name for name in found if name != "SANDBOX_URL"))


def variables(settings: type[BaseSettings]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield each setting's variable."""
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        yield (prefix + name).upper(), field


def _section(title: str, settings: type[BaseSettings], told: set[str]) -> str:
    lines = [f"\n# --- {title} ---\n\n"]
    for variable, field in variables(settings):
        if variable not in told:
            about = textwrap.wrap(field.description or "", 96)
            lines += [f"# {line}\n" for line in about]
            lines.append(f"#{variable}={_default(field)}\n")
    return "".join(lines)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path) and value.is_absolute():
        value = value.relative_to(ROOT)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return f'"{text}"' if re.search(r"\s|#", text) else text


if __name__ == "__main__":
    TARGET.write_text(render())
    COMPOSE.write_text(compose(COMPOSE.read_text()))
