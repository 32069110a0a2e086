"""The loop that is measured as the floor sends what our functions and triggers send."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from functions.shared import events
from schemas.events import ALL
from tests.system import Rows
from tools import bench_beside, bench_floor
from tools.bench.target import Target
from tools.bench_floor import PREFIX, STEPS, _headers
from tools.local.environment import Environment
from tools.local.postgres import Postgres
from tools.local.rabbitmq import RabbitMQ
from triggers.wire import from_object, to_amqp_headers

ENDS = 'SELECT o.status, count(*) FROM "order".orders o JOIN notification.emails USING (order_id) GROUP BY 1'


@pytest.mark.parametrize("name", STEPS)
def test_its_messages_carry_the_same_attributes(name: str):
    model = ALL[name].model_validate(ALL[name].example)
    data = model.model_dump(by_alias=True)
    event = events.make(type=PREFIX + name, source="/a/b", id="1", subject=model.subject, causation="0", data=data)
    sent = to_amqp_headers(from_object(json.loads(events.to_text(event))))
    assert sent.keys() == _headers(name, "1", model.subject, "0").keys()


def test_its_chain_is_that_of_a_completed_order():
    name, way = "order.newOrder", []
    while name:
        way.append(name)
        name = STEPS[name].follows
    assert way == [*STEPS]
    assert set(way) == {name for name in ALL if "efund" not in name and "cancel" not in name}


def test_every_order_is_completed_and_notified(
    fresh_database: Callable[[], str], postgres: Postgres, rabbitmq: RabbitMQ, secrets: Path
):
    url = fresh_database()
    places = Environment(secrets, secrets, url, rabbitmq.url, "")
    target = Target("", url, {"PostgreSQL": postgres.pid, "RabbitMQ": rabbitmq.pid}, {}, places)
    orders = islice(bench_floor._orders(bench_beside.filled(url)), 40)
    measurements = bench_floor.measured("burst-40", url, target, orders, 40)
    assert (40, [("Completed", 40)]) == (measurements.orders, [tuple(row) for row in Rows(url).rows(ENDS)])
    assert [] == Rows(url).rows('SELECT id FROM "order".outbox')
