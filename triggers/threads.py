"""Threads that answer what an event loop has taken, and refusals when they cannot follow."""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from logging import ERROR
from typing import TypeVar

from functions.shared import afterwards
from functions.shared.afterwards import Action
from functions.shared.answers import Answer
from functions.shared.request import Request
from functions.shared.telemetry.logs import log

# Seconds that the first in the queue for a thread has waited when others are refused, and when it is refused itself.
LONGEST_QUEUE = 2.0
LONGEST_WAIT = 3.0
# Of the loop, from a thread's answer until it is written: those who were answered together, then each of them, go on.
TURNS = 3
Handle = Callable[[Request], Answer]
# Gives what hands over the answer.
Work = Callable[[], Callable[[], object] | None]
Inbox = queue.SimpleQueue[Work]
T = TypeVar("T")


def settle(answered: asyncio.Future[T], outcome: T | BaseException) -> None:
    """Hand over what came of it, unless the client went away: that has canceled it."""
    if answered.done():
        return
    if isinstance(outcome, BaseException):
        answered.set_exception(outcome)
    else:
        answered.set_result(outcome)


def _answer(answered: asyncio.Future[T], outcome: T | BaseException, left: Sequence[Action]) -> None:
    settle(answered, outcome)
    if left:
        _do_later(left)


def _do_later(left: Sequence[Action], turns: int = TURNS) -> None:
    """Do what was left for afterwards, some turns of the loop later; a problem of one of them is nobody else's."""
    if turns:
        asyncio.get_running_loop().call_soon(_do_later, left, turns - 1)
        return
    for action in left:
        try:
            action()
        except Exception:
            log("failed after the answer", level=ERROR, trace=True)


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
        self._most, self._started = most, 0
        self._lock = threading.Lock()  # for these two
        self._to_do: deque[Work] = deque()
        self._free: list[Inbox] = []
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

        def work() -> Callable[[], object] | None:
            if not waiting.claim():
                return None
            left = afterwards.begin()
            try:
                outcome = answering()
            except BaseException as problem:
                outcome = problem
            afterwards.end()
            return partial(loop.call_soon_threadsafe, _answer, answered, outcome, left)

        self._queue.append(waiting)
        self._hand_over(work)
        return await answered

    def _is_behind(self) -> bool:
        """Whether the first in the queue has waited for long; who has waited for too long is refused now."""
        while self._queue and (self._queue[0].is_claimed or self._queue[0].age > LONGEST_WAIT):
            waiting = self._queue.popleft()
            if waiting.claim():
                settle(waiting.answered, Behind())
        return bool(self._queue) and self._queue[0].age > LONGEST_QUEUE

    def _hand_over(self, work: Work) -> None:
        """To the thread that was the last at work, and no other: with one queue for all, each piece woke up two."""
        with self._lock:
            if not self._free and self._started == self._most:
                self._to_do.append(work)
                return
            inbox = self._free.pop() if self._free else None
        (inbox or self._start()).put(work)

    def _start(self) -> Inbox:
        self._started += 1
        inbox: Inbox = queue.SimpleQueue()
        name = f"function-{self._started}"
        threading.Thread(target=self._work, args=(inbox,), name=name, daemon=True).start()
        return inbox

    def _work(self, inbox: Inbox) -> None:
        work: Work | None = inbox.get()
        while True:
            hand_over = work()
            work = self._next(inbox)
            if hand_over:
                # The last thing before it sleeps: the loop that this wakes up wants the interpreter.
                hand_over()
            work = work or inbox.get()

    def _next(self, inbox: Inbox) -> Work | None:
        """What is to be done; without any the thread is free."""
        with self._lock:
            if self._to_do:
                return self._to_do.popleft()
            self._free.append(inbox)
            return None
