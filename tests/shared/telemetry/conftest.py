"""The metrics of every process, and of functions on a database of their own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients import API, order_of
from tests.metrics import Metrics, metrics_of
from tests.shared.telemetry.events import Change
from tests.system import OURS, Http, Rows, System, eventually
from tools.local.processes import free_port
from tools.role_url import role_url


@pytest.fixture(scope="module")
def exported(system: System) -> Callable[[str], Metrics]:
    """The metrics of a process by its name, as they are now."""

    def ask(name: str) -> Metrics:
        address, path = system.plan.scraped[name]
        return metrics_of(Http(f"http://{address}", OURS), path)

    return ask


@pytest.fixture(scope="module")
def counted(exported: Callable[[str], Metrics]) -> Callable[[str], Change]:
    """What a process, by its name, has counted since."""
    return lambda name: Change(lambda: exported(name))


@pytest.fixture
def ended_order(system: System, new_user: Callable, restocked: None) -> str:  # noqa: ARG001 - there has to be food
    """An order that was completed just now, with its mail."""
    user = new_user(1000)
    answer = system.gateway.post(f"{API}/external/order", json=order_of(user), token=user.token)
    order = answer.json["orderId"]
    mailed = "SELECT count(*) FROM notification.emails WHERE order_id = :id"
    eventually(lambda: system.sql.value(mailed, id=order), "the mail")
    return order


@pytest.fixture
def alone(fresh_database: Callable, secrets: Path, started_alone: Callable) -> Callable:
    """One function of an owner on a database where nobody else works: Flask's client, and SQL."""
    url, nowhere = fresh_database(), free_port()
    passwords = json.loads((secrets / "roles.json").read_text())

    def start_of(owner: str, name: str = "metrics") -> tuple[Any, Rows]:
        # Events of this database are for nobody: the system's broker would take them for its own.
        exported = {
            "DATABASE_URL": role_url(url, owner, passwords[owner]),
            "BROKER_URL": f"http://127.0.0.1:{nowhere}",
        }
        return started_alone(owner, name, **exported), Rows(url)

    return start_of
