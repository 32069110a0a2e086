"""Triggers of a test's exchange, here in this process, with a proxy before RabbitMQ where it is to stall."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tests.broker import TYPES, Broker
from tests.system import TOKEN, eventually
from tools.local.rabbitmq import RabbitMQ
from triggers.ahead import Ahead
from triggers.amqp import Link
from triggers.dispatcher import finish
from triggers.topology import RETRY_QUEUES, Topology
from triggers.trigger import DispatcherSettings, Trigger


class Proxy:
    """Stands before RabbitMQ, and holds every byte while it is `held`."""

    def __init__(self, rabbitmq: RabbitMQ):
        self._url, self._port = rabbitmq.url, rabbitmq.port
        self._flows = asyncio.Event()
        self.let_go()

    def hold(self) -> None:
        self._flows.clear()

    def let_go(self) -> None:
        self._flows.set()

    async def __aenter__(self) -> str:
        """The address by which RabbitMQ is reached here."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return self._url.replace(f":{self._port}/", f":{self._server.sockets[0].getsockname()[1]}/")

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pump(reader, back_writer), self._pump(back_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            writer.write(data)
        writer.close()


class Stage:
    """The trigger `one`; with `ahead` also `two`, and both begin ahead with what the other answers."""

    def __init__(self, broker: Broker, url: str, workers: int = 1, ahead: Ahead | None = None):
        self.broker = broker
        settings = DispatcherSettings(
            amqp_url=url, installation_token=TOKEN, dispatcher_workers=workers, dispatcher_backoff_seconds=0.1
        )
        topology = Topology(broker.exchange, broker.queue_type)
        functions = [SimpleNamespace(name=name, topic=type, event_type=type) for name, type in TYPES.items()]
        self.triggers = [
            Trigger(function, settings, topology, broker.functions[function.name].url, ahead=ahead)
            for function in (functions if ahead else functions[:1])
        ]
        self.trigger = self.triggers[0]

        def declare(channel: Any) -> None:
            for function in functions:
                topology.declare_trigger(channel, function)
            for number in range(RETRY_QUEUES):
                topology._declare_retry_queue(channel, topology.retry_queue(number))

        self.link = Link(url, declare, [trigger.subscription for trigger in self.triggers])

    async def __aenter__(self) -> "Stage":
        for trigger in self.triggers:
            trigger.start(self.link)
        self.link.start()
        assert await self.link.wait_ready(30)
        return self

    async def __aexit__(self, *_: object) -> None:
        await finish(self.link, self.triggers, 10)

    @property
    def unacknowledged(self) -> int:
        """Deliveries, and what is begun ahead of its delivery."""
        return self.delivered + sum(len(consumer._ahead) for consumer in self.link._open.consumers.values())

    @property
    def delivered(self) -> int:
        """Those that are unacknowledged."""
        return sum(len(consumer._open) for consumer in self.link._open.consumers.values())

    async def settled(self, *ids: str) -> None:
        """Wait until every one of these was handled and nothing is unacknowledged."""
        await until(lambda: {*ids} <= {*self.broker.one.ids} and not self.unacknowledged, f"{ids} handled")


async def until(condition: Callable[[], Any], what: str) -> Any:
    return await asyncio.to_thread(eventually, condition, what)
