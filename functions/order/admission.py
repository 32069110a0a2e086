"""Admission control: no more orders are accepted than the saga can end soon.

Accepting an order costs a fifth of what ending it costs. Clients that do not wait would build a backlog of minutes,
and the more time goes into accepting the less is left for ending. So an answer waits a little while more orders are
open than end within a few seconds, and is a 503 when they would not end within a minute.

Our server has an event loop, where a thousand clients wait and hold no thread; elsewhere each waits in its own.
"""

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from functions.shared import database
from functions.shared.errors import Busy
from functions.shared.settings import Settings, read

# Orders that need a person do not end by themselves.
STANDING = """
    SELECT (SELECT count(*) FROM orders
             WHERE ended_at IS NULL AND purged_at IS NULL AND needs_attention_at IS NULL) AS open,
           (SELECT count(*) FROM orders
             WHERE ended_at > now() - make_interval(secs => CAST(:seconds AS double precision))
               AND purged_at IS NULL) AS ended
"""

LOOKED_BACK = 2.0  # seconds over which the ended orders are counted
LOOK_EVERY = 0.25
ALWAYS_TAKEN = 200  # open orders that nobody waits for, whatever the rate
SECONDS_OF_WORK = 3.0  # what may be open before answers begin to wait
LONGEST_WAIT = 2.0
STEP = 0.01


class AdmissionSettings(Settings):
    """How long a backlog of orders may take to end."""

    order_backlog_seconds: float | Literal["off"] = Field(
        default=60, description="orders are refused with 503 when those that are open take longer to end; or: off"
    )


@dataclass
class Standing:
    """How many orders are open, how many end a second, and when that was looked up."""

    open: int = 0
    rate: float = 0.0
    at: float = float("-inf")
    taken_since: int = 0

    @property
    def capacity(self) -> int:
        """How many more would end soon."""
        return max(ALWAYS_TAKEN, int(self.rate * SECONDS_OF_WORK)) - self.open - self.taken_since

    @property
    def has_capacity(self) -> bool:
        """Whether one more ends soon."""
        return self.capacity > 0

    def seconds_to_end(self) -> float:
        """How long all that is open takes to end."""
        return (self.open + self.taken_since) / self.rate if self.rate else float("inf")


class Admission:
    """What this process knows of it; other processes that accept orders have the same numbers."""

    def __init__(self) -> None:
        self._standing = Standing()
        self._looking = threading.Lock()
        self._too_long_since: float | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._releasing: asyncio.Task[None] | None = None

    def wait(self, admitted: bool = False) -> None:
        """Wait for a moment while too much is in flight, unless `admitted`. Raises Busy when the backlog is too long.

        When it is so for a while nobody waits any more: a client that is refused at once holds up no other.
        """
        limit = read(AdmissionSettings).order_backlog_seconds
        if limit == "off":
            return
        if admitted:
            self._looked()
            return
        until = time.monotonic() + LONGEST_WAIT
        while not self._looked().has_capacity and time.monotonic() < until and not self._stays_too_long(limit):
            time.sleep(STEP)
        self._take(limit)

    async def admit(self) -> None:
        """The same on an event loop, in the order of coming, by what was known when orders were last looked at."""
        limit = read(AdmissionSettings).order_backlog_seconds
        if limit == "off":
            return
        if self._waiting or not self._standing.has_capacity:
            if self._releasing is None or self._releasing.done():
                self._releasing = asyncio.create_task(self._release(limit))
            if not self._stays_too_long(limit):
                if len(self._waiting) >= max(ALWAYS_TAKEN, self._standing.rate * LONGEST_WAIT):
                    raise Busy(f"{len(self._waiting)} wait already, and {self._standing.rate:.0f} end a second")
                await self._turn()
        self._take(limit)

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait([turn], timeout=LONGEST_WAIT)
            if turn.done():
                turn.result()
        finally:
            turn.cancel()

    async def _release(self, limit: float) -> None:
        """Look how things stand, and let as many go on as there is capacity for; as long as somebody waits."""
        while True:
            try:
                standing = await asyncio.to_thread(self._looked)
            except Exception as problem:
                self._settle(len(self._waiting), problem)
            else:
                # Whoever goes on counts itself, or is refused.
                self._settle(len(self._waiting) if self._stays_too_long(limit) else standing.capacity)
            await asyncio.sleep(LOOK_EVERY)
            if not self._waiting:
                return

    def _settle(self, count: int, problem: Exception | None = None) -> None:
        while self._waiting and count > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(problem) if problem else turn.set_result(None)
                count -= 1

    def _take(self, limit: float) -> None:
        standing = self._standing
        if not standing.has_capacity and standing.seconds_to_end() > limit:
            raise Busy(f"{standing.open} orders are open, and {standing.rate:.0f} end a second")
        standing.taken_since += 1

    def _stays_too_long(self, limit: float) -> bool:
        """Whether the backlog is too long for as long as anybody waits: a rate of one moment says little."""
        if self._standing.has_capacity or self._standing.seconds_to_end() <= limit:
            self._too_long_since = None
            return False
        self._too_long_since = self._too_long_since or time.monotonic()
        return time.monotonic() - self._too_long_since >= LONGEST_WAIT

    def _looked(self) -> Standing:
        """The standing, looked up again when it is old; by one thread, the others go by what is known."""
        if time.monotonic() - self._standing.at > LOOK_EVERY and self._looking.acquire(blocking=False):
            try:
                with database.autocommit() as db:
                    row = db.row(STANDING, seconds=LOOKED_BACK)
                self._standing = Standing(row.open, row.ended / LOOKED_BACK, time.monotonic())
            finally:
                self._looking.release()
        return self._standing


admission = Admission()
