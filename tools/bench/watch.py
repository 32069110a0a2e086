"""Which orders have ended, asked of the database for all clients together."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice

from pg8000.native import Connection

# Those asked for at a time: the oldest open ones. More wait their turn.
AT_ONCE = 128
SHARE = 0.03  # of what an order takes: half of that is what a client notices too late
REMEMBERED = 10  # orders, of which that is the average

# As one text: the driver looks through an array letter by letter on its way to the server.
ENDED = """
    SELECT order_id FROM "order".orders WHERE order_id = ANY(string_to_array(:ids, ' ')) AND ended_at IS NOT NULL
"""


@dataclass(frozen=True)
class Waiting:
    """A client that waits for the end of an order."""

    done: asyncio.Future[None]
    since: float


class Watch:
    """Polls; times come from the database, so that polling falsifies no latency.

    Between two looks it waits `every` seconds, or a small share of what orders take at the time, if that is longer. A
    thread of its own does it: most looks find nothing, and need not wake up the clients' loop.
    """

    def __init__(self, connection: Connection, every: float, patience: float):
        self._statement = connection.prepare(ENDED)
        self._open: dict[str, Waiting] = {}
        self._changing = threading.Lock()
        self._takes = 0.0
        self.every, self.patience = every, patience
        self.questions = 0

    async def ended(self, order_id: str) -> None:
        """Wait for the order's end. Raises TimeoutError."""
        waiting = Waiting(asyncio.get_running_loop().create_future(), time.monotonic())
        with self._changing:
            self._open[order_id] = waiting
        await asyncio.wait_for(waiting.done, self.patience)

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Ask as long as this lasts; what was asked last is answered before it ends."""
        over, loop = threading.Event(), asyncio.get_running_loop()
        asking = asyncio.create_task(asyncio.to_thread(self._poll, over, loop.call_soon_threadsafe))
        try:
            yield
        finally:
            over.set()
            await asking
            self._open.clear()

    def _poll(self, over: threading.Event, in_loop: Callable[..., object]) -> None:
        try:
            while not over.is_set():
                ended = self._look()
                if ended:
                    in_loop(_report, ended)
                if len(ended) < AT_ONCE:
                    over.wait(max(self.every, self._takes * SHARE))
        except Exception as problem:
            in_loop(_report, self._taken(list(self._open)), problem)

    def _look(self) -> list[Waiting]:
        with self._changing:
            asked = list(islice(self._open, AT_ONCE))
        if not asked:
            return []
        self.questions += 1
        ended = self._taken([order_id for (order_id,) in self._statement.run(ids=" ".join(asked))])
        for waiting in ended:
            self._takes += (time.monotonic() - waiting.since - self._takes) / REMEMBERED
        return ended

    def _taken(self, order_ids: list[str]) -> list[Waiting]:
        with self._changing:
            return [self._open.pop(order_id) for order_id in order_ids]


def _report(ended: list[Waiting], problem: Exception | None = None) -> None:
    for waiting in ended:
        # Who has lost patience has canceled it.
        if not waiting.done.done():
            waiting.done.set_exception(problem) if problem else waiting.done.set_result(None)
