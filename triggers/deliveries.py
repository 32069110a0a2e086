"""What a queue has delivered and nobody has acknowledged yet; and what is begun before it is delivered.

A message that this process publishes for a queue that it consumes need not be waited for. It is begun ahead, with no
tag yet, and published all the same. What RabbitMQ then delivers is a copy that nobody has to look at again: it
brings the tag, and is acknowledged as soon as both are there, the copy and what came of it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from triggers.amqp_connection import Channel
from triggers.amqp_frames import DeliveredMessage, Message

# A copy comes within milliseconds. One that never does was delivered to somebody else, or purged with its queue.
COPY_WITHIN = 10.0
# Some versions of RabbitMQ add it to what a quorum queue delivers for the first time, which others don't:
# https://github.com/rabbitmq/rabbitmq-server/pull/7732
DELIVERY_COUNT = "x-delivery-count"


@dataclass(eq=False, slots=True)
class Delivery:
    """A message that is not acknowledged yet; without a tag while its copy has not been delivered."""

    consumer: "Consumer"
    tag: int | None
    headers: dict[str, Any] | None
    content_type: str | None
    body: bytes
    id: str | None = None
    is_dealt_with: bool = False
    is_void: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def is_stale(self) -> bool:
        """Its channel is gone, or its message: it is delivered again, to whoever is there then."""
        return self.is_void or not self.consumer.channel.is_open

    @property
    def is_overdue(self) -> bool:
        """Whether its copy does not come any more."""
        return time.monotonic() - self.began > COPY_WITHIN

    def is_of(self, message: DeliveredMessage) -> bool:
        """Whether this is the message, to the last byte."""
        headers = message.headers or {}
        if headers.get(DELIVERY_COUNT) == 0:
            headers = {name: value for name, value in headers.items() if name != DELIVERY_COUNT}
        return self.body == message.body and self.headers == headers


class Consumer:
    """A channel that consumes a queue, and its unacknowledged deliveries."""

    def __init__(self, channel: Channel, prefetch: int):
        self.channel, self._prefetch = channel, prefetch
        self._open: dict[int, None] = {}
        # By the id of the message, the oldest first.
        self._ahead: dict[str, Delivery] = {}

    def begin_ahead(self, message: Message) -> Delivery | None:
        """A message that is about to be published; None when it has to be waited for, behind others of its queue."""
        if message.id in self._ahead or not self.channel.is_open or not self._has_room():
            return None
        delivery = Delivery(self, None, message.headers, message.content_type, message.body, message.id)
        self._ahead[message.id] = delivery
        return delivery

    @property
    def is_ahead(self) -> bool:
        """Whether a copy of what was begun ahead is still to come."""
        return bool(self._ahead) and self.channel.is_open

    def _has_room(self) -> bool:
        # With less than its prefetch delivered, the queue has none that wait.
        if len(self._open) + len(self._ahead) < self._prefetch:
            return True
        for delivery in tuple(self._ahead.values()):
            if not delivery.is_overdue:
                break
            self.forget(delivery)
        return len(self._open) + len(self._ahead) < self._prefetch

    def delivered(self, message: DeliveredMessage) -> Delivery:
        """One more that is unacknowledged; the one that was begun ahead, when this is its copy."""
        self._open[message.tag] = None
        ahead = self._ahead.get(message.id)
        # After a while an equal message is no copy but somebody's wish to have it handled once more.
        if ahead is None or not ahead.is_of(message) or (ahead.is_dealt_with and ahead.is_overdue):
            return Delivery(self, message.tag, message.headers, message.content_type, message.body)
        del self._ahead[message.id]
        ahead.tag = message.tag
        return ahead

    def forget(self, delivery: Delivery) -> None:
        """One begun ahead is no longer the message: when a copy comes, that is a delivery like any other."""
        if self._ahead.get(delivery.id) is delivery:
            del self._ahead[delivery.id]
            delivery.is_void = True

    def acknowledge(self, tags: Sequence[int]) -> None:
        """Acknowledge these, as `multiple` where nothing older is unacknowledged."""
        known = [tag for tag in tags if self._open.pop(tag, 0) is None]
        if not known or not self.channel.is_open:
            return
        newest = max(known)
        if next(iter(self._open), newest + 1) > newest:
            self.channel.basic_ack(newest, multiple=True)
        else:
            for tag in known:
                self.channel.basic_ack(tag)

    def give_back(self, tags: Sequence[int]) -> None:
        """Have these redelivered."""
        for tag in tags:
            if self._open.pop(tag, 0) is None and self.channel.is_open:
                self.channel.basic_nack(tag, requeue=True)
