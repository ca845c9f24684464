"""Every setting of metrics, read once from the environment (`METRICS_...`)."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from common.settings import ServiceSettings


class MetricsSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="METRICS_")

    grpc_listen: str = Field(
        default="127.0.0.1:50053", description="where GetSnapshot and its kin are served"
    )
    operations_listen: str = Field(
        default="127.0.0.1:9103", description="/metrics, /livez, /readyz"
    )
    router_target: str = Field(
        default="127.0.0.1:50051", description="the router whose ledger is followed (gRPC target)"
    )

    live_interval_s: float = Field(
        default=1.0,
        gt=0,
        description="the least time between two snapshots pushed while rows arrive",
    )
    rollup_retention_days: int = Field(
        default=400,
        ge=8,
        description="rollups older than this are deleted; the ledger is not touched",
    )
    correction_window_days: int = Field(
        default=35, ge=1, description="how long after a request its cost may still be corrected"
    )
