"""Every setting of experiments, read once from the environment (`EXPERIMENTS_...`)."""

from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from common.following import FollowingSettings


class ExperimentsSettings(FollowingSettings):
    model_config = SettingsConfigDict(env_prefix="EXPERIMENTS_")

    grpc_listen: str = Field(
        default="127.0.0.1:50052", description="where Assign and its kin are served"
    )
    operations_listen: str = Field(
        default="127.0.0.1:9102", description="/metrics, /livez, /readyz"
    )

    catch_up_s: float = Field(
        default=2.0,
        gt=0,
        le=4,
        description="how long results may wait for the ledger's newest rows",
    )
    webhook_url: str | None = Field(
        default=None, description="told of every change of an experiment; absent: nobody is"
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="signs what webhook_url is told (HMAC-SHA256)"
    )

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.webhook_url and not self.webhook_secret:
            raise ValueError("webhook_url needs webhook_secret: who is told must know it is us")
        if self.webhook_url and not self.webhook_url.startswith(("http://", "https://")):
            raise ValueError("webhook_url must begin with http:// or https://")
        return self
