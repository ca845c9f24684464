"""Every setting of metrics, read once from the environment (`METRICS_...`)."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from common.following import FollowingSettings


class MetricsSettings(FollowingSettings):
    model_config = SettingsConfigDict(env_prefix="METRICS_")

    grpc_listen: str = Field(
        default="127.0.0.1:50053", description="where GetSnapshot and its kin are served"
    )
    operations_listen: str = Field(
        default="127.0.0.1:9103", description="/metrics, /livez, /readyz"
    )

    live_interval_s: float = Field(
        default=1.0,
        gt=0,
        description="the least time between two snapshots pushed while rows arrive",
    )
    rollup_retention_days: int = Field(
        default=400,
        ge=35,
        description="rollups older than this are deleted; the ledger is not touched",
    )
    minute_retention_days: int = Field(
        default=35,
        ge=31,
        description="those of minutes and quarters of hours, which no chart shows for longer",
    )
    correction_window_days: int = Field(
        default=35, ge=1, description="how long after a request its cost may still be corrected"
    )
