"""RabbitMQ for everybody here: one connection a process, on the process's event loop.

A delivery belongs to the channel that it came by: when that is gone its acknowledgement is void, and the broker
delivers again. What is published together leaves in one piece, with the acknowledgements that wait.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from logging import ERROR, WARNING
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError
from pydantic import Field, field_validator

from functions.shared.retry_policy import RECONNECT
from functions.shared.settings import Settings
from functions.shared.telemetry.logs import log
from triggers.amqp_connection import Channel, Connection
from triggers.amqp_frames import DeliveredMessage, Message
from triggers.amqp_stream import Services
from triggers.deliveries import Consumer, Delivery

CONFIRM_SECONDS = 10.0
LAST_CONFIRMS_SECONDS = 5.0
LAST_COPIES_SECONDS = 1.0
# Nobody waits for an acknowledgement, nor for a message whose step has begun ahead: it goes along with what is
# published next, or soon by itself. Then the broker wakes up once for all of it.
WRITTEN_WITHIN = 0.04
MOST_TOGETHER = 64
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


Outcome = Callable[[str | None], None]


@dataclass(eq=False)
class _Promise:
    """Confirmations that one caller waits for; `outcome` hears what went wrong, or None."""

    open: int
    outcome: Outcome
    settled: "asyncio.Future[None]"
    overdue: asyncio.TimerHandle | None = None
    failure: str | None = None

    def confirmed(self, failure: str | None) -> None:
        self.failure = self.failure or failure
        self.open -= 1
        if self.open <= 0:
            self.settle(self.failure)

    def settle(self, failure: str | None) -> None:
        if not self.settled.done():
            self.settled.set_result(None)
            if self.overdue:
                self.overdue.cancel()
            self.outcome(failure)


@dataclass(frozen=True)
class Subscription:
    """A queue to consume: `take` gets each delivery, on the event loop, and must not block."""

    queue: str
    take: Callable[[Delivery], None]
    prefetch: int = 100


@dataclass
class _Open:
    """What belongs to one connection and is gone with it."""

    publisher: Channel | None = None
    consumers: dict[Subscription, Consumer] = field(default_factory=dict)
    promises: dict[int, tuple[_Promise, Message]] = field(default_factory=dict)
    returned: set[str] = field(default_factory=set)
    last_tag: int = 0
    blocked: bool = False


class Link:
    """The connection: starts, stays, comes back after the server was away, with all its subscriptions."""

    def __init__(
        self, url: str, declare: Callable[[BlockingChannel], None], subscriptions: Sequence[Subscription] = ()
    ):
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = 30
        # An alarm may last for hours, and a new connection would be blocked as well.
        self._parameters.blocked_connection_timeout = None
        self._declare, self._subscriptions = declare, [*subscriptions]
        self._connection: Connection | None = None
        self._open = _Open()
        self._ready, self._stopping = asyncio.Event(), asyncio.Event()
        self._kept_up: asyncio.Task | None = None
        self._to_publish: list[tuple[Sequence[Message], Outcome]] = []
        self._dealt_with: list[Delivery] = []
        self._writing: asyncio.TimerHandle | None = None
        self._caught_up = asyncio.Event()

    def start(self) -> "Link":
        """Connect in the background; `wait_ready` waits until it is there."""
        self._kept_up = asyncio.get_running_loop().create_task(self._keep_up())
        return self

    async def wait_ready(self, seconds: float) -> bool:
        """Whether the connection stands, waiting that long for it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), seconds)
        return self._ready.is_set()

    @property
    def is_ready(self) -> bool:
        """Whether the connection stands now."""
        return self._ready.is_set()

    @property
    def is_blocked(self) -> bool:
        """Whether RabbitMQ takes nothing now: it is short of memory or disk, and reads nothing until it is not."""
        return self._open.blocked

    # -- publishing --------------------------------------------------------------------------------------------

    async def publish(self, messages: Sequence[Message], soon: bool = False) -> None:
        """Publish all, now or `soon`, and wait until the broker has confirmed each.

        Raises NotConfirmed: then none is certain.
        """
        heard: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        publish = self.publish_soon if soon else self.publish_then
        publish(messages, lambda failure: heard.done() or heard.set_result(failure))
        if failure := await heard:
            raise NotConfirmed(failure)

    def publish_then(self, messages: Sequence[Message], outcome: Outcome) -> None:
        """Publish all; `outcome` is called once: with None when each is confirmed, else with what went wrong."""
        outcome = partial(self._safely, outcome)
        if not messages:
            return outcome(None)
        self._to_publish.append((messages, outcome))
        return self._write_now()

    def publish_soon(self, messages: Sequence[Message], outcome: Outcome) -> None:
        """The same, within WRITTEN_WITHIN, together with what is published until then."""
        self._to_publish.append((messages, partial(self._safely, outcome)))
        if sum(len(some) for some, _ in self._to_publish) >= MOST_TOGETHER:
            self._write_now()
        else:
            self._write_soon()

    def _write_soon(self) -> None:
        if self._writing is None:
            self._writing = asyncio.get_running_loop().call_later(WRITTEN_WITHIN, self._write_now)

    def _write_now(self) -> None:
        """Publish what waits, and acknowledge what is dealt with, in one piece."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        to_publish, self._to_publish = self._to_publish, []
        dealt_with, self._dealt_with = self._dealt_with, []
        with self._connection or contextlib.nullcontext():
            for consumer, tags in _by_consumer(dealt_with):
                self._safely(consumer.acknowledge, tags)
            for messages, outcome in to_publish:
                self._publish(messages, outcome)

    def _publish(self, messages: Sequence[Message], outcome: Outcome) -> None:
        channel = self._open.publisher
        if channel is None or not channel.is_open:
            return outcome("RabbitMQ is not there")
        if self.is_blocked:
            return outcome("RabbitMQ takes nothing now: it is short of memory or disk")
        loop = asyncio.get_running_loop()
        promise = _Promise(len(messages), outcome, loop.create_future())
        late = f"RabbitMQ did not confirm within {CONFIRM_SECONDS:g} seconds"
        promise.overdue = loop.call_later(CONFIRM_SECONDS, promise.settle, late)
        try:
            for message in messages:
                channel.publish(message)
                self._open.last_tag += 1
                self._open.promises[self._open.last_tag] = (promise, message)
        except Exception as problem:
            # Nobody who waits for something else is to hear of it.
            log("nothing could be published", level=ERROR, trace=True)
            promise.settle(f"{type(problem).__name__}: {problem}")
        return None

    def _confirmed(self, opened: _Open, tag: int, multiple: bool, refused: str | None) -> None:
        for one in _tags(opened.promises, tag, multiple):
            promise, message = opened.promises.pop(one)
            promise.confirmed(refused or self._unroutable(opened, message))

    def _on_return(self, opened: _Open, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        opened.returned.add(properties.message_id)

    def _unroutable(self, opened: _Open, message: Message) -> str | None:
        if message.id not in opened.returned:
            return None
        opened.returned.discard(message.id)
        if message.must_arrive:
            return f"no queue takes messages of {message.exchange or message.routing_key}"
        log("no trigger takes this event", level=WARNING, type=message.headers.get("type"), id=message.id)
        return None

    # -- consuming ---------------------------------------------------------------------------------------------

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge deliveries soon, or when they are delivered; void where their channel is gone."""
        for delivery in deliveries:
            delivery.is_dealt_with = True
            if delivery.tag is not None:
                self._dealt_with.append(delivery)
        if self._dealt_with:
            self._write_soon()

    def _safely(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do what nobody else would hear of; after an error of our own all starts over, and is delivered again."""
        try:
            action(*arguments)
        except Exception:
            log("connection failed", level=ERROR, trace=True)
            self._close()

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Have deliveries redelivered now, to whoever is there."""
        for delivery in deliveries:
            delivery.consumer.forget(delivery)
        for consumer, tags in _by_consumer(deliveries):
            self._safely(consumer.give_back, tags)

    def begin_ahead(self, subscription: Subscription, message: Message) -> Delivery | None:
        """A message that is about to be published to the queue; None where it has to be waited for."""
        consumer = self._open.consumers.get(subscription)
        return None if consumer is None or self.is_blocked else consumer.begin_ahead(message)

    async def catch_up(self) -> None:
        """Wait until what was begun ahead is delivered: else it would wait in its queue, though it is dealt with."""
        self._write_now()
        self._caught_up.clear()
        if self._is_ahead:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._caught_up.wait(), LAST_COPIES_SECONDS)

    @property
    def _is_ahead(self) -> bool:
        return any(consumer.is_ahead for consumer in self._open.consumers.values())

    def subscribe(self, subscription: Subscription) -> None:
        """Consume one queue more, which has to be there, from now on and after the server was away."""
        self._subscriptions.append(subscription)
        if self._connection is not None and self._connection.is_open:
            self._consume(self._open, subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Consume a queue no more; what was delivered and is not acknowledged goes back to it."""
        self._subscriptions.remove(subscription)
        consumer = self._open.consumers.pop(subscription, None)
        if consumer is not None and consumer.channel.is_open:
            consumer.channel.close()

    async def declare(self) -> None:
        """Declare everything again, over a connection for that alone. Raises what is in GONE."""
        await asyncio.to_thread(self._declare_all)

    def _declare_all(self) -> None:
        with contextlib.closing(pika.BlockingConnection(self._parameters)) as connection:
            self._declare(connection.channel())

    async def depths(self, queues: Sequence[str], seconds: float = 2.0) -> dict[str, int]:
        """How many messages of each queue are ready; a queue that is not answered for in time is missing."""
        found: dict[str, int] = {}
        if queues and self._connection is not None and self._connection.is_open:
            answered = asyncio.Event()
            self._connection.channel(on_open_callback=partial(_ask, queues, found, answered))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), seconds)
        return dict(found)

    def stop_consuming(self) -> None:
        """Take nothing more; what was delivered can still be acknowledged."""
        for consumer in self._open.consumers.values():
            for consumer_tag in consumer.channel.consumer_tags if consumer.channel.is_open else ():
                consumer.channel.basic_cancel(consumer_tag)

    async def stop(self) -> None:
        """Close when what is published is confirmed; what is not acknowledged then goes back to its queue."""
        self._write_now()
        unsettled = {promise.settled for promise, _ in self._open.promises.values() if not promise.settled.done()}
        if unsettled:
            await asyncio.wait(unsettled, timeout=LAST_CONFIRMS_SECONDS)
        self._write_now()
        self._stopping.set()
        self._close()
        if self._kept_up is not None:
            await asyncio.wait([self._kept_up], timeout=10)

    # -- the connection ----------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        pauses = RECONNECT.waits()
        while not self._stopping.is_set():
            try:
                await self.declare()
                await self._connected()
                pauses = RECONNECT.waits()
            except GONE as problem:
                log("RabbitMQ not reached", level=WARNING, reason=f"{type(problem).__name__}: {problem}")
            except Exception:
                # Whatever it is, a process that looks ready and does nothing would be worse.
                log("connection failed", level=ERROR, trace=True)
            self._lose("the connection to RabbitMQ was lost")
            # Jitter: after a restart of the server not everybody comes back in the same moment.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), next(pauses) * random.uniform(0.5, 1.5))

    async def _connected(self) -> None:
        """Connect, and come back when the connection has ended."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        opened = self._open = _Open()
        end = partial(self._ended, ended)
        self._connection = Connection(
            self._parameters,
            on_open_callback=partial(self._opened, opened),
            on_open_error_callback=end,
            on_close_callback=end,
            custom_ioloop=Services(asyncio.get_running_loop()),
        )
        await ended

    def _ended(self, ended: "asyncio.Future[None]", _connection: Any, reason: Any) -> None:
        if not self._stopping.is_set():
            log("RabbitMQ connection ended", level=WARNING, reason=f"{type(reason).__name__}: {reason}")
        if not ended.done():
            ended.set_result(None)

    def _opened(self, opened: _Open, connection: Connection) -> None:
        if self._stopping.is_set():
            # `stop` came before there was anything to close.
            connection.close()
            return
        connection.add_on_connection_blocked_callback(partial(self._blocked, opened))
        connection.add_on_connection_unblocked_callback(partial(self._unblocked, opened))
        connection.channel(on_open_callback=partial(self._publisher_opened, opened))
        for subscription in tuple(self._subscriptions):
            self._consume(opened, subscription)

    def _blocked(self, opened: _Open, _connection: Any, frame: Any) -> None:
        log("RabbitMQ takes nothing", level=WARNING, reason=frame.method.reason)
        opened.blocked = True
        # Nobody is to wait for what may be taken in minutes; what it is for comes again.
        for promise, _ in tuple(opened.promises.values()):
            promise.settle(f"RabbitMQ takes nothing now: {frame.method.reason}")

    def _unblocked(self, opened: _Open, *_: Any) -> None:
        log("RabbitMQ takes messages again")
        opened.blocked = False

    def _publisher_opened(self, opened: _Open, channel: Channel) -> None:
        channel.add_on_close_callback(partial(self._channel_closed, opened))
        channel.add_on_return_callback(partial(self._on_return, opened))
        channel.confirm(partial(self._confirmed, opened))
        opened.publisher = channel
        self._ready.set()

    def _consume(self, opened: _Open, subscription: Subscription) -> None:
        if subscription not in opened.consumers:
            channel = self._connection.channel(on_open_callback=partial(self._consumer_opened, opened, subscription))
            opened.consumers[subscription] = Consumer(channel, subscription.prefetch)

    def _consumer_opened(self, opened: _Open, subscription: Subscription, channel: Channel) -> None:
        consumer = opened.consumers.get(subscription)
        if consumer is None or consumer.channel is not channel:
            channel.close()
            return
        channel.add_on_close_callback(partial(self._channel_closed, opened))
        channel.add_on_cancel_callback(lambda _frame: self._close())
        channel.basic_qos(prefetch_count=subscription.prefetch)
        channel.consume(subscription.queue, partial(self._delivered, subscription.take, consumer))

    def _delivered(self, take: Callable[[Delivery], None], consumer: Consumer, message: DeliveredMessage) -> None:
        delivery = consumer.delivered(message)
        if delivery.id is None:
            take(delivery)
            return
        if delivery.is_dealt_with:
            self.acknowledge([delivery])
        if not self._is_ahead:
            self._caught_up.set()

    def _channel_closed(self, opened: _Open, channel: Channel, reason: Exception) -> None:
        # A channel alone never comes back: start all over, with topology and subscriptions.
        known = channel is opened.publisher or any(one.channel is channel for one in opened.consumers.values())
        if known and not self._stopping.is_set() and channel.connection.is_open:
            log("RabbitMQ channel closed", level=WARNING, reason=str(reason))
            self._close()

    def _close(self) -> None:
        connection = self._connection
        if connection is not None and not (connection.is_closing or connection.is_closed):
            connection.close()

    def _lose(self, reason: str) -> None:
        self._ready.clear()
        self._connection = None
        opened, self._open = self._open, _Open()
        for promise, _ in tuple(opened.promises.values()):
            promise.settle(reason)


def _tags(open_tags: dict[int, Any], tag: int, multiple: bool) -> list[int]:
    """The tags that a confirm speaks of; they are kept in their order."""
    if not multiple:
        return [tag] if tag in open_tags else []
    tags = []
    for one in open_tags:
        if one > tag:
            break
        tags.append(one)
    return tags


def _by_consumer(deliveries: Sequence[Delivery]) -> list[tuple[Consumer, list[int]]]:
    tags: dict[int, tuple[Consumer, list[int]]] = {}
    for delivery in deliveries:
        if delivery.tag is not None:
            tags.setdefault(id(delivery.consumer), (delivery.consumer, []))[1].append(delivery.tag)
    return [*tags.values()]


def _ask(queues: Sequence[str], found: dict[str, int], answered: asyncio.Event, channel: Channel) -> None:
    """Ask on a channel of its own, which a missing queue closes."""

    def hear(frame: Any) -> None:
        found[frame.method.queue] = frame.method.message_count
        if len(found) == len(queues):
            channel.close()

    channel.add_on_close_callback(lambda *_: answered.set())
    for queue in queues:
        channel.queue_declare(queue, passive=True, callback=hear)
