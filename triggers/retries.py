"""What becomes of an event that was not handled: another try later, or a dead letter.

An event waits in a retry queue of RabbitMQ: its messages expire, and RabbitMQ puts them back into the very queue that
they came from. No other event waits for it.
"""

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic import Field

from functions.shared.events import derived_id
from functions.shared.retry_policy import DISPATCHER, UNAVAILABLE, Backoff
from functions.shared.settings import Settings
from triggers import wire
from triggers.amqp import Message
from triggers.calls import LONGEST_REASON, Failed
from triggers.deliveries import Delivery
from triggers.topology import RETRY_QUEUES, Topology
from triggers.wire import WireEvent, message_of

UNREADABLE = "homework.arch.ops.unreadable"


class RetrySettings(Settings):
    """How often and how long after each other an event is tried."""

    dispatcher_tries: int = Field(default=DISPATCHER.tries, ge=1, description="tries until an event is a dead letter")
    dispatcher_backoff_seconds: float = Field(
        default=DISPATCHER.first, gt=0, description="wait before the second try; doubles"
    )
    dispatcher_longest_backoff_seconds: float = Field(
        default=DISPATCHER.longest, gt=0, description="longest wait between tries"
    )


@dataclass(frozen=True)
class Retry:
    """An event's next try: the message that brings it, and the seconds until then."""

    message: Message
    seconds: float


@dataclass(frozen=True)
class RetryPolicy:
    """The tries and the dead letters of one function's events."""

    settings: RetrySettings
    topology: Topology
    function: str
    queue: str

    def is_over(self, event: WireEvent, failure: Failed) -> bool:
        """Whether an event becomes a dead letter now."""
        return failure.final or event.attempts + 1 >= self.settings.dispatcher_tries

    def retry(self, event: WireEvent) -> Retry:
        """The next try of `event`."""
        attempts = event.attempts + 1
        seconds = self._backoff(attempts)
        exchange = self.topology.retry_queue(attempts - 1)
        again = replace(event, attempts=attempts)
        return Retry(message_of(again, exchange, self.queue, expires=int(seconds * 1000), must_arrive=True), seconds)

    def dead_letter(self, event: WireEvent, failure: Failed) -> Message:
        """The event as a dead letter: with who failed, why, and after how many tries."""
        reason = failure.reason.encode()[:LONGEST_REASON]
        dead = replace(event, attempts=0).with_attributes(
            knativeerrordest=self.function,
            knativeerrorcode=str(failure.status),
            knativeerrordata=base64.b64encode(reason).decode(),
            deliveryattempts=str(event.attempts + 1),
        )
        return message_of(dead, "", self.topology.dead_letters, must_arrive=True)

    def _backoff(self, attempts: int) -> float:
        settings = self.settings
        backoff = Backoff(settings.dispatcher_backoff_seconds, settings.dispatcher_longest_backoff_seconds)
        # One retry queue for each wait: the last is for all that come after.
        return backoff.wait(min(attempts, RETRY_QUEUES)) * random.uniform(0.8, 1.2)


def pauses() -> Iterator[float]:
    """Longer and longer, each a little different: after an outage not everybody calls in the same moment."""
    return (pause * random.uniform(0.7, 1.3) for pause in UNAVAILABLE.waits())


def given_up(event: WireEvent, delivery: Delivery, exchange: str) -> WireEvent:
    """A dead letter that RabbitMQ made itself, with the reason: redelivered too often, and never acknowledged."""
    deaths = (delivery.headers or {}).get("x-death") or ()
    death = next((one for one in deaths if one.get("reason") == "delivery_limit"), None)
    if death is None or event.get("knativeerrordest"):
        return event
    reason = f"delivered more often than the queue {death['queue']} allows, and never acknowledged"
    return event.with_attributes(
        knativeerrordest=death["queue"].removeprefix(f"{exchange}."),
        knativeerrorcode="-1",
        knativeerrordata=base64.b64encode(reason.encode()).decode(),
        deliveryattempts=str(event.attempts + 1),
    )


def unreadable(delivery: Delivery, queue: str) -> WireEvent:
    """A CloudEvent around a message that is not one, so that it can be kept."""
    data = base64.b64encode(delivery.body).decode()
    attributes = {
        "specversion": "1.0",
        "type": UNREADABLE,
        "source": "/" + queue,
        "id": derived_id(queue, data, str(delivery.headers)),
    }
    return wire.checked({**attributes, "datacontenttype": "application/json"}, f'{{"base64":"{data}"}}'.encode())
