"""Which replies need not be waited for: those that this very dispatcher takes off their queue again.

A reply is published, and RabbitMQ has it, for ever and for everybody who listens. Its step begins meanwhile. What it
answers is acknowledged when the reply is confirmed, as always, so a crash in between costs a redelivery: the steps
before answer from their decisions.
"""

from collections import defaultdict
from typing import Protocol

from triggers.amqp import Message


class Subscriber(Protocol):
    """Who takes the messages of a queue."""

    event_type: str | None

    def take_ahead(self, message: Message) -> bool:
        """Begin with a message that is about to be published, unless it has to be waited for."""


class Ahead:
    """The subscribers of one dispatcher, by the type of the events that they take; unless it `is_on`, all wait."""

    def __init__(self, is_on: bool = False):
        self.is_on = is_on
        self._subscribers: dict[str | None, list[Subscriber]] = defaultdict(list)

    def add(self, subscriber: Subscriber) -> None:
        """Let this one begin ahead."""
        self._subscribers[subscriber.event_type].append(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Let this one wait for its events again."""
        self._subscribers[subscriber.event_type].remove(subscriber)

    def begin(self, message: Message) -> bool:
        """Begin with a message that is about to be published; whether nobody here waits for it any more."""
        if not self.is_on:
            return False
        subscribers = self._subscribers.get(message.headers.get("type"), ())
        return bool(subscribers) and all([subscriber.take_ahead(message) for subscriber in subscribers])
