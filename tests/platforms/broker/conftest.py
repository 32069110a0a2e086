"""The stage of the stories on Knative's broker: functions, guests and kitchen are those of every other story."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import audit, registered
from tests.platforms.broker.metrics import Metrics, table
from tests.platforms.broker.plane import OnKnative, Prepared
from tests.platforms.broker.topology import EXCHANGE
from tests.stories.conftest import Stage, Tap
from tools.local.postgres import Postgres
from tools.local.processes import free_port

METRICS = pytest.StashKey[list[Metrics]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The metrics, when some were taken."""
    if metrics := config.stash.get(METRICS, []):
        terminalreporter.section("orders on Knative's broker and on ours (quorum queues; a shared machine)")
        terminalreporter.write_line("\n".join(table(metrics)))


@pytest.fixture
def metrics(pytestconfig: pytest.Config) -> list[Metrics]:
    """What is shown at the end."""
    return pytestconfig.stash.setdefault(METRICS, [])


@pytest.fixture(scope="package")
def prepared(directory: Path) -> Iterator[Prepared]:
    """A RabbitMQ with the topology that Knative's controllers declare."""
    server = Prepared(directory / "knative-rabbitmq", free_port())
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="package")
def knative(
    directory: Path, secrets: Path, postgres: Postgres, prepared: Prepared, fresh_database: Callable
) -> Iterator[OnKnative]:
    """The system on Knative's broker, running."""
    # The roles of all databases are made once, with these passwords.
    shutil.copytree(secrets, directory / "knative" / "secrets")
    running = OnKnative(directory / "knative", postgres, prepared, fresh_database())
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="package")
def tap(knative: OnKnative) -> Iterator[Tap]:
    """What a story's trace is read from."""
    made = Tap(knative, EXCHANGE)
    yield made
    made.close()


@pytest.fixture
def stage(knative: OnKnative, tap: Tap) -> Iterator[Stage]:
    """The stage; after each story nothing may contradict what must always hold."""
    knative.use(ingress="theirs", dispatcher="theirs")
    yield Stage(knative, partial(registered, knative.gateway), tap)
    audit(knative)
