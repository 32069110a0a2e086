"""A broker with triggers of its own, and a RabbitMQ that a test may restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import Broker
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ


@pytest.fixture
def broker(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Broker]:
    made = Broker(rabbitmq, tmp_path)
    yield made
    made.close()


@pytest.fixture
def own_rabbitmq(directory: Path) -> Iterator[RabbitMQ]:
    """A node that the test may stop."""
    port = free_port()
    server = RabbitMQ(directory / f"rabbitmq-{port}", port)
    server.start()
    yield server
    server.remove()
