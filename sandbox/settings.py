"""What can be set. The sandbox needs no keys and keeps no secrets."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SandboxSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SANDBOX_", frozen=True, extra="ignore")

    listen: str = Field(default="127.0.0.1:8090", description="host:port; port 0 picks a free one")
    latency_scale: float = Field(
        default=1.0, ge=0, le=100, description="1: as slow as real models; 0: no delay"
    )
    seed: int = Field(default=0, description="another seed, other right and wrong answers")
    drain_s: float = Field(
        default=2.0, ge=0, description="how long running answers may take to end at shutdown"
    )
    bill_entries: int = Field(
        default=200_000, ge=1, description="how many served requests the bill remembers"
    )
