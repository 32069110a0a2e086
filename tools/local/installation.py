"""Where the local system is and on which ports: from the environment, and in run.json for other commands."""

import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.local.environment import HOST
from tools.local.postgres import Postgres
from tools.local.processes import StartFailed, command_line
from tools.local.rabbitmq import RabbitMQ
from tools.local.settings import LocalSettings

DATABASE = "food"


@dataclass(frozen=True)
class Installation:
    """A directory with everything that the local system keeps, and the ports that it uses."""

    directory: Path
    ports: dict[str, int]

    @classmethod
    def from_environment(cls) -> "Installation":
        """Read LOCAL_DIR and the ports' variables. Raises StartFailed."""
        settings = LocalSettings.now()
        return cls(settings.local_dir.absolute(), settings.ports)

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def function_urls(self) -> Path:
        return self.directory / "functions.json"

    @property
    def prometheus_file(self) -> Path:
        return self.directory / "prometheus.yml"

    @property
    def run_file(self) -> Path:
        return self.directory / "run.json"

    @property
    def gateway(self) -> str:
        return f"http://{HOST}:{self.ports['GATEWAY_PORT']}"

    @property
    def broker(self) -> str:
        return f"http://{HOST}:{self.ports['BROKER_PORT']}"

    def postgres(self) -> Postgres:
        """The private server, started or not."""
        return Postgres(self.directory / "postgres", self.ports[Postgres.port_variable])

    def rabbitmq(self) -> RabbitMQ:
        """The private node, started or not."""
        return RabbitMQ(self.directory / "rabbitmq", self.ports[RabbitMQ.port_variable])

    def status(self) -> dict | None:
        """What the last system here wrote about itself into run.json, unless it was stopped in order."""
        try:
            return json.loads(self.run_file.read_text())
        except (OSError, ValueError):
            return None

    def running(self) -> dict | None:
        """The same of the running system; None when none runs here."""
        status = self.status()
        return status if status and "tools.local" in command_line(status["pid"]) else None

    def required_running(self) -> dict:
        """The same, or StartFailed."""
        if status := self.running():
            return status
        raise StartFailed(f"nothing runs in {self.directory}: start it with make run")

    def claim(self) -> int:
        """Keep a second system out of this directory for as long as this process lives."""
        self.directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.directory / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(handle, 20).decode().strip() or "?"
            raise StartFailed(f"already running (pid {pid}); make stop") from None
        os.truncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        return handle

    def remove(self) -> None:
        """Delete what the system keeps here, and nothing that it did not make."""
        self.postgres().remove()
        self.rabbitmq().remove()
        for folder in (self.secrets, self.logs):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.function_urls, self.prometheus_file, self.run_file, self.directory / "run.lock"):
            file.unlink(missing_ok=True)
        if self.directory.exists() and not any(self.directory.iterdir()):
            self.directory.rmdir()
