"""Every setting of the gateway, read once from `GATEWAY_...` variables."""

from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from common.origins import is_loopback
from common.settings import ServiceSettings, split_listen


class GatewaySettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    listen: str = Field("127.0.0.1:8000", description="where clients reach the gateway")
    admin_key: SecretStr | None = Field(
        None, description="the first admin's key; required unless listening on loopback only"
    )
    allowed_origins: str = Field(
        "",
        description="web origins beside our own that may ask without a key and open the live"
        " socket, separated by commas",
    )

    router_target: str = Field("127.0.0.1:50051", description="gRPC target of the router")
    experiments_target: str = Field("127.0.0.1:50052", description="gRPC target of experiments")
    metrics_target: str = Field("127.0.0.1:50053", description="gRPC target of metrics")

    max_body_bytes: int = Field(16 * 2**20, ge=1024, description="larger bodies are refused: 413")
    client_wait_s: float = Field(
        30,
        gt=0,
        description="how long a client may take for its headers, and for each piece of a body: 408",
    )
    request_timeout_s: float = Field(600, gt=0, le=600, description="deadline of one completion")
    heartbeat_s: float = Field(15, gt=0, description="silence after which a stream says it lives")
    keep_alive_s: int = Field(75, ge=1, description="how long idle client connections stay open")

    live_clients: int = Field(200, ge=1, description="live sockets at once; the next gets 1013")
    live_message_bytes: int = Field(4096, ge=64, description="larger messages close a live socket")
    live_poll_s: float = Field(5, gt=0, description="how often metrics are polled without Redis")

    comparisons_at_once: int = Field(
        4, ge=1, description="answers that are compared with the other arm's at a time"
    )
    comparisons_waiting: int = Field(
        64, ge=1, description="answers that may wait for that; more are not compared"
    )
    comparison_timeout_s: float = Field(
        120, gt=0, description="how long comparing one answer may take"
    )

    @field_validator("admin_key", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value in ("", None) else value

    @field_validator("admin_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        key = value.get_secret_value() if value else "x"
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError("GATEWAY_ADMIN_KEY must be printable ASCII without spaces")
        return value

    @model_validator(mode="after")
    def _open_only_on_loopback(self) -> Self:
        host, _ = self.listen_address
        if self.admin_key is None and not is_loopback(host):
            raise ValueError(
                f"GATEWAY_LISTEN={self.listen} can be reached from elsewhere:"
                " set GATEWAY_ADMIN_KEY, or listen on 127.0.0.1"
            )
        return self

    @property
    def listen_address(self) -> tuple[str, int]:
        return split_listen(self.listen)

    @property
    def allowed_origin_set(self) -> frozenset[str]:
        listed = self.allowed_origins.lower().split(",")
        return frozenset(filter(None, (origin.strip().rstrip("/") for origin in listed)))
