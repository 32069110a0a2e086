"""The whole system for tests: real PostgreSQL, real RabbitMQ, every process of it, on ports of its own."""

import json as json_module
import os
import shutil
import tempfile
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pg8000.native
import pika
import urllib3

from tools import install as installing
from tools.install import install
from tools.local import children
from tools.local.children import Child
from tools.local.installation import Installation
from tools.local.plan import Plan
from tools.local.postgres import Postgres
from tools.local.processes import free_port, is_free, wait_until
from tools.local.rabbitmq import RabbitMQ
from tools.private_files import password, write_private
from triggers.stack import Function, by_event, load

# Tests wait for conditions, not for timers, so everything that waits does it shortly.
QUICKLY = {
    "DISPATCHER_BACKOFF_SECONDS": "0.1",
    "DISPATCHER_LONGEST_BACKOFF_SECONDS": "0.5",
    "DISPATCHER_TRIES": "5",
    "SAGA_TRIES": "20",
    "AUTH_REVOCATION_SECONDS": "0.2",
    "AUTH_ATTEMPTS_OF_ADDRESS": "100000",
    # What a test has the flush sent for is sent at once, without waiting for whoever has written it.
    "ORDER_OUTBOX_AGE_SECONDS": "0",
}
PATIENCE = 30
# The tests' installation: what belongs to it says so by this header.
TOKEN = password()
OURS = {"Authorization": f"Bearer {TOKEN}"}


def install_tests(directory: Path) -> Path:
    """Secrets as at an installation, but for the token, which all tests know; gives the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    write_private(directory / installing.TOKEN, TOKEN)
    install(directory)
    return directory


@contextmanager
def own_directory(prefix: str, keep: bool = False) -> Iterator[Path]:
    """A directory that PostgreSQL's own user can reach; with `keep` it stays, and its logs are named."""
    made = Path(tempfile.mkdtemp(prefix=prefix))
    made.chmod(0o755)
    try:
        yield made
    finally:
        if keep:
            print(f"logs: {made / 'system' / 'logs'}")
        else:
            shutil.rmtree(made, ignore_errors=True)


class Answer:
    """An HTTP answer: status, headers, text, and the text as JSON."""

    def __init__(self, response: urllib3.BaseHTTPResponse):
        self.status, self.headers = response.status, response.headers
        self.text = response.data.decode()

    @property
    def json(self) -> Any:
        return json_module.loads(self.text)


