"""What could be had at most on this machine: our statements and our messages by one loop, without functions and HTTP.

One thread takes events off real queues, runs their steps' statements (those that wait together in one trip and one
commit, up to 32), publishes what follows, and acknowledges when that is confirmed. Needs the servers of `make run`;
database and queues are its own, and are removed in the end.
"""

import json
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import click
import pika
from pika.channel import Channel

from functions.shared.database import Connection
from tools import bench_beside
from tools import bench_chain as chain
from tools.bench.orders import Book, Outcome, Supplies
from tools.bench.outcomes import percentile
from tools.bench.resources import cpu_ms
from tools.bench.target import Target, running
from tools.bench_chain import Asked, Order
from tools.local.installation import Installation
from tools.local.processes import StartFailed
from tools.migrate import MigrationFailed

EXCHANGE = "bench-floor"
PREFIX = "homework.arch."
BATCH, PREFETCH = 32, 100
ACCEPT, SENT = "accept", "sent"


class Event(NamedTuple):
    """What was delivered; the tag is there until it is acknowledged."""

    id: str
    data: dict[str, Any]
    tag: int = 0
    text: str = ""


class Step(NamedTuple):
    """What an event's step asks the database, what follows, and the status that is added to that."""

    asks: Callable[[Event], Asked] | None
    follows: str | None
    status: str | None = None


def _of_order(ask: Callable[[Order], Asked]) -> Callable[[Event], Asked]:
    return lambda event: ask(Order.of(event.data, event.text))


def _result(event: Event) -> Asked:
    statuses = (event.data[name] for name in ("payStatus", "storeStatus", "deliveryStatus"))
    return chain.result(Order.of(event.data, event.text), *statuses)


def _mail(event: Event) -> Asked:
    return chain.send_email(*(event.data[name] for name in ("orderId", "userName", "message")))


# The chain of an order that is completed.
STEPS = {
    "order.newOrder": Step(_of_order(chain.new_order), "pay.sale"),
    "pay.sale": Step(None, "billing.withdraw"),
    "billing.withdraw": Step(_of_order(chain.withdraw), "pay.confirmSale", "payStatus"),
    "pay.confirmSale": Step(_of_order(chain.confirm_sale), "store.bookingFood"),
    "store.bookingFood": Step(_of_order(chain.booking_food), "delivery.bookingCourier", "storeStatus"),
    "delivery.bookingCourier": Step(_of_order(chain.booking_courier), "order.result", "deliveryStatus"),
    "order.result": Step(_result, "notification.email"),
    "notification.email": Step(_mail, None),
}
OUTBOX = {"order.newOrder": chain.OPENING, "notification.email": chain.NOTICE}


