"""What can be set about running everything here. The services' own settings pass through."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.embedded.refusal import Refusal

Listen = str  # host:port; port 0 picks a free one
OPERATIONS = "metrics and health"


class EmbeddedSettings(BaseSettings):
    """Read once, from the environment and from `.env`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    data_folder: Path = Field(Path(".data"), description="databases, journal and secrets live here")
    embedded_routers: int = Field(1, ge=1, le=8, description="how many routers share the load")
    embedded_start_timeout_s: float = Field(
        60, gt=0, description="how long one process may take to start"
    )
    embedded_stop_timeout_s: float = Field(
        10, gt=0, description="how long one process may take to stop"
    )

    gateway_listen: Listen = Field("127.0.0.1:8000", description="the public API")
    sandbox_listen: Listen = Field("127.0.0.1:8090", description="the keyless provider")
    gateway_operations_listen: Listen = Field("127.0.0.1:9100", description=OPERATIONS)
    router_operations_listen: Listen = Field("127.0.0.1:9101", description=OPERATIONS)
    experiments_operations_listen: Listen = Field("127.0.0.1:9102", description=OPERATIONS)
    metrics_operations_listen: Listen = Field("127.0.0.1:9103", description=OPERATIONS)

    @classmethod
    def of(cls, user: Mapping[str, str]) -> Self:
        """
        Read the settings from *user*'s environment; an empty variable counts as absent.

        Raises:
            Refusal: a value is out of bounds; names the variable.
        """
        given = {name: user.get(name.upper()) for name in cls.model_fields}
        try:
            return cls.model_validate({name: value for name, value in given.items() if value})
        except ValidationError as error:
            problems = (
                f"{'.'.join(map(str, one['loc'])).upper()}={one['input']!r}: {one['msg']}"
                for one in error.errors()
            )
            raise Refusal("\n".join(problems)) from None
