"""Queues that lose nothing: whatever version made them, and however often a delivery comes back."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pika
import pytest

from tests.broker import TYPES, Broker, stack_file
from tests.system import eventually
from tools.local.rabbitmq import RabbitMQ
from triggers import topology
from triggers.stack import load
from triggers.topology import Topology

LOST = 25  # connections; RabbitMQ 4 has a limit of 20


@pytest.fixture
def broker(rabbitmq: RabbitMQ, tmp_path) -> Iterator[Broker]:
    made = Broker(rabbitmq, tmp_path)
    made.channel.queue_delete(made.queue("one"))
    made.channel.queue_delete(made.queue("two"))
    yield made
    made.close()


@pytest.fixture
def quorum(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Topology:
    """The queues of a cluster, made."""
    monkeypatch.setenv("STACK_FILE", str(stack_file(broker.directory)))
    load.cache_clear()
    made = Topology(broker.exchange, "quorum")
    made.declare(broker.channel)
    load.cache_clear()
    return made


def lose_connections(broker: Broker, queue: str, count: int) -> None:
    """Take the message of a queue and lose the connection, again and again."""
    for _ in range(count):
        connection = pika.BlockingConnection(pika.URLParameters(broker.rabbitmq.url))
        channel = connection.channel()
        eventually(lambda channel=channel: channel.basic_get(queue)[0] or broker.waiting(broker.dead_letters), "it")
        connection.close()


@pytest.mark.usefixtures("quorum")
def test_an_event_outlives_any_number_of_lost_connections(broker):
    broker.publish("a")
    lose_connections(broker, broker.queue("one"), LOST)
    (message,) = broker.take(broker.queue("one"))
    assert "a" == message.headers["id"]
    assert message.headers["x-delivery-count"] >= LOST


def test_where_a_limit_is_set_an_event_becomes_a_dead_letter_with_its_story(broker, quorum):
    # As RabbitMQ 4 does by itself, for a queue that was made before the upgrade.
    queue = broker.queue("one")
    broker.channel.queue_delete(queue)
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 2, **quorum._kept(broker.channel)}
    broker.channel.queue_declare(queue, durable=True, arguments=arguments)
    broker.channel.queue_bind(queue, broker.exchange, "", {"x-match": "all", "type": TYPES["one"]})
    broker.publish("a")
    lose_connections(broker, queue, 3)
    eventually(lambda: broker.waiting(broker.dead_letters) == 1, "the dead letter")
    broker.keeper.start()
    broker.launch("ops-dead-letter", QUEUE_TYPE="quorum")
    (call,) = broker.keeper.wait_for(1)
    assert ("a", "one", "1") == tuple(
        call.headers[f"ce-{name}"] for name in ("id", "knativeerrordest", "deliveryattempts")
    )


def test_a_queue_that_was_made_otherwise_is_taken_as_it_is(broker):
    queue = broker.queue("one")
    broker.channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    process = broker.start("one", QUEUE_TYPE="quorum")
    broker.publish("a")
    broker.one.wait_for(1)
    assert f"inequivalent arg 'x-dead-letter-exchange' for queue '{queue}'" in process.log.read_text()


@pytest.mark.parametrize(("version", "limit"), [("3.10.8", None), ("3.13.7", None), ("4.0.0", -1), ("4.2.1", -1)])
def test_the_limit_is_lifted_where_the_server_has_one(version, limit):
    properties = {"version": version}
    channel: Any = SimpleNamespace(connection=SimpleNamespace(_impl=SimpleNamespace(server_properties=properties)))
    made = Topology("x", "quorum")
    assert limit == made._kept(channel).get("x-delivery-limit") == made._unlimited(channel).get("x-delivery-limit")
    assert {} == Topology("x", "classic")._kept(channel)


def test_the_servers_version_is_known(broker):
    assert topology.version_of(broker.channel) in (3, 4)
