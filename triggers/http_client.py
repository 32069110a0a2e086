"""Posting to functions over connections that are kept, on one event loop.

What is ours is the bookkeeping of connections. Nothing is retried here: whoever calls knows whether that is safe.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from functions.shared.http_messages import Answer, AnswerReader, NoHttp, Target, head, target_of, tls

CONNECT_SECONDS = 2.0
# A function behind the framework's own server loses a request that comes in the moment in which it closes the
# connection, after two idle seconds: one that was idle for half that time is not used again.
LONGEST_IDLE = 1.0


class NotReached(Exception):
    """There was no connection: nothing was sent."""


class Lost(Exception):
    """The connection ended before the answer was there: nobody knows whether the request was handled."""


class TimedOut(Lost):
    """No answer came in time."""


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, lost: Callable[["_Connection"], None]):
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._reader: AnswerReader | None = None
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, problem: Exception | None) -> None:
        self._transport = None
        if self._reader is not None:
            if problem is None:
                self._reader.end()
            self._heard()
        self._fail(Lost(f"the connection was lost: {problem or 'closed by the other side'}"))
        self._lost(self)

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def request(self, data: bytes, bodiless: bool = False) -> "asyncio.Future[Answer]":
        """Send one; its answer is waited for with the future. One to HEAD is `bodiless`, whatever its length."""
        self._reader = AnswerReader(bodiless)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            # Nobody has asked: whatever this is, the next answer must not be taken for another's.
            self.close()
            return
        try:
            self._reader.feed(data)
        except NoHttp as problem:
            self._fail(Lost(str(problem)))
            self.close()
        else:
            self._heard()

    def _heard(self) -> None:
        reader, future = self._reader, self._answer
        if reader.answer is not None:
            self._reader = self._answer = None
            if reader.is_last:
                self.close()
            if not future.done():
                future.set_result(reader.answer)

    def _fail(self, problem: Lost) -> None:
        if self._reader is not None:
            self._reader.stop()
        future, self._reader, self._answer = self._answer, None, None
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
        context = tls() if target.tls else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                made = await loop.create_connection(
                    lambda: _Connection(host.forget), target.host, target.port, ssl=context
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
