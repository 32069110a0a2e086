"""A database of its own for each test, and orders that were sent."""

from collections.abc import Callable

import pytest

from tools.bench.load import Sent
from tools.bench.orders import Outcome


@pytest.fixture
def database(fresh_database: Callable[[], str]) -> str:
    return fresh_database()


def sent_order(msg_id: str, outcome: Outcome, began: float = 0.0) -> Sent:
    return Sent(msg_id, outcome, msg_id, began, 0.001)
