"""Posting to functions over connections that are kept, on one event loop.

The parser is llhttp, that of Node.js, by way of httptools; what is ours is the bookkeeping of connections. Nothing is
retried here: whoever calls knows whether that is safe.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools

from functions.shared.request import Headers

CONNECT_SECONDS = 2.0
# A function behind the framework's own server loses a request that comes in the moment in which it closes the
# connection, after two idle seconds: one that was idle for half that time is not used again.
LONGEST_IDLE = 1.0
LARGEST_ANSWER = 64 * 1024 * 1024


class NotReached(Exception):
    """There was no connection: nothing was sent."""


class Lost(Exception):
    """The connection ended before the answer was there: nobody knows whether the request was handled."""


class TimedOut(Lost):
    """No answer came in time."""


class Answer(NamedTuple):
    """Status, headers (as they came, and by name) and the whole body."""

    status: int
    pairs: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def headers(self) -> Headers:
        """By their names in lower case."""
        return Headers.of((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.pairs)


@dataclass(frozen=True)
class Target:
    """Where a URL leads."""

    host: str
    port: int
    tls: bool
    authority: str
    path: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Take a URL apart. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected an http:// or https:// address, got {url}")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.hostname, port, parts.scheme == "https", parts.netloc.rpartition("@")[2], path)


target_of = cache(Target.of)
# Reading the system's certificates takes long: once for all connections.
_tls = cache(ssl.create_default_context)


def head(method: str, target: Target, path: str, headers: Iterable[tuple[str, str]], length: int) -> bytes:
    """The request's first lines. Raises ValueError for a header that would be two."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"Content-Length: {length}")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("expected headers without line breaks")
    return text.encode("latin-1") + b"\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, lost: Callable[["_Connection"], None]):
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._until_the_end = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, problem: Exception | None) -> None:
        self._transport = None
        if self._until_the_end and problem is None:
            self._answered()
        # It refers to this connection: both would wait for the garbage collector, which looks seldom.
        self._parser = None
        self._fail(Lost(f"the connection was lost: {problem or 'closed by the other side'}"))
        self._lost(self)

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def request(self, data: bytes, bodiless: bool = False) -> "asyncio.Future[Answer]":
        """Send one; its answer is waited for with the future. One to HEAD is `bodiless`, whatever its length."""
        self._pairs, self._body, self._size = [], [], 0
        self._bodiless, self._until_the_end = bodiless, False
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            # Nobody has asked: whatever this is, the next answer must not be taken for another's.
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as problem:
            self._fail(Lost(f"no HTTP: {problem}"))
            self.close()

    # -- what the parser calls --

    def on_message_begin(self) -> None:
        if self._answer is None:
            self.close()  # more than was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        self._pairs.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._bodiless and status >= 200:
            self._answered()
        names = {name.lower() for name, _ in self._pairs}
        # Without either its body ends with the connection.
        self._until_the_end = not names & {b"content-length", b"transfer-encoding"}

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > LARGEST_ANSWER:
            self._fail(Lost(f"an answer of more than {LARGEST_ANSWER} bytes"))
            self.close()
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self._pairs.clear()  # an interim answer: the real one follows
        else:
            self._answered()

    def _answered(self) -> None:
        future, self._answer = self._answer, None
        if not self._parser.should_keep_alive():
            self.close()
        if future is not None and not future.done():
            future.set_result(Answer(self._parser.get_status_code(), self._pairs, b"".join(self._body)))

    def _fail(self, problem: Lost) -> None:
        future, self._answer = self._answer, None
        if future is not None and not future.done():
            future.set_exception(problem)


@dataclass
class _Host:
    """The connections to one host and port."""

    idle: deque[_Connection] = field(default_factory=deque)

    def take(self, now: float) -> _Connection | None:
        while self.idle:
            connection = self.idle.pop()
            if connection.is_open and now - connection.idle_since < LONGEST_IDLE:
                return connection
            connection.close()
        return None

    def forget(self, connection: _Connection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)


class HttpClient:
    """Requests to any number of hosts; how many at a time is for the caller to say."""

    def __init__(self, seconds: float, most_idle: int = 64):
        self._seconds, self._most_idle = seconds, most_idle
        self._hosts: dict[tuple[str, int, bool], _Host] = {}

    async def post(self, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """POST to `url`. Raises NotReached, Lost, TimedOut, and ValueError for what cannot be sent."""
        target = target_of(url)
        return await self.request("POST", target, target.path, headers, body)

    async def request(
        self, method: str, target: Target, path: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> Answer:
        """Send a request and wait for its answer. Raises as `post`."""
        data = head(method, target, path, headers, len(body)) + body
        host = self._hosts.setdefault((target.host, target.port, target.tls), _Host())
        connection = host.take(asyncio.get_running_loop().time()) or await self._opened(target, host)
        return await self._answered(connection, host, data, bodiless=method == "HEAD")

    async def _opened(self, target: Target, host: _Host) -> _Connection:
        loop = asyncio.get_running_loop()
        tls = _tls() if target.tls else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                made = await loop.create_connection(
                    lambda: _Connection(host.forget), target.host, target.port, ssl=tls
                )
        except TimeoutError:
            raise NotReached(f"no connection to {target.authority} within {CONNECT_SECONDS:g} s") from None
        except OSError as problem:
            raise NotReached(f"no connection to {target.authority}: {problem}") from None
        if not made[1].is_open:
            raise NotReached(f"{target.authority} closed the connection at once")
        return made[1]

    async def _answered(self, connection: _Connection, host: _Host, data: bytes, bodiless: bool) -> Answer:
        loop = asyncio.get_running_loop()
        future = connection.request(data, bodiless)
        timer = loop.call_later(self._seconds, self._give_up, connection, future)
        try:
            answer = await future
        except BaseException:
            connection.close()
            raise
        finally:
            timer.cancel()
        if connection.is_open and len(host.idle) < self._most_idle:
            connection.idle_since = loop.time()
            host.idle.append(connection)
        else:
            connection.close()
        return answer

    def _give_up(self, connection: _Connection, future: "asyncio.Future[Answer]") -> None:
        if not future.done():
            future.set_exception(TimedOut(f"no answer within {self._seconds:g} s"))
        connection.close()
