"""Threads that send what has just been written, many at a time when many wait.

A broker answers when it has written events down, and may wait for others to write them together: so more are sent
meanwhile. Rows that it has confirmed are deleted a moment later, many at a time too: a crash before that sends their
events once more, which is harmless.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from logging import WARNING
from typing import Any

from functions.shared.telemetry.logs import log

MOST_WAITING = 10_000
MOST_TOGETHER = 100
AT_A_TIME = 8
MOST_CROSSED_OUT = 500
CROSS_OUT_AFTER = 0.25  # seconds; well below the age at which the flush takes a row for forgotten


class Sender:
    """`send` gives what to cross out, and whether the broker is there; `cross_out` does it for many.

    `catch_up` sends what was left in the table while the broker was away.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Any]], tuple[list[Any], bool]],
        cross_out: Callable[[Sequence[Any]], None],
        catch_up: Callable[[], Any],
    ):
        self._send, self._cross_out, self._catch_up = send, cross_out, catch_up
        self._lock = threading.Lock()  # for all of these
        self._waiting: deque[Any] = deque()
        self._sent: list[Any] = []
        # Since when something was left in the table, by time.monotonic(); None when nothing was.
        self._behind_since: float | None = None
        self._started = 0
        # What wakes up each thread that has nothing to do, the last one at work at the end.
        self._idle: list[threading.Lock] = []
        self._is_one_coming = False
        self._some_sent = threading.Event()

    def put(self, outgoing: Any) -> None:
        """Send it soon; never blocks."""
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                self._fall_behind()
            else:
                self._waiting.append(outgoing)
            if self._is_one_coming:
                return
            if self._idle:
                self._idle.pop().release()
            elif self._started < AT_A_TIME:
                self._start()
            else:
                return
            self._is_one_coming = True

    def _start(self) -> None:
        # With the first event: the process may have been forked since this was made.
        if not self._started:
            threading.Thread(target=self._cross_out_later, name="outbox-rows", daemon=True).start()
        threading.Thread(target=self._work, name=f"outbox-{self._started + 1}", daemon=True).start()
        self._started += 1

    def _work(self) -> None:
        # A plain lock that somebody else releases: a semaphore makes a lock of its own each time.
        woken = threading.Lock()
        woken.acquire()
        while True:
            if batch := self._batch(woken):
                self._safely(self._send_some, batch)
            else:
                woken.acquire()

    def _batch(self, woken: threading.Lock) -> list[Any]:
        """What waits; without any the thread is idle."""
        with self._lock:
            self._is_one_coming = False
            if not self._waiting:
                self._idle.append(woken)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]

    def _send_some(self, batch: list[Any]) -> None:
        began = time.monotonic()
        sent, there = self._send(batch)
        with self._lock:
            self._sent += sent
            # What was on its way already says nothing of a broker that has gone away since.
            is_back = there and self._behind_since is not None and began > self._behind_since
            if is_back:
                self._behind_since = None
            elif not there:
                self._fall_behind()
        self._some_sent.set()
        if is_back:
            self._cross_out_sent()
            self._catch_up()

    def _fall_behind(self) -> None:
        """Something stays in the table, until the broker is seen to be there."""
        self._behind_since = time.monotonic()

    def _cross_out_later(self) -> None:
        while True:
            self._some_sent.wait()
            time.sleep(CROSS_OUT_AFTER)
            self._safely(self._cross_out_sent)

    def _cross_out_sent(self) -> None:
        self._some_sent.clear()
        with self._lock:
            sent, self._sent = self._sent, []
        for at in range(0, len(sent), MOST_CROSSED_OUT):
            self._cross_out(sent[at : at + MOST_CROSSED_OUT])

    def _safely(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as problem:
            self._fall_behind()
            log("events not sent, the flush will", level=WARNING, reason=f"{type(problem).__name__}: {problem}")
