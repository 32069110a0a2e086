"""Events that the tests of metrics send, and what is counted of them."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.shared import exact_json
from functions.shared.events import STRUCTURED
from schemas.events import ALL
from tests.metrics import Metrics
from tests.system import Http

SALE = {"function": "pay-sale", "type": "homework.arch.pay.sale"}
EVENTS, REQUESTS = "function_events_total", "function_request_duration_seconds_count"


def event(short: str, **changes: Any) -> str:
    """An event with the example's data, new unless an id is given."""
    attributes = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/test", "type": f"homework.arch.{short}"}
    data = ALL[short].example | {"orderId": changes.pop("order", uuid.uuid4().hex)} | changes.pop("data_", {})
    return exact_json.dumps(attributes | changes | {"data": data})


def send(function: Http, body: str) -> int:
    return function.post(data=body, headers={"Content-Type": STRUCTURED}).status


class Change:
    """What a process has counted since this was made."""

    def __init__(self, process: Callable[[], Metrics]):
        self._now, self._before = process, process()

    def of(self, name: str, **labels: str) -> float:
        return self._now().sum(name, **labels) - self._before.sum(name, **labels)


ORDER = """
    INSERT INTO "order".orders (order_id, msg_id, username, email, request, amount, redrive_at, status, reason,
                                accepted_at, ended_at, notified_at, needs_attention_at)
    VALUES (:id, :id, 'anna', 'anna@example.org', '{}', 1, now(), :status, :reason,
            now() - interval '1 hour', :ended, :ended, :lost)
"""
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def ago(**time: int) -> datetime:
    return datetime.now(UTC) - timedelta(**time)
