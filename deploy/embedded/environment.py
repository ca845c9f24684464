"""
What each process is told: its own settings, and of the user's environment only what is its own.

The edge holds no provider secret and the router no client secret, so nobody inherits everything.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

SYSTEM = (  # what any program may need to find its way
    *("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SYSTEMROOT"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
)
OWN_PREFIXES = {  # whose variables nobody else sees
    "gateway": "GATEWAY_",
    "router": "ROUTER_",
    "experiments": "EXPERIMENTS_",
    "metrics": "METRICS_",
    "sandbox": "SANDBOX_",
}
SHARED_PREFIX = "OTEL_"  # alike for every service, and none of the sandbox's business
NOT_THE_ROUTERS = ("EMBEDDED_", "POSTGRES_", "INTERNAL_TOKEN", "DATA_FOLDER")


def read(dotenv: Path) -> dict[str, str]:
    """Return the user's environment, over what *dotenv* says if it exists."""
    written = {name: value for name, value in dotenv_values(dotenv).items() if value is not None}
    return {**written, **os.environ}


def of_system(user: Mapping[str, str]) -> dict[str, str]:
    """Return what every process inherits."""
    return {
        name: value for name, value in user.items() if name in SYSTEM or name.startswith("LC_")
    } | {"PYTHONUNBUFFERED": "1"}


def of_service(
    service: str,
    user: Mapping[str, str],
    *,
    fixed: Mapping[str, str],
    defaults: Mapping[str, str],
) -> dict[str, str]:
    """
    Return what *service* sees: the system's part, its own variables, and what the stack tells it.

    The user's variables win over *defaults*; *fixed* is how the processes find each other. The
    router also sees what no service owns: its catalog names the variables of the providers' keys.
    """
    own = OWN_PREFIXES[service]
    others = tuple(prefix for prefix in OWN_PREFIXES.values() if prefix != own)
    seen = {
        name: value
        for name, value in user.items()
        if name.startswith(own)
        or (service != "sandbox" and name.startswith(SHARED_PREFIX))
        or (service == "router" and not name.startswith(others + NOT_THE_ROUTERS))
    }
    set_by_user = {name: value for name, value in seen.items() if value}  # empty: as if absent
    return {**of_system(user), **defaults, **set_by_user, **fixed}
