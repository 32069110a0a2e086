"""A thread that sends what has just been written, many at a time when many wait.

Rows that the broker has confirmed are deleted a moment later, many at a time too: a crash before that sends an event
once more, which is harmless.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from logging import WARNING
from queue import Empty, SimpleQueue
from typing import Any

from functions.shared.telemetry.logs import log

MOST_WAITING = 10_000
MOST_TOGETHER = 100
MOST_SENT = 500
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
        self._sent: list[Any] = []
        self._sent_since = 0.0
        self._waiting: SimpleQueue[Any] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._behind = False

    def put(self, outgoing: Any) -> None:
        """Send it soon; never blocks."""
        if self._waiting.qsize() >= MOST_WAITING:
            # Its row is in the table.
            self._behind = True
        else:
            self._waiting.put(outgoing)
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def _start(self) -> None:
        # At the first event: the process may have been forked since this was made.
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            if batch := self._batch():
                self._safely(self._send_some, batch)
            if self._sent and time.monotonic() - self._sent_since >= CROSS_OUT_AFTER:
                self._safely(self._cross_out_sent)

    def _batch(self) -> list[Any]:
        """What waits now, or else what comes next; nothing when rows are to be crossed out before anything comes."""
        batch = []
        with suppress(Empty):
            batch.append(self._waiting.get(timeout=CROSS_OUT_AFTER if self._sent else None))
            while len(batch) < MOST_TOGETHER:
                batch.append(self._waiting.get_nowait())
        return batch

    def _send_some(self, batch: list[Any]) -> None:
        sent, there = self._send(batch)
        self._sent_since = self._sent_since if self._sent else time.monotonic()
        self._sent += sent
        catching_up = there and self._behind
        if catching_up or len(self._sent) >= MOST_SENT:
            self._cross_out_sent()
        if catching_up:
            self._catch_up()
        self._behind = not there

    def _cross_out_sent(self) -> None:
        sent, self._sent = self._sent, []
        self._cross_out(sent)

    def _safely(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as problem:
            self._behind = True
            log("events not sent, the flush will", level=WARNING, reason=f"{type(problem).__name__}: {problem}")
