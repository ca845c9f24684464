"""Every setting of the router, read once from the environment (`ROUTER_...`)."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from common.settings import ServiceSettings

SHIPPED_CATALOG = Path(__file__).parent / "catalog.yaml"


class RouterSettings(ServiceSettings):
    """Provider keys are not settings: the catalog names the variables that hold them."""

    model_config = SettingsConfigDict(env_prefix="ROUTER_")

    catalog_path: Path = Field(SHIPPED_CATALOG, description="the models and who serves them (YAML)")

    journal_path: Path = Field(
        Path(".data/journal"),
        description="folder for what cannot reach Postgres; must survive a restart",
    )
    journal_max_bytes: int = Field(
        1 << 30, ge=1 << 20, description="a fuller journal refuses requests instead of forgetting"
    )
    commit_timeout_s: float = Field(
        0.5, gt=0, description="a commit that takes longer goes to the journal"
    )

    reaper_interval_s: float = Field(15, gt=0, description="how often open attempts are looked for")
    reaper_grace_s: float = Field(
        30, ge=0, description="how long past its deadline an attempt may still settle itself"
    )
    ledger_retention_days: int | None = Field(
        None, ge=2, description="older days are dropped once every reader has passed them"
    )
    ledger_readers: str = Field(
        "metrics,experiments,gateway", description="whom retention waits for, comma-separated"
    )

    answer_ttl_s: int = Field(
        300, ge=1, description="how long an exact repeat is served from cache"
    )
    request_timeout_s: float = Field(
        600, gt=0, description="the most time one request may take, whatever its caller allows"
    )
    stream_drain_s: float = Field(
        30, ge=0, description="how long a stream goes on upstream once its client has gone"
    )

    @property
    def readers(self) -> list[str]:
        return [name.strip() for name in self.ledger_readers.split(",") if name.strip()]
