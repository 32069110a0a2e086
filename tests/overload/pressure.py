"""Orders that come at a rate, whether the system can take them or not; each is sent once, as its guest hears it."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import urllib3
from pg8000.native import Connection as Database

from tools.bench import resources
from tools.bench.client import Connection, message
from tools.bench.orders import USUAL_MIX, Book, Order
from tools.bench.outcomes import percentile
from tools.bench.preparation import Guests, Host, fill_busy_hour, supplies

PATIENCE = 40.0  # seconds for an answer: longer than the gateway's own
LOOK_EVERY = 1.0
NOT_COME = "no connection"  # the crowd itself has none left


@dataclass
class Seen:
    """What the guests saw: seconds until the answer by its status, accepted orders, and memory in MiB."""

    answers: dict[str, list[float]] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def heard(self, status: str, seconds: float) -> None:
        self.answers.setdefault(status, []).append(seconds)

    @property
    def statuses(self) -> Counter[str]:
        return Counter({status: len(seconds) for status, seconds in self.answers.items()})

    def slowest(self, status: str, percent: float = 99) -> float:
        """The seconds that so many percent of the answers of a status did not exceed."""
        return percentile(self.answers.get(status) or [0.0], percent)

    def lines(self) -> Iterator[str]:
        """The measurements, for people."""
        for status, seconds in sorted(self.answers.items()):
            p50, p99 = percentile(seconds, 50), percentile(seconds, 99)
            times = f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, max {max(seconds):.1f} s"
            yield f"{status}: {len(seconds)}, {times}"
        if self.memory:
            yield f"memory: {self.memory[0]:.0f} MiB at the start, {max(self.memory):.0f} at the most"


class Crowd:
    """Guests with money and the orders that they may send."""

    def __init__(self, gateway: str, database: Database, guests: int = 20):
        self._guests = Guests(Host(gateway), guests)
        self._supplies = supplies(database, self._guests, 50)
        fill_busy_hour(database, self._guests.host, self._supplies)
        self._parts = 0
        address = urllib3.util.parse_url(gateway)
        self._address = address.host, address.port

    def press(self, rate: float, seconds: float, processes: dict[int, str], connections: int = 512) -> Seen:
        """So many orders a second for so long."""
        self._guests.renew()
        self._parts += 1
        book = Book(self._supplies, USUAL_MIX, f"part{self._parts}")
        return asyncio.run(self._press(book, rate, seconds, processes, connections))

    async def _press(
        self, book: Book, rate: float, seconds: float, processes: dict[int, str], connections: int
    ) -> Seen:
        seen = Seen()
        free = [Connection(*self._address) for _ in range(connections)]
        under_way: set[asyncio.Task] = set()
        began, count, looked = time.monotonic(), 0, 0.0
        while (now := time.monotonic()) < began + seconds:
            if now - looked > LOOK_EVERY:
                looked = now
                seen.memory.append(sum(resources.memory_mib(processes).values()))
            # Those that are due; whoever finds no free connection has not come in at all.
            while count < (now - began) * rate:
                count += 1
                if free:
                    task = asyncio.create_task(self._send(book.next(), free.pop(), free, seen))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                else:
                    seen.heard(NOT_COME, 0.0)
            await asyncio.sleep(0.005)
        if under_way:
            await asyncio.wait(under_way)
        for connection in free:
            connection.close()
        return seen

    async def _send(self, order: Order, connection: Connection, free: list[Connection], seen: Seen) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await connection.ask(message(order.guest.head, order.body))
            status = str(answer.status)
            if answer.status == 200:
                seen.accepted.append(json.loads(answer.body)["orderId"])
        except (ConnectionError, OSError) as problem:
            status = type(problem).__name__
        except TimeoutError:
            status = "no answer"
            connection.close()
            connection = Connection(*self._address)
        seen.heard(status, time.monotonic() - began)
        free.append(connection)
