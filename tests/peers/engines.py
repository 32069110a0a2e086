"""What is measured: DBOS, Restate, and our own running system, each behind one way to send an order."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import urllib3

from tests.peers import programs
from tests.peers.storehouse import Storehouse
from tools.bench.client import head
from tools.bench.orders import Supplies
from tools.bench.preparation import API
from tools.bench.target import CLIENT, Target
from tools.local.environment import HOST, ROOT
from tools.local.processes import StartFailed, end, free_port, is_free, last_lines, wait_until

PATIENCE = 30
# Restate counts its users by default.
PRIVATE = {"DO_NOT_TRACK": "1", "RESTATE_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True)
class Engine:
    """Something that handles orders. `wait` answers when an order has ended, `send` when it is accepted.

    Where `wait` is None there is no such call, and the database is asked. `processes` are those that are measured
    besides PostgreSQL, by id.
    """

    name: str
    database: str
    supplies: Supplies
    address: tuple[str, int]
    send: str
    wait: str | None
    processes: dict[int, str]

    def call(self, path: str) -> None:
        """From now on the guests' orders go to `path`; tokens stay as they are."""
        host = ":".join(map(str, self.address))
        for guest in self.supplies.guests:
            guest.head = head(host, path, guest.token)


@contextmanager
def ours(target: Target, storehouse: Storehouse) -> Iterator[Engine]:
    """The running system, through its public gateway, with everything that an order meets on its way."""
    ids = {pid: "app" for name, pid in target.processes.items() if name not in (CLIENT, "PostgreSQL", "RabbitMQ")}
    ids |= {pid: "server" for name, pid in target.processes.items() if name == "RabbitMQ"}
    supplies = storehouse.through(target.gateway)
    yield Engine("ours", target.database, supplies, target.address, f"{API}/external/order", None, ids)


@contextmanager
def dbos(steps: str, storehouse: Storehouse) -> Iterator[Engine]:
    """DBOS is a library: there is the application, and the database."""
    name = f"dbos-{steps}"
    with storehouse.database(name) as (url, supplies), ExitStack() as started:
        port = free_port()
        environment = {"DATABASE_URL": url, "PORT": str(port), "STEPS": steps}
        app = started.enter_context(_process(name, _app("on_dbos"), environment, lambda: not is_free(port)))
        yield Engine(name, url, supplies, (HOST, port), "/send", "/wait", {app: "app"})


@contextmanager
def restate(storehouse: Storehouse) -> Iterator[Engine]:
    """Restate is a server, which calls the application. Its data is new each time."""
    program = programs.restate_server()
    with storehouse.database("restate") as (url, supplies), ExitStack() as started:
        port, ingress, admin, fabric = (free_port() for _ in range(4))
        environment = {"DATABASE_URL": url, "PORT": str(port)}
        app = started.enter_context(_process("restate", _app("on_restate"), environment, lambda: not is_free(port)))
        data = started.enter_context(tempfile.TemporaryDirectory(prefix="restate-", dir=programs.folder()))
        command = [str(program), "--no-logo", "--base-dir", data]
        environment = PRIVATE | _listening(ingress, admin, fabric)
        ready = started.enter_context
        server = ready(
            _process("restate-server", command, environment, lambda: _answers(f"http://{HOST}:{admin}/health"))
        )
        _register(f"http://{HOST}:{admin}/deployments", f"http://{HOST}:{port}")
        paths = ("/Orders/place/send", "/Orders/place")
        yield Engine("restate", url, supplies, (HOST, ingress), *paths, {app: "app", server: "server"})


def _listening(ingress: int, admin: int, fabric: int) -> dict[str, str]:
    return {
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": HOST,
        "RESTATE_BIND_PORT": str(fabric),
        "RESTATE_INGRESS__BIND_ADDRESS": f"{HOST}:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"{HOST}:{admin}",
        "RESTATE_LOG_FILTER": "warn",
    }


def _register(deployments: str, app: str) -> None:
    """Tell Restate's server where the application is."""
    answer = urllib3.request("POST", deployments, json={"uri": app}, retries=False, timeout=PATIENCE)
    if answer.status != 201:
        raise StartFailed(f"{deployments}: expected 201, got {answer.status} {answer.data[:300]!r}")


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, retries=False, timeout=1).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def _app(peer: str) -> list[str]:
    return [str(programs.python_of(peer)), "-m", f"tests.peers.{peer}.app"]


@contextmanager
def _process(name: str, command: list[str], environment: dict[str, str], ready: Callable[[], bool]) -> Iterator[int]:
    """Run a program until the end of the block; gives its id. Raises StartFailed."""
    log = programs.folder() / f"{name}.log"
    known = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    with log.open("w") as words:
        process = subprocess.Popen(
            command, cwd=ROOT, env=known | environment, stdin=subprocess.DEVNULL, stdout=words, stderr=words,
            start_new_session=True,
        )  # fmt: skip
    try:
        if not wait_until(lambda: process.poll() is not None or ready(), PATIENCE) or process.poll() is not None:
            raise StartFailed(f"{name} did not start; the end of {log}:\n{last_lines(log)}")
        yield process.pid
    finally:
        end(process.pid, seconds=5)
        process.wait()
