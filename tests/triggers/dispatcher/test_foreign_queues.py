"""The dispatcher on the queues of another broker."""

from collections.abc import Iterator

import pytest

from tests.broker import TYPES, Broker
from tests.fakes import nothing
from tests.system import eventually
from tests.triggers.dispatcher.behaviour import done, refusing


@pytest.fixture
def foreign(broker: Broker) -> Iterator[str]:
    """A queue as Knative's controllers make it, bound to the exchange beside our own one; its name."""
    name = f"food.one.{broker.exchange}"
    broker.channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    broker.channel.queue_bind(name, broker.exchange, "", {"x-match": "all", "type": TYPES["one"]})
    broker.channel.queue_delete(broker.queue("one"))
    yield name
    broker.channel.queue_delete(name)


def launched(broker: Broker) -> None:
    broker.launch("one", QUEUE_NAMES=f"food.{{function}}.{broker.exchange}")


def consuming(broker: Broker, queue: str) -> None:
    launched(broker)
    eventually(lambda: broker.consumers(queue) == 1, "the dispatcher to consume it")


def test_queues_of_another_broker_are_consumed_as_they_are(broker, foreign):
    consuming(broker, foreign)
    broker.publish("a")
    done(broker, "a")
    assert ["a"] == broker.one.ids
    # Its own queue would get every event a second time.
    assert broker.consumers(broker.queue("one")) is None


def test_a_failed_event_goes_back_to_the_queue_of_the_other_broker(broker, foreign):
    broker.one.behave = lambda call: nothing(call) if len(broker.one.calls) == 2 else (500, {}, b"")
    consuming(broker, foreign)
    broker.publish("a")
    done(broker, "a")
    assert ["a", "a"] == broker.one.ids


def test_an_event_of_another_brokers_queue_can_become_a_dead_letter(broker, foreign):
    broker.one.behave = refusing("a", headers={"X-Retry": "never"})
    consuming(broker, foreign)
    broker.publish("a")
    assert ("one", "500", "500 cannot", "1") == broker.take(broker.dead_letters)[0].story


def test_a_queue_of_another_broker_that_is_not_there_yet_is_waited_for(broker, foreign):
    broker.channel.queue_delete(foreign)
    launched(broker)
    eventually(lambda: "RabbitMQ channel closed" in broker.processes[-1].log.read_text(), "a word about it")
    broker.channel.queue_declare(foreign, durable=True, arguments={"x-queue-type": "quorum"})
    broker.channel.queue_bind(foreign, broker.exchange, "", {"x-match": "all", "type": TYPES["one"]})
    broker.publish("a")
    done(broker, "a")
