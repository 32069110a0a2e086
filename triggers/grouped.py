"""Requests that come while others are worked on, and are then worked on together by one thread.

One that comes alone waits for nobody. Under load there are as many at a time as come while those before them are
worked on, so that nobody is to say how many that should be.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from functions.shared.answers import Answer
from functions.shared.group_commit import together
from functions.shared.request import Request
from triggers.threads import Handle, Threads, settle
from triggers.turns import Turn, Turns

MOST = 32


@dataclass
class _Waiting:
    request: Request
    answered: asyncio.Future[Answer]


class Grouped:
    """The requests to one function, which has `threads` of its own."""

    def __init__(self, handle: Handle, threads: Threads):
        self._handle, self._threads = handle, threads
        # Those that a lock in the database holds up, for example, are in nobody's way.
        self._turns = Turns(1)
        self._waiting: list[_Waiting] = []
        self._at_work: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def answer(self, request: Request) -> Answer:
        """Have it answered, in company if there is any. Raises Behind, and what `handle` raises."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop.create_future())
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            # Not now: others may have come with the same look at the sockets.
            loop.call_soon(self.wake)
        return await waiting.answered

    def wake(self) -> None:
        """Begin with those that wait, if it is their turn."""
        while self._waiting and (turn := self._turns.begin(self)):
            some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            task = asyncio.get_running_loop().create_task(self._work(some, turn))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    async def _work(self, some: Sequence[_Waiting], turn: Turn) -> None:
        works = [partial(self._handle, each.request) for each in some]
        try:
            answers = await self._threads.call(partial(together, works))
        except BaseException as problem:
            answers = [problem] * len(some)
        finally:
            turn.end()
        for waiting, answer in zip(some, answers, strict=True):
            settle(waiting.answered, answer)
