"""Keeps dead letters that a broker hands over once and then forgets, as Knative's does, until the sink has them.

POST /  one dead letter; 202 once RabbitMQ has confirmed it. It waits in a queue of its own, from where a trigger
        posts it to the function of dead letters, for as long as that takes.
GET /health and /_/metrics are as the ingress has them.

Knative's dispatchers send no token, so whoever reaches this process is taken for one: let nobody else in, by a
network policy as in k8s/broker.
"""

from pydantic import Field

from triggers.amqp import Link, Message
from triggers.asgi import Scope
from triggers.command import settings_for
from triggers.ingress import Ingress, IngressSettings
from triggers.server import serve
from triggers.stack import DEAD_LETTERS, load
from triggers.trigger import DispatcherSettings, Trigger
from triggers.wire import WireEvent, message_of


class BufferSettings(IngressSettings, DispatcherSettings):
    """What the buffer reads from its environment."""

    exchange_name: str = "food.buffer"
    port: int = Field(default=8003, ge=1, le=65535, description="port to listen on")


class Buffer(Ingress):
    """The ASGI application: an ingress with one queue, and the trigger of that queue in the same process."""

    def _linked(self) -> Link:
        sink = next(function for function in load() if function.topic == DEAD_LETTERS)
        trigger = Trigger(sink, self._settings, self._topology)
        link = Link(self._settings.amqp_url, self._topology.declare_dead_letters, [trigger.subscription])
        trigger.start(link)
        return link

    def _is_let_in(self, _scope: Scope) -> bool:
        return True

    def _message(self, event: WireEvent) -> Message:
        return message_of(event, "", self._topology.dead_letters, must_arrive=True)


def main() -> None:
    """Serve until SIGTERM; what is in flight then is delivered again."""
    settings = settings_for(BufferSettings, __doc__)
    serve(Buffer(settings), host=settings.host, port=settings.port)


if __name__ == "__main__":
    main()
