"""Which events need not be waited for: those that this very process takes off their queue again.

An event is published, and RabbitMQ has it, for ever and for everybody who listens. Its step begins meanwhile. Whoever
sent it hears that it is taken, or what it answers is acknowledged, when it is confirmed, as always. So a crash in
between costs a repetition: the steps before answer from their decisions.
"""

from collections import defaultdict
from collections.abc import Sequence
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

    def begin(self, messages: Sequence[Message]) -> bool:
        """Begin with messages that are about to be published; whether nobody here waits for any of them."""
        # A list: each is begun, whatever becomes of those before it.
        return self.is_on and bool(messages) and all([self._begin(message) for message in messages])

    def _begin(self, message: Message) -> bool:
        subscribers = self._subscribers.get(message.headers.get("type"), ())
        return bool(subscribers) and all([subscriber.take_ahead(message) for subscriber in subscribers])
