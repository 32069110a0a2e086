"""Admission control: no more orders are accepted than the saga can end soon.

Accepting an order costs a fifth of what ending it costs. Clients that do not wait would build a backlog of minutes,
and the more time goes into accepting the less is left for ending. So an answer waits a little while more orders are
open than end within a few seconds, and is a 503 when they would not end within a minute.
"""

import threading
import time
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
    def has_capacity(self) -> bool:
        """Whether one more ends soon."""
        return self.open + self.taken_since < max(ALWAYS_TAKEN, self.rate * SECONDS_OF_WORK)

    def seconds_to_end(self) -> float:
        """How long all that is open takes to end."""
        return (self.open + self.taken_since) / self.rate if self.rate else float("inf")


class Admission:
    """What this process knows of it; other processes that accept orders have the same numbers."""

    def __init__(self) -> None:
        self._standing = Standing()
        self._looking = threading.Lock()
        self._too_long_since: float | None = None

    def wait(self) -> None:
        """Wait for a moment while too much is in flight. Raises Busy when the backlog is too long.

        When it is so for a while nobody waits any more: a client that is refused at once holds up no other.
        """
        limit = read(AdmissionSettings).order_backlog_seconds
        if limit == "off":
            return
        until = time.monotonic() + LONGEST_WAIT
        while not self._looked().has_capacity and time.monotonic() < until and not self._stays_too_long(limit):
            time.sleep(STEP)
        standing = self._standing
        if not standing.has_capacity and standing.seconds_to_end() > limit:
            raise Busy(f"{standing.open} orders are open, and {standing.rate:.0f} end a second")
        standing.taken_since += 1

    def _stays_too_long(self, limit: float) -> bool:
        """Whether the backlog is too long for as long as anybody waits: a rate of one moment says little."""
        if self._standing.seconds_to_end() <= limit:
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