class Http:
    """Calls to one server; `headers` go with each, unless it has its own."""

    def __init__(self, base: str, headers: dict[str, str] | None = None):
        self.base, self.headers = base, headers or {}
        self._pool = urllib3.PoolManager(maxsize=64, retries=False, timeout=PATIENCE)

    def request(
        self,
        method: str,
        path: str = "",
        *,
        json: Any = None,
        data: str | bytes | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send `json`, or `data` as it is; `token` becomes a bearer."""
        sent = self.headers | (headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if json is not None:
            data = json_module.dumps(json)
            sent.setdefault("Content-Type", "application/json")
        body = data.encode() if isinstance(data, str) else data
        return Answer(self._pool.request(method, self.base + path, body=body, headers=sent))

    def post(self, path: str = "", **more: Any) -> Answer:
        return self.request("POST", path, **more)

    def get(self, path: str = "", **more: Any) -> Answer:
        return self.request("GET", path, **more)

    def delete(self, path: str = "", **more: Any) -> Answer:
        return self.request("DELETE", path, **more)


class Rows:
    """SQL as the administrator; rows have their columns by name."""

    def __init__(self, url: str):
        self.url = url
        parts = urllib3.util.parse_url(url)
        user, _, password = parts.auth.partition(":")
        self._address = {
            "user": user, "password": password, "host": parts.host, "port": parts.port, "database": parts.path[1:]
        }  # fmt: skip

    def connected(self) -> pg8000.native.Connection:
        """A connection of its own, for what takes longer than a statement."""
        return pg8000.native.Connection(**self._address)

    def rows(self, sql: str, **values: Any) -> list[Any]:
        connection = self.connected()
        try:
            found = connection.run(sql, **values) or []
            if not connection.columns:
                return []
            return [*map(namedtuple("Row", [c["name"] for c in connection.columns])._make, found)]
        finally:
            connection.close()

    def row(self, sql: str, **values: Any) -> Any:
        return next(iter(self.rows(sql, **values)), None)

    def value(self, sql: str, **values: Any) -> Any:
        row = self.row(sql, **values)
        return row and row[0]


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE, every: float = 0.02) -> Any:
    """Wait until `condition` gives something true, and give that; fail naming `what` was waited for."""
    found: list[Any] = []

    def ask() -> bool:
        found[:] = [condition()]
        return bool(found[0])

    assert wait_until(ask, seconds, every), f"not within {seconds} s: {what}"
    return found[0]


class System:
    """All processes on one migrated database; cron does not run: tests call scheduled functions themselves.

    The functions of an owner share a process; with `each` every one has its own. `functions` may be some of them.
    """

    starts_within = 60

    def __init__(
        self,
        directory: Path,
        postgres: Postgres,
        rabbitmq: RabbitMQ,
        database: str,
        functions: Sequence[Function] = load(),
        each: bool = False,
        **environment: str,
    ):
        self.postgres, self.rabbitmq = postgres, rabbitmq
        # All in a row, so that none is chosen twice: gateway, broker, two for metrics, one for each process.
        first = _free_range(4 + len({one if each else one.owner for one in functions}))
        names = {"GATEWAY_PORT": 0, "BROKER_PORT": 1, "METRICS_PORT": 2, "FUNCTIONS_PORT": 4}
        ports = {name: first + at for name, at in names.items()}
        ports |= {postgres.port_variable: postgres.port, rabbitmq.port_variable: rabbitmq.port}
        self.installation = Installation(directory, ports)
        self.installation.logs.mkdir(parents=True, exist_ok=True)
        install_tests(self.installation.secrets)
        self.database_url = database
        with _environment(QUICKLY | environment):
            self.plan = Plan(self.installation, functions, each=each, database=database, amqp=rabbitmq.url)
        self.installation.function_urls.write_text(json_module.dumps(self.plan.urls))
        self.gateway, self.broker = Http(self.installation.gateway), Http(self.installation.broker, OURS)
        self.sql = Rows(database)

    @property
    def processes(self) -> list[Child]:
        return [*self.plan.functions, *(self.plan.triggers[name] for name in ("broker", "gateway"))]

    def start(self) -> "System":
        for process in self.processes:
            process.start()
        started = wait_until(lambda: not self._late(), self.starts_within)
        assert started, f"not started: {self._late()}, see {self.installation.logs}"
        return self

    def _late(self) -> list[str]:
        return [process.name for process in self.processes if not process.check()]

    def stop(self) -> None:
        for group in self.plan.stop_order:
            children.stop(child for child in group if child.runs)

    def start_process(self, name: str) -> None:
        """Start one process (again) and wait until it is ready."""
        process = self.process(name)
        process.ready = False
        process.start()
        assert wait_until(process.check, 30), f"{name} did not start, see {process.log}"

    def process(self, name: str) -> Child:
        return next(process for process in self.processes if process.name == name)

    def function(self, name: str) -> Http:
        """A function by its deployed name, straight at its address; one of the installation's own as a part of it."""
        is_public = next(one.is_public for one in load() if one.name == name)
        return Http(self.plan.urls[name], {} if is_public else OURS)

    def step(self, event_type: str) -> Http:
        """The function of an event type in short form."""
        return self.function(by_event(event_type).name)

    def queue(self, event_type: str) -> str:
        return f"food.events.{by_event(event_type).name}"

    def channel(self) -> pika.adapters.blocking_connection.BlockingChannel:
        """A channel to RabbitMQ; its connection ends with the process or with `channel.connection.close()`."""
        return pika.BlockingConnection(pika.URLParameters(self.rabbitmq.url)).channel()

    def log_lines(self, process: str) -> list[dict[str, Any]]:
        """What a process has told so far, line by line."""
        text = self.process(process).log.read_text(errors="replace")
        return [json_module.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


def _free_range(size: int) -> int:
    """The first of `size` free ports in a row."""
    first = free_port()
    while not all(is_free(port) for port in range(first, first + size)):
        first = free_port()
    return first


class _environment:
    """These variables, while the processes' environments are put together."""

    def __init__(self, changes: dict[str, str]):
        self.changes = changes

    def __enter__(self) -> None:
        self.before = dict(os.environ)
        os.environ.update(self.changes)

    def __exit__(self, *_: object) -> None:
        os.environ.clear()
        os.environ.update(self.before)
