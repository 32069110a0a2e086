"""The whole system on servers behind a proxy, with somebody who starts again what has ended."""

import json
import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.chaos.toxiproxy import Toxiproxy
from tests.system import Rows, System, own_directory
from tools.local import children
from tools.local.children import Child
from tools.local.environment import ROOT
from tools.local.postgres import Postgres
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ
from tools.migrate import migrate

POSTGRES, RABBITMQ = "postgres", "rabbitmq"
DATABASE = "food"
# Waits are shorter than in production, so that a fault can last for longer than every one of them.
ENVIRONMENT = {
    "AUTH_ACCESS_SECONDS": "86400",
    "CRON_EVERY_SECONDS": "1",
    "CRON_TIMEOUT_SECONDS": "10",
    "DISPATCHER_TIMEOUT_SECONDS": "5",
    "GATEWAY_TIMEOUT_SECONDS": "5",
    "ORDER_OUTBOX_AGE_SECONDS": "2",
    "SAGA_DEADLINE_SECONDS": "5",
    "SAGA_TRIES": "1000",
}
LONGER_THAN_EVERY_TIMEOUT = 20.0


class Behind:
    """A server as the system sees it: everything is the server's own, but for its address."""

    def __init__(self, server: RabbitMQ, port: int):
        self._server = server
        self.url = server.url.replace(f":{server.port}/", f":{port}/")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


class World:
    """The system, its servers, the proxy between them, and what may be done to each."""

    def __init__(
        self, directory: Path, old: str | None = None, seed: int = 0, environment: dict[str, str] = ENVIRONMENT
    ):
        self.postgres = Postgres(directory / "postgres", free_port())
        self.rabbitmq = RabbitMQ(directory / "rabbitmq", free_port())
        self.postgres.start()
        self.rabbitmq.start()
        self.proxy = Toxiproxy(directory / "toxiproxy.log")
        Rows(self.postgres.url()).rows(f"CREATE DATABASE {DATABASE}")
        self.sql = Rows(self.postgres.url(DATABASE))
        database = self._seen(self.postgres.url(DATABASE), self.postgres.port, POSTGRES)
        behind = Behind(self.rabbitmq, self.proxy.before(RABBITMQ, self.rabbitmq.port))
        self.system = System(directory / "system", self.postgres, behind, database, **environment)
        secrets = self.system.installation.secrets
        admin = (secrets / "admin-password").read_text().strip()
        migrate(self.sql.url, json.loads((secrets / "roles.json").read_text()), admin_password=admin)
        self.old = self._mixed_with(old, directory / "old", seed) if old else []
        self._ending = threading.Event()
        self._held: set[str] = set()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor")

    def _seen(self, url: str, port: int, name: str) -> str:
        return url.replace(f":{port}/", f":{self.proxy.before(name, port)}/")

    def _mixed_with(self, revision: str, directory: Path, seed: int) -> list[str]:
        """Let half of the functions' processes run the code of an older revision of the repository."""
        directory.mkdir()
        archive = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "--extract", "--directory", directory], input=archive, check=True)
        owners = self.system.plan.functions
        chosen = random.Random(seed).sample(owners, len(owners) // 2)
        for process in chosen:
            process.cwd = directory
        return sorted(process.name for process in chosen)

    @property
    def processes(self) -> dict[str, Child]:
        """Every process of the system by its name."""
        return {process.name: process for process in [*self.system.processes, self.system.plan.triggers["cron"]]}

    @property
    def gateway(self) -> str:
        """The address of the public host."""
        return self.system.gateway.base

    def start(self) -> None:
        """Start the system, and from now on whatever of it ends."""
        self.system.start()
        self.processes["cron"].start()
        self._supervisor.start()

    def _supervise(self) -> None:
        # At once, unlike the local system's own: an interval that grows would hide how fast the saga itself heals.
        while not self._ending.wait(0.1):
            for name, process in self.processes.items():
                if name not in self._held and not process.runs:
                    process.start()

    @contextmanager
    def held(self, name: str) -> Iterator[Child]:
        """What happens to this process meanwhile is nobody else's business: it isn't started again."""
        self._held.add(name)
        try:
            yield self.processes[name]
        finally:
            self._held.discard(name)

    def stop(self) -> None:
        """End everything."""
        self._ending.set()
        with suppress(RuntimeError):
            self._supervisor.join()
        children.stop([self.processes["cron"]])
        self.system.stop()
        self.proxy.stop()
        self.rabbitmq.remove()
        self.postgres.remove()


@contextmanager
def running(keep: bool, old: str | None, seed: int) -> Iterator[World]:
    """A world of its own for as long as it is needed; with `keep` its logs stay."""
    with own_directory("food-chaos-", keep) as directory:
        world = World(directory, old, seed)
        try:
            world.start()
            yield world
        finally:
            world.stop()
