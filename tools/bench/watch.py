"""Which orders have ended, asked of the database for all clients together."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice

from pg8000.native import Connection

# Those asked for at a time: the oldest open ones. More wait their turn.
AT_ONCE = 128
SHARE = 0.03  # of what an order takes: half of that is what a client notices too late
REMEMBERED = 10  # orders, of which that is the average

ENDED = """
    SELECT order_id FROM "order".orders WHERE order_id = ANY(CAST(:ids AS text[])) AND ended_at IS NOT NULL
"""


@dataclass(frozen=True)
class Waiting:
    """A client that waits for the end of an order."""

    done: asyncio.Future[None]
    since: float


class Watch:
    """Polls; times come from the database, so that polling falsifies no latency.

    Between two looks it waits `every` seconds, or a small share of what orders take at the time, if that is longer.
    """

    def __init__(self, connection: Connection, every: float, patience: float):
        self._statement = connection.prepare(ENDED)
        self._open: dict[str, Waiting] = {}
        self._takes = 0.0
        self.every, self.patience = every, patience
        self.questions = 0

    async def ended(self, order_id: str) -> None:
        """Wait for the order's end. Raises TimeoutError."""
        waiting = self._open[order_id] = Waiting(asyncio.get_running_loop().create_future(), time.monotonic())
        await asyncio.wait_for(waiting.done, self.patience)

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Ask as long as this lasts; what was asked last is answered before it ends."""
        self._over = False
        task = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            self._over = True
            await task
            self._open.clear()

    async def _poll(self) -> None:
        try:
            while not self._over:
                asked = list(islice(self._open, AT_ONCE))
                ended = await asyncio.to_thread(self._ask, asked) if asked else []
                self._report(ended)
                if len(ended) < AT_ONCE:
                    await asyncio.sleep(max(self.every, self._takes * SHARE))
        except Exception as problem:
            for waiting in self._open.values():
                waiting.done.set_exception(problem)

    def _report(self, ended: list[str]) -> None:
        for order_id in ended:
            waiting = self._open.pop(order_id)
            self._takes += (time.monotonic() - waiting.since - self._takes) / REMEMBERED
            if not waiting.done.done():
                waiting.done.set_result(None)

    def _ask(self, ids: list[str]) -> list[str]:
        self.questions += 1
        return [order_id for (order_id,) in self._statement.run(ids=ids)]
