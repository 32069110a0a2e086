"""The broker's consumer: takes events off each trigger's queue, posts them to its function, sends on the replies.

An event is acknowledged after RabbitMQ has confirmed what came of it: its reply, its next try, or its dead letter.
All triggers share one event loop and one connection.
"""

import asyncio
import signal
from collections.abc import Callable, Sequence

import uvloop

from functions.shared.telemetry import traces
from functions.shared.telemetry.logs import log
from triggers.ahead import Ahead
from triggers.amqp import Link
from triggers.command import settings_for
from triggers.garbage import keep_what_is_loaded
from triggers.metrics import Queues, check_metrics_port, serve_metrics
from triggers.stack import DEAD_LETTERS, Function, load
from triggers.topology import Topology
from triggers.trigger import DispatcherSettings, Trigger
from triggers.turns import Turns

GRACE = 12.0
ASKING_SECONDS = 3.0


class Dispatcher:
    """All triggers on one connection."""

    def __init__(self, settings: DispatcherSettings):
        self.topology = Topology.of(settings)
        self.ahead, turns = Ahead(settings.dispatcher_ahead), Turns(settings.dispatcher_at_a_time)
        self.triggers = [
            Trigger(each, settings, self.topology, turns=turns, ahead=self.ahead) for each in _served(settings)
        ]
        subscriptions = [trigger.subscription for trigger in self.triggers]
        self.link = Link(settings.amqp_url, self.topology.declare, subscriptions)

    def start(self) -> None:
        """Begin to consume."""
        for trigger in self.triggers:
            trigger.start(self.link)
        self.link.start()

    async def stop(self, seconds: float = GRACE) -> None:
        """Take nothing more, let calls finish, then close: what is unacknowledged goes back to its queue."""
        await finish(self.link, self.triggers, seconds)


async def finish(link: Link, triggers: Sequence[Trigger], seconds: float) -> None:
    """End the work of triggers, and then their connection."""
    for trigger in triggers:
        trigger.stopping.set()
    await link.catch_up()
    link.stop_consuming()
    await asyncio.gather(*(trigger.stop(seconds) for trigger in triggers))
    await link.stop()


def export_queues(dispatcher: Dispatcher) -> None:
    """Have the depth of the queues among the metrics; they are asked for by another thread."""
    loop = asyncio.get_running_loop()

    def depths() -> dict[str, int]:
        asked = asyncio.run_coroutine_threadsafe(dispatcher.link.depths(dispatcher.topology.queues), loop)
        try:
            return asked.result(ASKING_SECONDS)
        except TimeoutError:
            return {}

    def in_flight() -> dict[str, int]:
        return {trigger.function.name: trigger.in_flight for trigger in tuple(dispatcher.triggers)}

    Queues(lambda: dispatcher.link.is_ready, depths, in_flight)


def _served(settings: DispatcherSettings) -> list[Function]:
    listed = [function for function in load() if function.event_type or function.topic == DEAD_LETTERS]
    wanted = settings.wanted
    if unknown := wanted - {function.name for function in listed}:
        names = ", ".join(function.name for function in listed)
        raise SystemExit(f"DISPATCHER_TRIGGERS: expected some of {names}; got {', '.join(sorted(unknown))}")
    return [function for function in listed if not wanted or function.name in wanted]


def main() -> None:
    """Dispatch until SIGTERM."""
    settings = settings_for(DispatcherSettings, __doc__)
    run(settings, lambda: Dispatcher(settings))


def run(settings: DispatcherSettings, make: Callable[[], Dispatcher]) -> None:
    """Let it work until SIGTERM or SIGINT, and finish what is in flight."""
    check_metrics_port(settings)
    traces.check()
    keep_what_is_loaded()
    uvloop.run(_work(settings, make))


async def _work(settings: DispatcherSettings, make: Callable[[], Dispatcher]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    dispatcher = make()
    dispatcher.start()
    export_queues(dispatcher)
    serve_metrics(settings)
    log("dispatcher started", triggers=len(dispatcher.triggers))
    await stopped.wait()
    await dispatcher.stop()
    log("dispatcher stopped")


if __name__ == "__main__":
    main()
