"""RabbitMQ for everybody here: one connection a process, kept up by a thread of its own.

Publishing waits for the broker's confirmation, and many messages wait together. A delivery belongs to the channel
that it came by: when that is gone its acknowledgement is void, and the broker delivers again.
"""

import contextlib
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from logging import WARNING
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.channel import Channel
from pika.exceptions import AMQPError
from pydantic import Field, field_validator

from functions.shared.logs import log
from functions.shared.settings import Settings

CONFIRM_SECONDS = 20.0
LONGEST_PAUSE = 10.0
# How pika reports that the server is not there, depending on how far it got.
GONE = (AMQPError, OSError)


class AmqpSettings(Settings):
    """Where RabbitMQ is."""

    amqp_url: str = Field(pattern=r"^amqps?://", description="address of RabbitMQ, amqp://user:password@host:port/")

    @field_validator("amqp_url")
    @classmethod
    def _readable(cls, url: str) -> str:
        try:
            pika.URLParameters(url)
        except ValueError:
            raise ValueError("expected a host, and a port from 1 to 65535") from None
        return url


class NotConfirmed(Exception):
    """The broker did not take a message, or its answer never came: it may have to be sent again."""


@dataclass(frozen=True)
class Message:
    """What is published where; `expires` is in milliseconds."""

    exchange: str
    routing_key: str
    headers: dict[str, Any]
    body: bytes
    content_type: str
    id: str
    expires: int | None = None
    must_arrive: bool = False

    def properties(self) -> pika.BasicProperties:
        """Persistent, so that a broker's restart keeps it."""
        return pika.BasicProperties(
            headers=self.headers,
            content_type=self.content_type,
            message_id=self.id,
            delivery_mode=2,
            expiration=str(self.expires) if self.expires is not None else None,
        )


@dataclass(frozen=True)
class Delivery:
    """A message that was delivered and is not acknowledged yet."""

    channel: Channel
    tag: int
    properties: pika.BasicProperties
    body: bytes

    @property
    def is_stale(self) -> bool:
        """Its channel is gone: the broker delivers it again, to whoever is there then."""
        return not self.channel.is_open


@dataclass(eq=False)
class _Promise:
    """Confirmations that one caller waits for."""

    open: int
    done: threading.Event = field(default_factory=threading.Event)
    failure: str | None = None

    def settle(self, failure: str | None = None) -> None:
        self.failure = self.failure or failure
        self.open -= 1
        if self.open <= 0:
            self.done.set()

    def give_up(self, reason: str) -> None:
        self.failure = self.failure or reason
        self.done.set()


class _Question:
    """How many messages wait in some queues; asked on a channel of its own, which a missing queue would close."""

    def __init__(self, queues: Sequence[str]):
        self.queues = queues
        self.found: dict[str, int] = {}
        self.answered = threading.Event()

    def put(self, channel: Channel) -> None:
        channel.add_on_close_callback(lambda *_: self.answered.set())
        for queue in self.queues:
            channel.queue_declare(queue, passive=True, callback=partial(self._hear, channel))

    def _hear(self, channel: Channel, frame: Any) -> None:
        self.found[frame.method.queue] = frame.method.message_count
        if len(self.found) == len(self.queues):
            channel.close()


@dataclass(frozen=True)
class Subscription:
    """A queue to consume: `take` gets each delivery, on the connection's thread, and must not block."""

    queue: str
    take: Callable[[Delivery], None]
    prefetch: int = 100