@dataclass
class Loop:
    """The broker's connection with everything that waits; `ended` is called for each order that has ended."""

    url: str
    database: Connection
    ended: Callable[[str], None] = lambda _: None
    waiting: dict[str, deque] = field(default_factory=lambda: {name: deque() for name in (ACCEPT, *STEPS, SENT)})
    unconfirmed: dict[int, Callable[[], None]] = field(default_factory=dict)
    published: int = 0
    asleep: bool = True

    def run(self, begin: Callable[[], None]) -> None:
        """Work until `stop`; `begin` is called when all queues are there."""
        self.connection = pika.SelectConnection(
            pika.URLParameters(self.url), on_open_callback=partial(self._opened, begin), on_open_error_callback=_gone
        )
        self.connection.ioloop.start()

    def stop(self) -> None:
        """Remove the queues and close; called when nothing is on its way any more."""
        for name in STEPS:
            self.channel.queue_delete(_queue(name))
        self.channel.exchange_delete(EXCHANGE, callback=lambda _: self.connection.close())
        self.connection.add_on_close_callback(lambda *_: self.connection.ioloop.stop())

    def accept(self, order: dict[str, Any]) -> None:
        """Take an order as a client sends it."""
        self._wait(ACCEPT, Event("", order, text=json.dumps(order)))

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits here; what is in RabbitMQ is not known."""
        return not self.unconfirmed and not any(self.waiting.values())

    def _opened(self, begin: Callable[[], None], connection: pika.SelectConnection) -> None:
        connection.channel(on_open_callback=partial(self._declare, begin))

    def _declare(self, begin: Callable[[], None], channel: Channel) -> None:
        """As the broker has it on one machine: a headers exchange, durable classic queues, confirms."""
        self.channel = channel
        channel.confirm_delivery(self._confirmed)
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.exchange_declare(EXCHANGE, "headers", durable=True)
        for name in STEPS:
            channel.queue_declare(_queue(name), durable=True, arguments={"x-queue-type": "classic"})
            match = {"x-match": "all", "x-knative-trigger": name, "type": PREFIX + name}
            channel.queue_bind(_queue(name), EXCHANGE, "", match)
            channel.queue_purge(_queue(name))
            channel.basic_consume(_queue(name), partial(self._delivered, name))
        channel.basic_qos(prefetch_count=PREFETCH, callback=lambda _: begin())

    def _delivered(self, name: str, _: Channel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        self._wait(name, Event(properties.headers["id"], json.loads(body), method.delivery_tag, body.decode()))

    def _wait(self, name: str, item: Any) -> None:
        self.waiting[name].append(item)
        if self.asleep:
            self.asleep = False
            self.connection.ioloop.add_callback_threadsafe(self._work)

    def _work(self) -> None:
        """One batch of the longest queue; between two batches the connection has its turn."""
        name, items = max(self.waiting.items(), key=lambda entry: len(entry[1]))
        batch = [items.popleft() for _ in range(min(len(items), BATCH))]
        if name == SENT:
            self.database.together([chain.events_sent(batch)])
        else:
            self._accept(batch) if name == ACCEPT else self._step(name, batch)
        self.asleep = not any(self.waiting.values())
        if not self.asleep:
            self.connection.ioloop.add_callback_threadsafe(self._work)

    def _accept(self, batch: Sequence[Event]) -> None:
        orders = [Order.of(event.data, event.text) for event in batch]
        self.database.together([chain.accept(order) for order in orders])
        for event, order in zip(batch, orders, strict=True):
            data = {"orderId": order.order_id, **event.data, "email": chain.EMAIL}
            self._publish_from_outbox("order.newOrder", order.order_id, data, event.data["msgId"])

    def _step(self, name: str, batch: Sequence[Event]) -> None:
        step = STEPS[name]
        for event, decided in zip(batch, self._decide(step, batch), strict=True):
            if step.follows is None:
                self._acknowledge(event.tag)
            elif name == "order.result":
                self._end(event)
            else:
                self._follow(step, event, decided)

    def _decide(self, step: Step, batch: Sequence[Event]) -> list[Any]:
        if step.asks is None:
            return [None] * len(batch)
        found = self.database.together([step.asks(event) for event in batch])
        return [rows[0][0] if rows else None for rows in found]

    def _follow(self, step: Step, event: Event, decided: Any) -> None:
        data = {name: value for name, value in event.data.items() if name not in ("msgId", "email")}
        if step.status:
            data[step.status] = decided
        id = chain.derived_id(event.id, step.follows)
        self._publish(step.follows, id, data, event.id, partial(self._acknowledge, event.tag))

    def _end(self, event: Event) -> None:
        """The order has ended with its notice in the outbox; the event is done with."""
        self._acknowledge(event.tag)
        order_id = event.data["orderId"]
        notice = {"orderId": order_id, "userName": event.data["userName"], "email": chain.EMAIL}
        self._publish_from_outbox("notification.email", order_id, notice | {"message": chain.COMPLETED}, event.id)
        self.ended(order_id)

    def _publish_from_outbox(self, name: str, order_id: str, data: dict[str, Any], cause: str) -> None:
        id = chain.derived_id(OUTBOX[name], order_id)
        self._publish(name, id, data, cause, partial(self._wait, SENT, id))

    def _publish(self, name: str, id: str, data: dict[str, Any], cause: str, confirmed: Callable[[], None]) -> None:
        properties = pika.BasicProperties(
            headers=_headers(name, id, data["orderId"], cause),
            content_type="application/json",
            message_id=id,
            delivery_mode=2,
        )
        body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
        self.channel.basic_publish(EXCHANGE, "", body, properties, mandatory=True)
        self.published += 1
        self.unconfirmed[self.published] = confirmed

    def _confirmed(self, frame: Any) -> None:
        if not isinstance(frame.method, pika.spec.Basic.Ack):
            raise StartFailed("RabbitMQ refused a message")
        last = frame.method.delivery_tag
        tags = [tag for tag in self.unconfirmed if tag <= last] if frame.method.multiple else [last]
        for tag in tags:
            self.unconfirmed.pop(tag)()

    def _acknowledge(self, tag: int) -> None:
        self.channel.basic_ack(tag)


def _queue(name: str) -> str:
    return f"{EXCHANGE}.{name}"


def _gone(_: Any, problem: Exception) -> None:
    raise StartFailed(f"RabbitMQ: {problem}")


def _headers(name: str, id: str, order_id: str, cause: str) -> dict[str, str]:
    """The attributes of an event, as our triggers write them on RabbitMQ."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "specversion": "1.0", "type": PREFIX + name, "source": "/" + name.replace(".", "/"), "id": id,
        "subject": order_id, "time": now, "correlationid": order_id, "causationid": cause,
        "content-type": "application/json",
    }  # fmt: skip


