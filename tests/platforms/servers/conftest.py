"""The whole system on the servers of the manifests: PostgreSQL 18 and 17 behind PgBouncer, and RabbitMQ 4."""

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import audit, registered
from tests.platforms import programs
from tests.platforms.servers.newer import NewerPostgres, NewerRabbitMQ, Pooler
from tests.stories.conftest import Stage, Tap
from tests.system import Rows, System
from tools.local.processes import free_port
from tools.migrate import create_database, migrate

NEEDED = ("pgbouncer", "rabbitmq-4", "postgres-17", "postgres-18")


@pytest.fixture(scope="package", autouse=True)
def programs_are_there() -> None:
    """Without them, or where no root of its own can be made, nothing of this can be run."""
    try:
        for name in NEEDED:
            programs.find(name)
    except programs.Missing as problem:
        pytest.skip(str(problem))
    if os.geteuid() or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("RabbitMQ 4 runs in a root of its own, which only root can make")


@pytest.fixture(scope="package", params=["postgres-18", "postgres-17"])
def newer_postgres(directory: Path, request: pytest.FixtureRequest) -> Iterator[NewerPostgres]:
    """A PostgreSQL of a newer major."""
    server = NewerPostgres(directory / request.param, free_port(), request.param)
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="package")
def newer_rabbitmq(directory: Path, newer_postgres: NewerPostgres) -> Iterator[NewerRabbitMQ]:
    """A RabbitMQ 4, for each PostgreSQL another one: what it keeps is about the rows of one database."""
    server = NewerRabbitMQ(directory / f"rabbitmq-of-{newer_postgres.directory.name}", free_port())
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="package")
def pooler(directory: Path, newer_postgres: NewerPostgres) -> Iterator[Pooler]:
    """PgBouncer before it."""
    made = Pooler(directory / f"{newer_postgres.directory.name}-pooler", free_port(), newer_postgres)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="package")
def migrated(newer_postgres: NewerPostgres, secrets: Path) -> Callable[[], str]:
    """Make a migrated database; gives the administrator's address of it."""
    numbers = itertools.count(1)
    passwords = json.loads((secrets / "roles.json").read_text())

    def make(**more: int) -> str:
        url = newer_postgres.url(f"food_{next(numbers)}")
        create_database(url)
        migrate(url, passwords, admin_password=(secrets / "admin-password").read_text().strip(), **more)
        return url

    return make


@pytest.fixture(scope="package")
def newer(
    directory: Path, secrets: Path, pooler: Pooler, newer_rabbitmq: NewerRabbitMQ, migrated: Callable
) -> Iterator[System]:
    """The system: functions by the pooler, as in a cluster, with quorum queues."""
    folder = directory / f"on-{pooler.server.directory.name}"
    shutil.copytree(secrets, folder / "secrets")
    url = migrated()
    running = System(folder, pooler.server, newer_rabbitmq, pooler.url(url), QUEUE_TYPE="quorum")
    running.sql = Rows(url)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="package")
def tap(newer: System) -> Iterator[Tap]:
    """What a story's trace is read from."""
    made = Tap(newer)
    yield made
    made.close()


@pytest.fixture
def stage(newer: System, tap: Tap) -> Iterator[Stage]:
    """The stage; after each story nothing may contradict what must always hold."""
    yield Stage(newer, partial(registered, newer.gateway), tap)
    audit(newer)
