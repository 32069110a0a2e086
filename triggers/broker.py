"""The broker in one process: the ingress and the dispatcher, with one event loop and one connection to RabbitMQ.

POST /        as at the ingress; where DISPATCHER_AHEAD is set the event's step begins while the event is published
GET  /health  200 while RabbitMQ is there, 503 otherwise
GET  /_/metrics  metrics for Prometheus, of both

For one machine. Where there are several ingresses or dispatchers, each is a process of its own.
"""

from collections.abc import Sequence

from triggers.amqp import Message
from triggers.command import settings_for
from triggers.dispatcher import Dispatcher, export_queues
from triggers.ingress import Ingress, IngressSettings
from triggers.server import Lifespan, serve
from triggers.trigger import DispatcherSettings


class BrokerSettings(IngressSettings, DispatcherSettings):
    """What the broker reads from its environment."""


class Broker(Ingress):
    """The ASGI application: an ingress on a dispatcher's connection."""

    def __init__(self, settings: BrokerSettings):
        super().__init__(settings)
        self._lifespan = Lifespan(self._begin, self._end)

    def _begin(self) -> None:
        self._dispatcher = Dispatcher(self._settings)
        self._link = self._dispatcher.link
        self._dispatcher.start()
        export_queues(self._dispatcher)

    async def _end(self) -> None:
        await self._dispatcher.stop()

    async def _publish(self, messages: Sequence[Message]) -> None:
        await self._link.publish(messages, soon=self._dispatcher.ahead.begin(messages))


def main() -> None:
    """Serve and dispatch until SIGTERM; what is in flight then is finished."""
    settings = settings_for(BrokerSettings, __doc__)
    serve(Broker(settings), host=settings.host, port=settings.port)


if __name__ == "__main__":
    main()