@dataclass(frozen=True)
class Measurements:
    """What came out; times in milliseconds, from when an order is taken to the commit that ends it."""

    scenario: str
    orders: int
    settled_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_order: dict[str, float]

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {used:.1f}" for name, used in self.cpu_ms_per_order.items())
        return (
            f"{self.scenario:12}{self.orders:6} orders, {self.settled_per_second:7.1f} settled/s, "
            f"p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms, "
            f"CPU an order {sum(self.cpu_ms_per_order.values()):.1f} ms ({parts})"
        )


class Clients:
    """Inside the loop: so many orders at once, each followed by another one until there are no more."""

    def __init__(self, loop: Loop, orders: Iterator[dict[str, Any]], at_once: int):
        self.loop, self.orders, self.at_once = loop, orders, at_once
        self.began: dict[str, float] = {}
        self.took: list[float] = []
        loop.ended = self._ended

    def begin(self) -> None:
        """All of them order."""
        self.first = time.perf_counter()
        for order in islice(self.orders, self.at_once):
            self._order(order)

    def _order(self, order: dict[str, Any]) -> None:
        self.began[chain.derived_id("order", order["userName"], order["msgId"])] = time.perf_counter()
        self.loop.accept(order)

    def _ended(self, order_id: str) -> None:
        self.last = time.perf_counter()
        self.took.append((self.last - self.began.pop(order_id)) * 1000)
        if following := next(self.orders, None):
            self._order(following)
        elif not self.began:
            self._stop_when_idle()

    def _stop_when_idle(self) -> None:
        """The last mails are still on their way; none of them is missing when the queues go."""
        if self.loop.is_idle and self._all_notified():
            self.loop.stop()
        else:
            self.loop.connection.ioloop.call_later(0.02, self._stop_when_idle)

    def _all_notified(self) -> bool:
        row = self.loop.database.row("SELECT count(*) AS mails FROM notification.emails")
        return row.mails >= len(self.took)


def measured(scenario: str, url: str, target: Target, orders: Iterator[dict[str, Any]], at_once: int) -> Measurements:
    """Play one scenario in a database of its own."""
    pids = {target.processes["PostgreSQL"]: "PostgreSQL", target.processes["RabbitMQ"]: "RabbitMQ"}
    pids[os.getpid()] = "loop"
    with closing(Connection(url)) as database:
        clients = Clients(Loop(target.environment.amqp, database), orders, at_once)
        before = cpu_ms(pids)
        clients.loop.run(clients.begin)
        after = cpu_ms(pids)
    count = len(clients.took)
    used = {name: (after[name] - before[name]) / count for name in after}
    middle, late = (percentile(clients.took, percent) for percent in (50, 99))
    return Measurements(scenario, count, count / (clients.last - clients.first), middle, late, used)


def _orders(supplies: Supplies) -> Iterator[dict[str, Any]]:
    """Orders without end, all of which can be completed."""
    book = Book(supplies, {Outcome.COMPLETED: 1}, uuid.uuid4().hex[:8])
    while True:
        yield json.loads(book.next().body)


def _until(seconds: float, orders: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    until = time.perf_counter() + seconds
    for order in orders:
        if time.perf_counter() > until:
            return
        yield order


@click.command(help=__doc__)
@click.option("--orders", default=2000, show_default=True, type=click.IntRange(1), help="of the burst")
@click.option("--clients", default="1,16", show_default=True, help="of the closed loops, by comma")
@click.option("--seconds", default=8.0, show_default=True, help="of each closed loop")
@click.option("--json", "json_file", default="bench-floor.json", show_default=True, type=Path)
def main(orders: int, clients: str, seconds: float, json_file: Path) -> None:
    """See the module's text."""
    found: list[Measurements] = []
    try:
        installation = Installation.from_environment()
        target = running(installation)
        if missing := {"PostgreSQL", "RabbitMQ"} - target.processes.keys():
            raise StartFailed(f"expected the servers of make run, to count their time; missing: {', '.join(missing)}")
        wanted = [(f"closed-{count}", int(count), None) for count in clients.split(",")]
        for scenario, at_once, limit in [*wanted, (f"burst-{orders}", orders, orders)]:
            with bench_beside.database(installation, target.database, "floor") as (url, supplies):
                asked = _orders(supplies)
                some = islice(asked, limit) if limit else _until(seconds, asked)
                found.append(measured(scenario, url, target, some, at_once))
                click.echo(str(found[-1]))
    except (StartFailed, MigrationFailed, OSError) as problem:
        raise SystemExit(f"floor: {problem}") from None
    json_file.write_text(json.dumps([asdict(measurements) for measurements in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
