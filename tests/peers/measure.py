"""One measurement of one engine: orders in a closed loop, or all at once; what they cost, and how they ended."""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass

from pg8000.native import Connection as Database

from tests.peers.engines import Engine
from tools.bench.client import Answer, Connection
from tools.bench.load import Sent
from tools.bench.orders import Book, Order, Outcome
from tools.bench.outcomes import End, ends, mistakes, percentile, under_way
from tools.bench.resources import cpu_ms, memory_mib
from tools.bench.watch import Watch
from tools.local.processes import StartFailed, wait_until

# Mostly orders that are completed; a few take the way back.
MIX = {Outcome.COMPLETED: 95, Outcome.SOLD_OUT: 5}
AT_ONCE = 16  # connections of a burst
LOOK_EVERY, PATIENCE = 0.002, 600
SHOWN = 300
POSTGRES, ASIDE = "PostgreSQL", "client's SQL"

Play = Callable[[Book], Coroutine[None, None, list[Sent]]]


@dataclass(frozen=True)
class Measurements:
    """What came out: times in milliseconds from the client's request to the end that the database tells."""

    engine: str
    scenario: str
    orders: int
    settled_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_order: dict[str, float]
    memory_mib: dict[str, float]
    problems: list[str]

    @property
    def cpu_ms(self) -> float:
        """Of all processes but the client's."""
        return sum(self.cpu_ms_per_order.values())


class Run:
    """Sends orders to one engine and looks what became of them."""

    def __init__(self, engine: Engine, database: Database, watching: Database, postgres: int):
        self.engine, self.database, self.watch = engine, database, Watch(watching, LOOK_EVERY, PATIENCE)
        own = (connection.run("SELECT pg_backend_pid()")[0][0] for connection in (database, watching))
        self.processes = engine.processes | {postgres: POSTGRES} | dict.fromkeys(own, ASIDE)
        self.guests = [guest.name for guest in engine.supplies.guests]

    def closed(self, clients: int, seconds: float) -> Measurements:
        """Each client orders, waits for the end, and orders again; a second of it goes before, unmeasured."""
        self.engine.call(self.engine.wait or self.engine.send)
        asyncio.run(self._closed(self._book(), clients, min(1.0, seconds)))
        return self._measured(f"closed-{clients}", lambda book: self._closed(book, clients, seconds))

    def burst(self, orders: int) -> Measurements:
        """Order as fast as a few connections can, and wait for all ends."""
        self.engine.call(self.engine.send)
        return self._measured(f"burst-{orders}", lambda book: self._burst(book, orders))

    def _book(self) -> Book:
        return Book(self.engine.supplies, MIX, uuid.uuid4().hex[:8])

    def _measured(self, scenario: str, play: Play) -> Measurements:
        book, before = self._book(), cpu_ms(self.processes)
        sent = asyncio.run(play(book))
        self._wait_for_all(book)
        after, found = cpu_ms(self.processes), ends(self.database, self.guests, book.tag)
        used = {name: (after[name] - before.get(name, 0)) / len(sent) for name in after if name != ASIDE}
        memory, wrong = memory_mib(self.engine.processes), mistakes(sent, found)
        return Measurements(self.engine.name, scenario, len(sent), *_speed(sent, found), used, memory, wrong)

    def _wait_for_all(self, book: Book) -> None:
        if not wait_until(lambda: under_way(self.database, self.guests, book.tag) == (0, 0), PATIENCE, every=0.05):
            raise StartFailed(f"{self.engine.name}: not all orders ended within {PATIENCE} s")

    async def _closed(self, book: Book, clients: int, seconds: float) -> list[Sent]:
        until = time.time() + seconds
        sent: list[Sent] = []

        async def client(connection: Connection) -> None:
            while time.time() < until:
                sent.append(one := await self._place(connection, book.next()))
                if not self.engine.wait:
                    await self.watch.ended(one.order_id)

        async with self.watch.polling():
            await self._on_each(clients, client)
        return sent

    async def _burst(self, book: Book, orders: int) -> list[Sent]:
        waiting = iter([book.next() for _ in range(orders)])
        sent: list[Sent] = []

        async def client(connection: Connection) -> None:
            for order in waiting:
                sent.append(await self._place(connection, order))

        await self._on_each(AT_ONCE, client)
        return sent

    async def _on_each(self, count: int, client: Callable[[Connection], Awaitable[None]]) -> None:
        connections = [Connection(*self.engine.address) for _ in range(count)]
        try:
            await asyncio.gather(*map(client, connections))
        finally:
            for connection in connections:
                connection.close()

    async def _place(self, connection: Connection, order: Order) -> Sent:
        began = time.time()
        while (answer := await connection.ask(order.request)).status == 503:
            await asyncio.sleep(answer.retry_after or 1.0)
        if answer.status not in (200, 202):
            raise StartFailed(f"{self.engine.name}: {answer.status} {answer.body[:SHOWN]!r}")
        return Sent(order.msg_id, order.outcome, _order_id(answer), began, time.time() - began)


def _order_id(answer: Answer) -> str:
    """Peers need not tell it: their orders are found by the client's own number."""
    answered = json.loads(answer.body)
    return answered.get("orderId", "") if isinstance(answered, dict) else ""


def _speed(sent: Iterable[Sent], found: dict[str, End]) -> tuple[float, float, float]:
    """Orders a second, from the first request to the last end; median and 99th percentile of an order's time."""
    ended = [(one.began, found[one.msg_id].ended) for one in sent if one.msg_id in found]
    took = [(end - began) * 1000 for began, end in ended if end]
    first, last = min(began for began, _ in ended), max(end for _, end in ended if end)
    return len(took) / (last - first), percentile(took, 50), percentile(took, 99)
