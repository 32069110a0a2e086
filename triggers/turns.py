"""Whose turn it is to call, where a dispatcher and its functions share processors.

More calls at a time than there are processors are no faster, only smaller: an order that waits for a processor inside
a function can no longer be a part of a batch. So only so many calls are at work, and of the triggers that wait the
one with most events comes first. Orders then catch up with each other, and go on together.

A call that takes longer than a function works is waiting for something else, and no longer counts: one that hangs is
in nobody's way.
"""

import asyncio
import time
from typing import Protocol

AT_WORK = 0.05
# Nobody waits for longer because others have more events.
LONGEST_WAIT = 0.03


class Waiting(Protocol):
    """Who wants to call."""

    @property
    def in_flight(self) -> int:
        """How many events wait for it."""

    def wake(self) -> None:
        """Begin what can begin; called when there is a turn."""


class Turn:
    """One call that counts, until it ends or is no longer at work."""

    def __init__(self, turns: "Turns"):
        self._turns = turns
        self.began = time.monotonic()

    def end(self) -> None:
        """Let the next one begin; only the first time counts."""
        self._turns.over(self)


class Turns:
    """So many turns at a time (0: no limit), for all triggers of one event loop."""

    def __init__(self, at_a_time: int = 0):
        self._at_a_time = at_a_time
        # In the order of their beginning.
        self._at_work: dict[Turn, None] = {}
        # Since when, by the clock of time.monotonic(); the first has waited longest.
        self._waiting: dict[Waiting, float] = {}
        self._looking: asyncio.TimerHandle | None = None

    def begin(self, who: Waiting) -> Turn | None:
        """A turn; or None, and `who` is woken when there is one."""
        if self._is_full():
            self._waiting.setdefault(who, time.monotonic())
            self._look_later()
            return None
        turn = Turn(self)
        self._at_work[turn] = None
        return turn

    def over(self, turn: Turn) -> None:
        """Give the place of this one to others."""
        self._at_work.pop(turn, None)
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and not self._is_full():
            self._next().wake()

    def _is_full(self) -> bool:
        if not self._at_a_time:
            return False
        self._forget_who_hangs()
        return len(self._at_work) >= self._at_a_time

    def _forget_who_hangs(self) -> None:
        while self._at_work:
            oldest = next(iter(self._at_work))
            if time.monotonic() - oldest.began < AT_WORK:
                return
            del self._at_work[oldest]

    def _look_later(self) -> None:
        """While somebody waits: the oldest call may be one that waits for something else."""
        if self._looking is None:
            oldest = next(iter(self._at_work))
            seconds = oldest.began + AT_WORK - time.monotonic()
            self._looking = asyncio.get_running_loop().call_later(max(0.0, seconds), self._look)

    def _look(self) -> None:
        self._looking = None
        self._go_on()
        if self._waiting:
            self._look_later()

    def _next(self) -> Waiting:
        longest, since = next(iter(self._waiting.items()))
        is_late = time.monotonic() - since > LONGEST_WAIT
        chosen = longest if is_late else max(self._waiting, key=lambda each: each.in_flight)
        del self._waiting[chosen]
        return chosen
