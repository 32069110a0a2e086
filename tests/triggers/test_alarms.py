"""RabbitMQ is short of memory or disk: it reads nothing that is published, and nobody waits for it in vain."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from tests.broker import Broker
from tests.system import eventually
from tests.triggers.dispatcher.behaviour import REPLY_TYPE, reply_to
from tests.triggers.test_trigger import Stage, until
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ
from triggers.amqp import Message, NotConfirmed

ALARMS = {"memory": {"vm_memory_high_watermark.absolute": "1MB"}, "disk": {"disk_free_limit.absolute": "900000GB"}}


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[RabbitMQ]:
    """A node that the tests may restart."""
    made = RabbitMQ(directory / "rabbitmq-alarms", free_port())
    made.start()
    yield made
    made.remove()


@pytest.fixture
def broker(server: RabbitMQ, tmp_path: Path) -> Iterator[Broker]:
    made = Broker(server, tmp_path)
    yield made
    made.close()


def restart(broker: Broker, **settings: str) -> None:
    broker.disconnect()
    broker.rabbitmq.settings = settings
    broker.rabbitmq.restart()
    broker.connect()


def is_blocked(broker: Broker) -> bool:
    """Whether RabbitMQ says so to somebody who publishes; it looks at memory and disk now and then only."""
    blocked: list[object] = []
    connection = pika.BlockingConnection(pika.URLParameters(broker.rabbitmq.url))
    connection.add_on_connection_blocked_callback(lambda *_: blocked.append(1))
    connection.channel().basic_publish("", "nobody", b"")
    connection.process_data_events(0.2)
    connection._impl._terminate_stream(ConnectionAbortedError("an answer to a close would be waited for"))
    return bool(blocked)


@pytest.mark.parametrize("alarm", ALARMS)
def test_while_an_alarm_lasts_nothing_is_called_and_what_is_published_is_refused_at_once(broker, alarm):
    replies = broker.listen(REPLY_TYPE)
    ids = [f"e{number}" for number in range(5)]
    broker.one.behave = reply_to
    broker.publish(*ids)
    restart(broker, **ALARMS[alarm])
    eventually(lambda: is_blocked(broker), "the alarm")

    async def story() -> None:
        async with Stage(broker, broker.rabbitmq.url) as stage:
            await until(lambda: stage.link.is_blocked, "the alarm to be known, by the first reply")
            calls = len(broker.one.calls)
            message = Message("", replies, {}, b"{}", "application/json", "a")
            with pytest.raises(NotConfirmed, match="RabbitMQ takes nothing now"):
                await stage.link.publish([message])
            await until(lambda: not stage.trigger._running or stage.trigger.in_flight, "deliveries that wait")
            assert calls == len(broker.one.calls)
            await asyncio.to_thread(restart, broker)
            await until(lambda: broker.waiting(replies) >= len(ids), "the replies")
            await stage.settled(*ids)

    asyncio.run(story())
    assert {f"{id}-reply" for id in ids} == {
        reply.headers["id"] for reply in broker.take(replies, broker.waiting(replies))
    }
