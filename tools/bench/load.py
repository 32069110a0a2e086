"""Orders on their way: sent, accepted, refused for a while, and what went wrong."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tools.bench.client import Answer, Connection
from tools.bench.orders import Book, Order, Outcome
from tools.bench.watch import Watch

ORDER_ID = re.compile(rb'"orderId"\s*:\s*"([^"]+)"')
USUAL_WAIT = 1.0  # seconds after a 503 that names none
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Sent:
    """An order that was accepted.

    `began` is a time since the epoch, intended or of the first try; `answered` are the seconds until the answer came.
    """

    msg_id: str
    outcome: Outcome
    order_id: str
    began: float
    answered: float


@dataclass
class Counts:
    """What the clients saw."""

    sent: list[Sent] = field(default_factory=list)
    refused: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    first: float = 0.0  # seconds since the epoch, of the first request
    last: float = 0.0  # and of the last answer


class Load:
    """Some connections to the public API, orders to send over them, and the watch for their ends."""

    def __init__(self, address: tuple[str, int], book: Book, watch: Watch, connections: int):
        self.book, self.watch, self.counts = book, watch, Counts()
        self.connections = [Connection(*address) for _ in range(connections)]

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Polling, with connections that are closed in the end."""
        try:
            async with self.watch.polling():
                yield
        finally:
            for connection in self.connections:
                connection.close()

    @property
    def lost(self) -> int:
        """Connections that broke under a request."""
        return sum(connection.lost for connection in self.connections)

    async def place(self, connection: Connection, order: Order, began: float | None = None) -> Sent | None:
        """Send until it is accepted; a 503 is waited out as it says. None when it was not accepted."""
        began = began or time.time()
        self.counts.first = self.counts.first or began
        try:
            answer = await self._patiently(connection, order)
        except ConnectionError as problem:
            self.counts.problems[str(problem)] += 1
            return None
        self.counts.last = time.time()
        return self._accepted(order, answer, began)

    async def ended(self, sent: Sent) -> None:
        """Wait until it has ended, for as long as the watch is patient."""
        try:
            await self.watch.ended(sent.order_id)
        except TimeoutError:
            self.counts.problems[f"an order did not end within {self.watch.patience:g} s"] += 1

    async def _patiently(self, connection: Connection, order: Order) -> Answer:
        while (answer := await connection.ask(order.request)).status == 503:
            self.counts.refused += 1
            await asyncio.sleep(USUAL_WAIT if answer.retry_after is None else answer.retry_after)
        return answer

    def _accepted(self, order: Order, answer: Answer, began: float) -> Sent | None:
        found = ORDER_ID.search(answer.body) if answer.status == 200 else None
        if not found:
            self.counts.problems[f"{answer.status} {answer.body[:SHOWN].decode(errors='replace')}"] += 1
            return None
        sent = Sent(order.msg_id, order.outcome, found[1].decode(), began, time.time() - began)
        self.counts.sent.append(sent)
        return sent
