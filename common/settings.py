"""What every service is told by its environment. A service adds its own fields and its prefix."""

from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.errors import Invalid

MIB = 1024 * 1024
HIGHEST_PORT = 0xFFFF
Positive = Annotated[float, Field(gt=0)]
Settings = TypeVar("Settings", bound=BaseSettings)


def _token(secret: SecretStr) -> SecretStr:
    """A token travels in a header: printable ASCII without blanks, and not nothing."""
    value = secret.get_secret_value()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without blanks")
    return secret


class ServiceSettings(BaseSettings):
    """Read once, frozen. Field `x_s` of the router is the variable `ROUTER_X_S`."""

    # Inputs stay out of error messages: they may be secrets.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: SecretStr = Field(description="Postgres, or PgBouncer in transaction mode")
    database_direct_url: SecretStr | None = Field(
        default=None,
        description="Postgres itself, for migrations and leadership; else database_url",
    )
    database_pool_min: int = Field(default=1, ge=0, description="connections opened ahead")
    database_pool_max: int = Field(default=8, ge=1)
    database_statement_timeout_s: Positive = 60
    database_acquire_timeout_s: Positive = 5
    database_statement_cache: int = Field(
        default=0,
        ge=0,
        description="prepared statements kept by a connection; above 0 only without PgBouncer",
    )
    redis_url: SecretStr | None = Field(default=None, description="absent: no cache, no live push")
    internal_token: Annotated[SecretStr, AfterValidator(_token)] = Field(
        description="what the services tell each other, to be told from strangers"
    )
    grpc_listen: str = Field(default="127.0.0.1:50051", description="address:port or unix:/path")
    grpc_tls_cert_path: Path | None = None
    grpc_tls_key_path: Path | None = None
    grpc_tls_ca_path: Path | None = Field(
        default=None, description="who signed the neighbours' certificates; absent: plain text"
    )
    grpc_message_bytes: int = Field(default=32 * MIB, ge=MIB, description="largest message")
    operations_listen: str = Field(
        default="127.0.0.1:9100", description="/metrics, /livez, /readyz"
    )
    log_level: str = Field(default="info", pattern="(?i)^(debug|info|warning|error|critical)$")
    drain_s: float = Field(default=20, ge=0, description="how long a stop waits for open calls")

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.database_pool_min > self.database_pool_max:
            raise ValueError("database_pool_min is above database_pool_max")
        if (self.grpc_tls_cert_path is None) != (self.grpc_tls_key_path is None):
            raise ValueError("grpc_tls_cert_path and grpc_tls_key_path belong together")
        return self

    @property
    def direct_url(self) -> str:
        """Where session locks hold."""
        return (self.database_direct_url or self.database_url).get_secret_value()

    @property
    def redis_address(self) -> str | None:
        return self.redis_url.get_secret_value() if self.redis_url else None


class TelemetrySettings(BaseSettings):
    """
    OpenTelemetry's own variables, alike for every service: on with an endpoint, else off.

    The SDK reads these and its others (timeouts, compression, certificates) from the environment;
    OTEL_SERVICE_NAME is for one process, so it is not among what all are told.
    """

    model_config = SettingsConfigDict(
        env_prefix="OTEL_",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        env_ignore_empty=True,
    )

    exporter_otlp_endpoint: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="an OpenTelemetry collector, such as http://127.0.0.1:4318; absent: nothing is"
        " sent (docs/howto/monitor.md)",
    )
    exporter_otlp_headers: SecretStr | None = Field(
        default=None, description="what the collector asks for: name=value,name=value"
    )
    exporter_otlp_protocol: str = Field(
        default="http/protobuf", description="the only one that is spoken"
    )
    resource_attributes: str = Field(
        default="", description="said of every service: deployment.environment.name=production"
    )
    traces_sampler: str = Field(
        default="parentbased_always_on",
        description="whose traces are kept; parentbased_traceidratio keeps the share of the next",
    )
    traces_sampler_arg: str = ""
    bsp_max_queue_size: int = Field(
        default=2048, ge=512, description="spans that may wait for the collector; more are dropped"
    )
    metric_export_interval: int = Field(
        default=60_000, gt=0, description="milliseconds between two sendings of metrics"
    )
    sdk_disabled: bool = Field(default=False, description="off, whatever the endpoint")

    @property
    def wanted(self) -> bool:
        return bool(self.exporter_otlp_endpoint) and not self.sdk_disabled


def from_environment(settings: type[Settings]) -> Settings:
    """
    Read settings from the environment.

    Raises:
        Invalid: variables are missing or out of bounds; named, without what they hold.
    """
    try:
        return settings()
    except ValidationError as error:
        prefix = settings.model_config.get("env_prefix", "")
        raise Invalid("; ".join(_problem(prefix, one) for one in error.errors())) from None


def _problem(prefix: str, one: ErrorDetails) -> str:
    name = "_".join(map(str, one["loc"])).upper()
    said = one["msg"].removeprefix("Value error, ")
    return f"{prefix}{name}: {said}" if name else said


def split_listen(listen: str) -> tuple[str, int]:
    """Split `127.0.0.1:9100` or `[::1]:9100` into address and port; port 0 asks for a free one."""
    address, separator, port = listen.rpartition(":")
    if not separator or not address or not port.isascii() or not port.isdigit():
        raise ValueError(f"expected address:port, got {listen!r}")
    if int(port) > HIGHEST_PORT:
        raise ValueError(f"no such port: {listen!r}")
    return address.removeprefix("[").removesuffix("]"), int(port)
