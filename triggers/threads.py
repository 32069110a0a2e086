"""Threads that answer what an event loop has taken, and refusals when they cannot follow."""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from functions.shared.answers import Answer
from functions.shared.request import Request

# Seconds that the first in the queue for a thread has waited when others are refused, and when it is refused itself.
LONGEST_QUEUE = 2.0
LONGEST_WAIT = 3.0
Handle = Callable[[Request], Answer]
T = TypeVar("T")


def settle(answered: asyncio.Future[T], outcome: T | BaseException) -> None:
    """Hand over what came of it, unless the client went away: that has canceled it."""
    if answered.done():
        return
    if isinstance(outcome, BaseException):
        answered.set_exception(outcome)
    else:
        answered.set_result(outcome)


class Behind(Exception):
    """So many requests wait for a thread that this one would not be answered soon."""


@dataclass
class _Waiting:
    """A request in the queue: a thread or a refusal claims it, and never both."""

    answered: asyncio.Future
    since: float = field(default_factory=time.monotonic)
    _claim: threading.Lock = field(default_factory=threading.Lock)

    @property
    def age(self) -> float:
        """Seconds that it has waited."""
        return time.monotonic() - self.since

    @property
    def is_claimed(self) -> bool:
        """Whether it waits no more."""
        return self._claim.locked()

    def claim(self) -> bool:
        """Whether it is the caller's now."""
        return self._claim.acquire(blocking=False)


class Threads:
    """Threads that answer requests; started when there is work, so that nothing is started before a fork.

    When requests come faster than they are answered, all would wait longer and longer: then those that come are
    refused at once, and those that have waited too long are not worked on any more, since their clients give up.
    """

    def __init__(self, most: int):
        self._most, self._started, self._busy = most, 0, 0
        self._work_to_do: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._queue: deque[_Waiting] = deque()

    async def answer(self, handle: Handle, request: Request) -> Answer:
        """Have a thread answer. Raises Behind, and what `handle` raises."""
        return await self.call(partial(handle, request))

    async def call(self, answering: Callable[[], T]) -> T:
        """Have a thread call it. Raises Behind, and what it raises."""
        if self._is_behind():
            raise Behind
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[T] = loop.create_future()
        waiting = _Waiting(answered)

        def work() -> None:
            if not waiting.claim():
                return
            try:
                outcome = answering()
            except BaseException as problem:
                outcome = problem
            loop.call_soon_threadsafe(settle, answered, outcome)

        self._busy += 1
        if self._busy > self._started < self._most:
            self._start()
        self._queue.append(waiting)
        self._work_to_do.put(work)
        try:
            return await answered
        finally:
            self._busy -= 1

    def _is_behind(self) -> bool:
        """Whether the first in the queue has waited for long; who has waited for too long is refused now."""
        while self._queue and (self._queue[0].is_claimed or self._queue[0].age > LONGEST_WAIT):
            waiting = self._queue.popleft()
            if waiting.claim():
                settle(waiting.answered, Behind())
        return bool(self._queue) and self._queue[0].age > LONGEST_QUEUE

    def _start(self) -> None:
        self._started += 1
        threading.Thread(target=self._work, name=f"function-{self._started}", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._work_to_do.get()()
