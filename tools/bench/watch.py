"""Which orders have ended, asked of the database for all clients together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice

from pg8000.native import Connection

# Those asked for at a time: the oldest open ones. More wait their turn.
AT_ONCE = 128

ENDED = """
    SELECT order_id FROM "order".orders WHERE order_id = ANY(CAST(:ids AS text[])) AND ended_at IS NOT NULL
"""


class Watch:
    """Polls; what is told of times comes from the database, so that polling falsifies no latency."""

    def __init__(self, connection: Connection, every: float):
        self._statement = connection.prepare(ENDED)
        self._open: dict[str, asyncio.Future[None]] = {}
        self.every = every
        self.questions = 0

    def ended(self, order_id: str) -> asyncio.Future[None]:
        """Done when the order has ended."""
        return self._open.setdefault(order_id, asyncio.get_running_loop().create_future())

    @property
    def open(self) -> int:
        """How many have not ended."""
        return len(self._open)

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
                self._tell(ended)
                if len(ended) < AT_ONCE:
                    await asyncio.sleep(self.every)
        except Exception as problem:
            for waiting in self._open.values():
                waiting.set_exception(problem)

    def _tell(self, ended: list[str]) -> None:
        for order_id in ended:
            waiting = self._open.pop(order_id)
            if not waiting.done():
                waiting.set_result(None)

    def _ask(self, ids: list[str]) -> list[str]:
        self.questions += 1
        return [order_id for (order_id,) in self._statement.run(ids=ids)]
