"""The system that is sent everything: its own servers, clients, an administrator, a look at all of its tables."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.clients import API
from tests.fuzz.inputs import EATER, GUEST
from tests.fuzz.watchdog import Process, Watchdog
from tests.system import OURS, System, own_directory, wait_until
from tools.install import owners
from tools.local.postgres import Postgres
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ
from tools.migrate import create_database, migrate
from triggers.topology import Topology

PASSWORD = "fuzz-password"
TABLES = """
    SELECT table_schema AS schema, table_name AS name FROM information_schema.tables
     WHERE table_type = 'BASE TABLE' AND table_schema = ANY(CAST(:owners AS text[])) ORDER BY 1, 2
"""
# Everything that a table has, in one number; of a row that changes and changes back nobody will ever know.
CONTENT = """
    SELECT '{0}' AS name,
           (SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(CAST(t AS text), 0)), 0)
              FROM {0} AS t) AS content
"""


class World:
    """The running system, and what judges need to know of it."""

    def __init__(self, directory: Path):
        self.postgres = Postgres(directory / "postgres", free_port(), fast=True)
        self.rabbitmq = RabbitMQ(directory / "rabbitmq", free_port())
        self.postgres.start()
        self.rabbitmq.start()
        url = self.postgres.url("food")
        create_database(url)
        self.system = System(directory / "system", self.postgres, self.rabbitmq, url, AUTH_ACCESS_SECONDS="86400")
        self.secrets = self.system.installation.secrets
        self.admin_password = (self.secrets / "admin-password").read_text().strip()
        migrate(url, json.loads((self.secrets / "roles.json").read_text()), admin_password=self.admin_password)
        self._topology = Topology("food.events", "classic")
        self._read_to: dict[str, int] = {}

    def start(self) -> None:
        """Start the system, and give it its client."""
        self.system.start()
        gateway = self.system.gateway
        for number, name in enumerate((GUEST, EATER)):
            facts = {
                "username": name, "password": PASSWORD, "firstName": "Fuzz", "lastName": "Guest",
                "email": "fuzz@example.org", "mobilePhone": f"+10000000000{number}",
            }  # fmt: skip
            gateway.post(f"{API}/auth/registration", json=facts)
            token, money = self._token(name, PASSWORD), {"username": name, "amount": 1_000_000}
            assert gateway.post(f"{API}/external/user/balance/add", json=money, token=token).json["status"] == "OK"
        self.bearer = self._token(GUEST, PASSWORD)
        self.admin = self._token("admin", self.admin_password)
        names = [(process.name, process.pid) for process in self.system.processes]
        self.watchdog = Watchdog([Process(name, pid) for name, pid in names])

    def _token(self, username: str, password: str) -> str:
        body = {"username": username, "password": password}
        return self.system.gateway.post(f"{API}/auth/token", json=body).json["access_token"]

    @property
    def placeholders(self) -> dict[bytes, bytes]:
        """What stands in inputs for what is another in each installation."""
        ours = OURS["Authorization"].removeprefix("Bearer ")
        return {b"@BEARER@": self.bearer.encode(), b"@ADMIN@": self.admin.encode(), b"@OURS@": ours.encode()}

    def content(self) -> dict[str, str]:
        """What is in each table."""
        tables = self.system.sql.rows(TABLES, owners=list(owners()))
        asked = " UNION ALL ".join(CONTENT.format(f'"{table.schema}"."{table.name}"') for table in tables)
        return {row.name: row.content for row in self.system.sql.rows(asked)}

    def quiet_content(self, seconds: float = 20) -> dict[str, str]:
        """The same, when nothing of what was accepted is under way any more."""
        seen: list[Any] = [None, self.content()]

        def stands_still() -> bool:
            empty = self._queues_are_empty()
            seen[:] = [seen[1], self.content()]
            return empty and seen[0] == seen[1]

        wait_until(stands_still, seconds, every=0.2)
        return seen[1]

    def _queues_are_empty(self) -> bool:
        channel = self.system.channel()
        try:
            return not any(
                channel.queue_declare(queue, passive=True).method.message_count for queue in self._topology.queues
            )
        finally:
            channel.connection.close()

    def errors(self) -> Iterator[str]:
        """What processes have told of unforeseen errors since they were asked last."""
        for process in self.system.processes:
            begin = self._read_to.get(process.name, 0)
            with process.log.open("rb") as log:
                log.seek(begin)
                text = log.read()
            self._read_to[process.name] = begin + len(text)
            for line in text.decode(errors="replace").splitlines():
                if "Traceback" in line:
                    yield f"{process.name}: {line[-600:]}"

    def stop(self) -> None:
        """End everything."""
        self.system.stop()
        self.rabbitmq.remove()
        self.postgres.remove()


@contextmanager
def running(keep: bool) -> Iterator[World]:
    """A world of its own for as long as it is needed; with `keep` its logs stay."""
    with own_directory("food-fuzz-", keep) as directory:
        world = World(directory)
        try:
            world.start()
            yield world
        finally:
            world.stop()
