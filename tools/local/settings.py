"""What the local system reads from its environment, typed as a function's settings are."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from functions.shared.settings import Misconfigured, Settings, read_again
from tools.local.environment import ROOT
from tools.local.processes import StartFailed

# Below the range that outgoing connections take their ports from, so that none of them is ever in the way.
Port = Annotated[int, Field(ge=1, le=65_000)]


class LocalSettings(Settings):
    """Where the system is, on which ports, and which servers it uses that are there already."""

    local_dir: Path = Field(default=ROOT / ".local", description="directory of everything that it keeps")
    gateway_port: Port = Field(default=8000, description="port of the public host")
    broker_port: Port = Field(default=8001, description="port of the broker")
    metrics_port: Port = Field(default=8010, description="first of two ports for metrics")
    functions_port: Port = Field(default=8100, description="first port of the functions' processes")
    local_postgres_port: Port = Field(default=25432, description="port of its own PostgreSQL")
    local_rabbitmq_port: Port = Field(default=25673, description="port of its own RabbitMQ")
    database_url: str | None = Field(
        default=None, pattern=r"^postgres(ql)?://", description="address of a PostgreSQL that is there already"
    )
    amqp_url: str | None = Field(
        default=None, pattern=r"^amqps?://", description="address of a RabbitMQ that is there already"
    )

    @classmethod
    def now(cls) -> "LocalSettings":
        """As the environment is now. Raises StartFailed with one line that has all that is wrong."""
        try:
            return read_again(cls)
        except Misconfigured as problem:
            raise StartFailed(str(problem)) from None

    @property
    def ports(self) -> dict[str, int]:
        """By the variables that change them."""
        return {name.upper(): port for name, port in self if name.endswith("_port")}
