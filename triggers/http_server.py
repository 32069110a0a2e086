"""uvicorn's HTTP, with limits for clients that send or read slowly, or come by the thousand.

uvicorn ends a connection that is idle between two requests. These are ours: one that never sends a request, a head
that does not end, in time or in size, an answer that nobody reads, and how many connections there are.
"""

import asyncio
import resource
from functools import cache, partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from functions.shared.telemetry.metrics import Counter

HEAD_SECONDS = 10.0  # from a head's first byte to its last
READ_SECONDS = 30.0  # for a client to go on reading what was written
MOST_CONNECTIONS = 1000
INTERIM = b"HTTP/1.1 1"
OTHER_FILES = 200  # logs, the database, what is imported

REFUSED = Counter("http_connections_refused", "Connections that ended for what the client did", ["status"])


def allow_files() -> None:
    """Let this process have as many connections open as it may need, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * MOST_CONNECTIONS + OTHER_FILES
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard < 0 else min(needed, hard), hard))


@cache
def most_connections(public: bool) -> int:
    """How many clients there may be at a time.

    A gateway has a connection to a function for each of its own. So functions take twice as many: who ends the
    gateway's kept connections, because others come, has the requests lost that are on their way.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(2 * MOST_CONNECTIONS, max(2, files - OTHER_FILES))
    return most // 2 if public else most


class _InOne:
    """The transport of one answer, whose head waits for the body: both are written at once, or nothing is.

    uvicorn writes them one after the other. A process that is killed between the two leaves a head without its body,
    which Knative's dispatcher takes for a delivery that has no reply; and who reads them is woken twice.
    """

    def __init__(self, transport: asyncio.Transport):
        self._transport, self._head, self._is_ahead = transport, b"", True
        self.is_closing, self.close = transport.is_closing, transport.close

    def write(self, data: bytes) -> None:
        """Keep a head, write what comes after it. An interim answer, as 100, has none."""
        if self._is_ahead and not data.startswith(INTERIM):
            self._is_ahead, self._head = False, data
        else:
            self._transport.write(self._head + data)
            self._head = b""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. A CloudEvent in binary mode is the largest head: forty attributes of 8 KiB."""

    largest_head = 512 * 1024
    is_public = False

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self._overdue: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._head_size = 0
        self._idle_since = self.loop.time()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    # -- what asyncio calls --

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Make room: a connection that waits for nothing ends before one more is refused."""
        super().connection_made(transport)
        if len(self.connections) > most_connections(self.is_public) and not self._end_longest_idle():
            self._refuse(503, "too many connections: expected fewer, or come again later", b"retry-after: 1\r\n")
            return
        self._expect_head(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Part of a head, or of a body."""
        begins = self.is_idle and not self._head_size
        if self.is_idle:
            self._head_size += len(data)
        super().data_received(data)
        if self._head_size > self.largest_head:
            self._refuse(431, f"expected a head of at most {self.largest_head} bytes")
        elif self._head_size and begins:
            # Hardly any head comes in pieces: one that is here as a whole needs no timer.
            self._expect_head(HEAD_SECONDS)

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is written."""
        super().pause_writing()
        self._unread = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads on."""
        if self._unread:
            self._unread.cancel()
        super().resume_writing()

    # -- what the parser and uvicorn call --

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_size = 0
        self._cancel()
        super().on_headers_complete()
        if self.cycle.scope["method"] != "HEAD":
            self.cycle.transport = _InOne(self.transport)

    def on_response_complete(self) -> None:
        """From here on it waits for the next request."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """A close waits until all is read, by a client that may never do that."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    # -- limits --

    def _expect_head(self, seconds: float) -> None:
        self._cancel()
        self._overdue = self.loop.call_later(
            seconds, partial(self._refuse, 408, f"expected a request within {seconds:g} seconds")
        )

    def _cancel(self) -> None:
        if self._overdue:
            self._overdue.cancel()

    def _end_longest_idle(self) -> bool:
        idle = [other for other in self.connections if other is not self and other.is_idle]
        if not idle:
            return False
        longest = min(idle, key=lambda other: other._idle_since)
        longest.transport.abort()
        self.connections.discard(longest)
        return True

    def _refuse(self, status: int, reason: str, header: bytes = b"") -> None:
        self._cancel()
        if self.transport.is_closing():
            return
        REFUSED.labels(str(status)).inc()
        body = b'{"error":"%b"}' % reason.encode()
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n%b\r\n"
        self.transport.write(STATUS_LINE[status] + head % (len(body), header) + body)
        self.transport.close()


class PublicProtocol(LimitedProtocol):
    """One connection from outside: a head has a token, and little else."""

    largest_head = 64 * 1024
    is_public = True