class Link:
    """The connection: starts, stays, comes back after the server was away, with all its subscriptions."""

    def __init__(
        self, url: str, declare: Callable[[BlockingChannel], None], subscriptions: Sequence[Subscription] = ()
    ):
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = 30
        self._parameters.blocked_connection_timeout = 60
        self._declare, self._subscriptions = declare, [*subscriptions]
        self._connection: pika.SelectConnection | None = None
        self._publisher: Channel | None = None
        self._consumers: dict[Subscription, Channel] = {}
        self._promises: dict[int, tuple[_Promise, Message]] = {}
        self._waiting: set[_Promise] = set()
        self._returned: set[str] = set()
        self._last_tag = 0
        self._ready, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="rabbitmq", daemon=True)

    # -- what other threads call -------------------------------------------------------------------------------

    def start(self) -> "Link":
        """Connect in the background; `wait_ready` tells when it is there."""
        self._thread.start()
        return self

    def wait_ready(self, seconds: float) -> bool:
        """Whether the connection stands, waiting that long for it."""
        return self._ready.wait(seconds)

    @property
    def is_ready(self) -> bool:
        """Whether the connection stands now."""
        return self._ready.is_set()

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish all and wait until the broker has confirmed each. Raises NotConfirmed: then none is certain."""
        if not messages:
            return
        promise = _Promise(open=len(messages))
        self._waiting.add(promise)
        try:
            if not self._ready.is_set() or not self._call(partial(self._publish, promise, messages)):
                raise NotConfirmed("RabbitMQ is not there")
            if not promise.done.wait(CONFIRM_SECONDS):
                raise NotConfirmed(f"RabbitMQ did not confirm within {CONFIRM_SECONDS:.0f} seconds")
            if promise.failure:
                raise NotConfirmed(promise.failure)
        finally:
            self._waiting.discard(promise)

    def acknowledge(self, delivery: Delivery) -> None:
        """Tell the broker that a delivery is dealt with; void when its channel is gone."""
        self._call(partial(_acknowledge, delivery))

    def subscribe(self, subscription: Subscription) -> None:
        """Consume one queue more, which has to be there, from now on and after the server was away."""
        self._subscriptions.append(subscription)
        self._call(partial(self._consume, subscription))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Consume a queue no more; what was delivered and is not acknowledged goes back to it."""
        self._subscriptions.remove(subscription)
        self._call(partial(self._leave, subscription))

    def declare(self) -> None:
        """Declare everything again, over a connection for that alone. Raises what is in GONE."""
        with contextlib.closing(pika.BlockingConnection(self._parameters)) as connection:
            self._declare(connection.channel())

    def depths(self, queues: Sequence[str], seconds: float = 2.0) -> dict[str, int]:
        """How many messages of each queue no consumer has got; a queue not told in time is missing."""
        question = _Question(queues)
        if queues and self._ready.is_set() and self._call(partial(self._ask, question)):
            question.answered.wait(seconds)
        return dict(question.found)

    def stop_consuming(self) -> None:
        """Take nothing more; what was delivered can still be acknowledged."""
        self._call(self._cancel_consumers)

    def stop(self) -> None:
        """Close; what was not acknowledged goes back to its queue."""
        self._stopping.set()
        self._call(self._close)
        self._thread.join(timeout=10)

    def _call(self, action: Callable[[], None]) -> bool:
        connection = self._connection
        if connection is None:
            return False
        connection.ioloop.add_callback_threadsafe(action)
        return True

    # -- what runs on the connection's own thread --------------------------------------------------------------

    def _keep_up(self) -> None:
        pause = 0.2
        while not self._stopping.is_set():
            try:
                self.declare()
                self._run()
                pause = 0.2
            except GONE as problem:
                log("RabbitMQ not reached", level=WARNING, reason=f"{type(problem).__name__}: {problem}")
            self._lose("the connection to RabbitMQ was lost")
            # Jitter: after a restart of the server not everybody comes back in the same moment.
            self._stopping.wait(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, LONGEST_PAUSE)

    def _run(self) -> None:
        self._connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=self._opened,
            on_open_error_callback=self._not_opened,
            on_close_callback=self._closed,
        )
        self._connection.ioloop.start()

    def _opened(self, connection: pika.SelectConnection) -> None:
        if self._stopping.is_set():
            # `stop` came before there was anything to close.
            connection.close()
            return
        connection.channel(on_open_callback=self._publisher_opened)
        for subscription in tuple(self._subscriptions):
            self._consume(subscription)

    def _not_opened(self, connection: pika.SelectConnection, problem: Exception) -> None:
        log("RabbitMQ not reached", level=WARNING, reason=f"{type(problem).__name__}: {problem}")
        connection.ioloop.stop()

    def _closed(self, connection: pika.SelectConnection, reason: Exception) -> None:
        if not self._stopping.is_set():
            log("RabbitMQ connection closed", level=WARNING, reason=str(reason))
        connection.ioloop.stop()

    def _publisher_opened(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._came_back)
        channel.confirm_delivery(self._confirmed)
        self._publisher, self._last_tag = channel, 0
        self._ready.set()

    def _consume(self, subscription: Subscription) -> None:
        # While the connection is being opened there is nothing to do: `_opened` takes all that are there then.
        if self._connection.is_open and subscription not in self._consumers:
            opened = partial(self._consumer_opened, subscription)
            self._consumers[subscription] = self._connection.channel(on_open_callback=opened)

    def _leave(self, subscription: Subscription) -> None:
        channel = self._consumers.pop(subscription, None)
        if channel is not None and channel.is_open:
            channel.close()

    def _consumer_opened(self, subscription: Subscription, channel: Channel) -> None:
        if self._consumers.get(subscription) is not channel:
            channel.close()
            return
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_cancel_callback(lambda _frame: self._close())
        channel.basic_qos(prefetch_count=subscription.prefetch)
        channel.basic_consume(subscription.queue, partial(self._delivered, subscription))

    def _delivered(self, subscription: Subscription, channel: Channel, method: Any, *message: Any) -> None:
        properties, body = message
        subscription.take(Delivery(channel, method.delivery_tag, properties, body))

    def _channel_closed(self, channel: Channel, reason: Exception) -> None:
        # A channel alone never comes back: start all over, with topology and subscriptions.
        known = channel is self._publisher or channel in self._consumers.values()
        if known and not self._stopping.is_set() and channel.connection.is_open:
            log("RabbitMQ channel closed", level=WARNING, reason=str(reason))
            self._close()

    def _close(self) -> None:
        if self._connection is not None and not (self._connection.is_closing or self._connection.is_closed):
            self._connection.close()

    def _ask(self, question: _Question) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.channel(on_open_callback=question.put)

    def _cancel_consumers(self) -> None:
        for channel in self._consumers.values():
            for consumer_tag in channel.consumer_tags if channel.is_open else ():
                channel.basic_cancel(consumer_tag)

    def _publish(self, promise: _Promise, messages: Sequence[Message]) -> None:
        for message in messages:
            if self._publisher is None or not self._publisher.is_open:
                return promise.give_up("the connection to RabbitMQ was lost")
            self._publisher.basic_publish(
                message.exchange, message.routing_key, message.body, message.properties(), mandatory=True
            )
            self._last_tag += 1
            self._promises[self._last_tag] = (promise, message)

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        tags = [t for t in self._promises if t <= method.delivery_tag] if method.multiple else [method.delivery_tag]
        refused = None if isinstance(method, pika.spec.Basic.Ack) else "RabbitMQ refused the message"
        for tag in tags:
            promise, message = self._promises.pop(tag)
            promise.settle(refused or self._lost_its_way(message))

    def _came_back(self, _channel: Channel, _method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        self._returned.add(properties.message_id)

    def _lost_its_way(self, message: Message) -> str | None:
        if message.id not in self._returned:
            return None
        self._returned.discard(message.id)
        if message.must_arrive:
            return f"no queue takes messages of {message.exchange or message.routing_key}"
        log("no trigger takes this event", level=WARNING, type=message.headers.get("type"), id=message.id)
        return None

    def _lose(self, reason: str) -> None:
        self._ready.clear()
        self._connection = self._publisher = None
        self._consumers = {}
        self._returned.clear()
        self._promises = {}
        for promise in tuple(self._waiting):
            promise.give_up(reason)


def _acknowledge(delivery: Delivery) -> None:
    if delivery.channel.is_open:
        delivery.channel.basic_ack(delivery.tag)
