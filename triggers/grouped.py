"""Requests that come while others are worked on, and are then worked on together by one thread.

One that comes alone waits for nobody. Under load there are as many at a time as come while those before them are
worked on, so that nobody is to say how many that should be.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from functions.shared.answers import Answer
from functions.shared.group_commit import together
from functions.shared.request import Request
from triggers.turns import Turn, Turns

MOST = 32
Handle = Callable[[Request], Answer]
InThread = Callable[[Callable[[], list[Answer | Exception]]], Awaitable[list[Answer | Exception]]]


@dataclass
class _Waiting:
    request: Request
    answered: asyncio.Future[Answer]


class Grouped:
    """The requests to one function; `in_thread` calls what it is given in a thread."""

    def __init__(self, handle: Handle, in_thread: InThread):
        self._handle, self._in_thread = handle, in_thread
        # Those that a lock in the database holds up, for example, are in nobody's way.
        self._turns = Turns(1)
        self._waiting: list[_Waiting] = []
        self._at_work: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def answer(self, request: Request) -> Answer:
        """Have it answered, in company if there is any. Raises what `in_thread` raises."""
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
        try:
            answers = await self._in_thread(partial(together, [partial(self._handle, each.request) for each in some]))
        except BaseException as problem:
            answers = [problem] * len(some)
        finally:
            turn.end()
        for waiting, answer in zip(some, answers, strict=True):
            # A client that went away has canceled it.
            if waiting.answered.done():
                continue
            if isinstance(answer, BaseException):
                waiting.answered.set_exception(answer)
            else:
                waiting.answered.set_result(answer)
