"""A thread that sends what has just been written, many at a time when many wait."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from logging import WARNING
from typing import Any

from functions.shared.logs import log

MOST_WAITING = 10_000
MOST_TOGETHER = 100


class Sender:
    """`send` gives whether the broker is there; `catch_up` sends what was left in the table while it was not."""

    def __init__(self, send: Callable[[Sequence[Any]], bool], catch_up: Callable[[], Any]):
        self._send, self._catch_up = send, catch_up
        # One that is full forgets the oldest: its row is in the table.
        self._waiting: deque[Any] = deque(maxlen=MOST_WAITING)
        self._wanted = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._behind = False

    def put(self, outgoing: Any) -> None:
        """Send it soon; never blocks."""
        self._behind = self._behind or len(self._waiting) == MOST_WAITING
        self._waiting.append(outgoing)
        self._wanted.set()
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def _start(self) -> None:
        # At the first event: the process may have been forked since this was made.
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while self._wanted.wait():
            self._wanted.clear()
            while batch := self._batch():
                self._send_safely(batch)

    def _batch(self) -> list[Any]:
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]

    def _send_safely(self, batch: list[Any]) -> None:
        try:
            there = self._send(batch)
            if there and self._behind:
                self._catch_up()
            self._behind = not there
        except Exception as problem:
            self._behind = True
            log("events not sent, the flush will", level=WARNING, reason=f"{type(problem).__name__}: {problem}")
