"""What stands in RabbitMQ: an exchange, a queue a trigger, retry queues, one queue for dead letters.

The exchange and the bindings are those of Knative's RabbitMQ broker: a durable headers exchange, `x-match: all` on
bare attribute names. A failed event waits in a retry queue until its time is up; RabbitMQ then puts it back into the
very queue that it came from, and no other event waits for it.
"""

from dataclasses import dataclass
from logging import WARNING
from typing import Any

from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker
from pydantic import Field

from functions.shared.telemetry.logs import log
from triggers.amqp import AmqpSettings
from triggers.stack import DEAD_LETTERS, Function, load

RETRY_QUEUES = 8
FUNCTION = "{function}"
PRECONDITION_FAILED = 406
# A message that a quorum queue can't hand on at once stays where it is until it can; nothing is dropped on the way.
AT_LEAST_ONCE = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


class BrokerSettings(AmqpSettings):
    """The broker's names and kinds in RabbitMQ."""

    exchange_name: str = Field(default="food.events", description="headers exchange that events are published to")
    queue_type: str = Field(
        default="classic", pattern="^(classic|quorum)$", description="classic on one machine, quorum in a cluster"
    )
    queue_names: str = Field(
        default="",
        pattern=r"^([^{}]*\{function\}[^{}]*)?$",
        description="names of another broker's queues, {function} filled in; none: our own",
    )


@dataclass(frozen=True)
class Topology:
    """The names of everything, and how to declare it; declaring again changes nothing."""

    exchange: str
    queue_type: str
    queue_names: str = ""

    @classmethod
    def of(cls, settings: BrokerSettings) -> "Topology":
        """The topology that the settings ask for."""
        return cls(settings.exchange_name, settings.queue_type, settings.queue_names)

    @property
    def dead_letters(self) -> str:
        """The exchange and queue of the dead letters."""
        return f"{self.exchange}.dead-letters"

    def queue(self, function: Function) -> str:
        """The queue of a function's trigger."""
        if function.topic == DEAD_LETTERS:
            return self.dead_letters
        return (self.queue_names or f"{self.exchange}.{FUNCTION}").replace(FUNCTION, function.name)

    def retry_queue(self, number: int) -> str:
        """The retry queue, and the exchange before it, for the given retry: each for longer than the one before."""
        return f"{self.exchange}.retry.{min(number, RETRY_QUEUES - 1)}"

    @property
    def queues(self) -> list[str]:
        """All queues: those of triggers, the retry queues, the dead letters."""
        triggers = [self.queue(function) for function in load() if function.event_type]
        return [*triggers, *(self.retry_queue(number) for number in range(RETRY_QUEUES)), self.dead_letters]

    def declare(self, channel: BlockingChannel) -> None:
        """Make what is not there yet."""
        if not self.queue_names:
            self._declare_triggers(channel)
        self.declare_dead_letters(channel)

    def declare_dead_letters(self, channel: BlockingChannel) -> None:
        """Make the queue of the dead letters, and the retry queues."""
        self._declare_queue(channel, self.dead_letters, self._unlimited(channel))
        for number in range(RETRY_QUEUES):
            self._declare_retry_queue(channel, self.retry_queue(number))

    def _declare_triggers(self, channel: BlockingChannel) -> None:
        channel.exchange_declare(self.exchange, "headers", durable=True)
        for function in load():
            if function.event_type:
                self.declare_trigger(channel, function)

    def declare_trigger(self, channel: BlockingChannel, function: Function) -> None:
        """Make a function's queue, and bind it to the type that the function takes."""
        self._declare_queue(channel, self.queue(function), self._kept(channel))
        if function.event_type:
            match = {"x-match": "all", "x-knative-trigger": function.name, "type": function.event_type}
            channel.queue_bind(self.queue(function), self.exchange, "", match)

    def _kept(self, channel: BlockingChannel) -> dict[str, Any]:
        """What keeps an event that was delivered many times and never acknowledged, because connections were lost.

        A quorum queue of RabbitMQ 4 drops it after 20 deliveries unless `x-delivery-limit` says otherwise. Where the
        limit can't be lifted, because the queue was made before an upgrade or by somebody else's policy, it becomes a
        dead letter.
        """
        if self.queue_type != "quorum":
            return {}
        to_dead_letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.dead_letters}
        return {**to_dead_letters, **AT_LEAST_ONCE, **self._unlimited(channel)}

    def _unlimited(self, channel: BlockingChannel) -> dict[str, Any]:
        # RabbitMQ 3 has no limit unless one is set, and would take -1 for none at all: the first loss drops it.
        return {"x-delivery-limit": -1} if self.queue_type == "quorum" and version_of(channel) >= 4 else {}

    def _declare_queue(self, channel: BlockingChannel, name: str, arguments: dict[str, Any]) -> None:
        """Make a queue, or take one as it is that was made with other arguments."""
        # A refusal closes the channel that it came on.
        own = channel.connection.channel()
        try:
            own.queue_declare(name, durable=True, arguments={"x-queue-type": self.queue_type, **arguments})
        except ChannelClosedByBroker as problem:
            if problem.reply_code != PRECONDITION_FAILED:
                raise
            log("queue is not as it would be made now: empty it and delete it", level=WARNING, queue=name,
                reason=problem.reply_text)  # fmt: skip
        else:
            own.close()

    def _declare_retry_queue(self, channel: BlockingChannel, name: str) -> None:
        # The default exchange takes an expired message to the queue that its routing key names: where it came from.
        arguments: dict[str, Any] = {"x-dead-letter-exchange": ""}
        if self.queue_type == "quorum":
            arguments |= AT_LEAST_ONCE
        channel.exchange_declare(name, "fanout", durable=True)
        self._declare_queue(channel, name, arguments)
        channel.queue_bind(name, name)


def version_of(channel: BlockingChannel) -> int:
    """The major version of the server, as it has said when the connection was opened."""
    # The blocking connection has no word for it.
    properties = channel.connection._impl.server_properties
    return int(str(properties.get("version", "0")).partition(".")[0])
