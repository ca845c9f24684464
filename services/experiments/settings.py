"""Every setting of experiments, read once from the environment (`EXPERIMENTS_...`)."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from common.settings import ServiceSettings


class ExperimentsSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="EXPERIMENTS_")

    grpc_listen: str = Field(
        default="127.0.0.1:50052", description="where Assign and its kin are served"
    )
    operations_listen: str = Field(
        default="127.0.0.1:9102", description="/metrics, /livez, /readyz"
    )
    router_target: str = Field(
        default="127.0.0.1:50051", description="the router whose ledger is followed (gRPC target)"
    )

    catch_up_s: float = Field(
        default=2.0,
        gt=0,
        le=4,
        description="how long results may wait for the ledger's newest rows",
    )
