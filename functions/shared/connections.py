"""HTTP from threads, over connections that are kept, but not for long.

A function's server closes a connection after two idle seconds. A call that is on its way in that very moment is lost,
and nobody knows whether it arrived: so one that was idle for half that time is not used again.

With the standard library's client: a call takes half of urllib3's time, and it is loaded in a fraction of that.
"""

import select
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

LONGEST_IDLE = 1.0


class NoAnswer(Exception):
    """Not reached, or lost before the answer was there: nobody knows whether the call was heard."""


class Answer(NamedTuple):
    """Status and the whole body."""

    status: int
    body: bytes


class Target(NamedTuple):
    """Where a URL leads."""

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Take a URL apart. Raises ValueError."""
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname or "", parts.port, path)


class Connections:
    """Connections to any number of hosts, as many to each as were ever used at a time; the last one is used first.

    Nothing is retried here: whoever calls knows whether that is safe.
    """

    def __init__(self, connect_seconds: float, read_seconds: float):
        self._connect_seconds, self._read_seconds = connect_seconds, read_seconds
        self._idle: defaultdict[Any, deque[tuple[HTTPConnection, float]]] = defaultdict(deque)

    def request(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and wait for its answer; a redirect is an answer too. Raises NoAnswer."""
        try:
            target = _target(url)
            idle = self._idle[target[:3]]
            connection = self._kept(idle) or self._opened(target)
        except (OSError, HTTPException, ValueError) as problem:
            raise NoAnswer(f"{url}: {problem}") from problem
        try:
            connection.request(method, target.path, body, headers or {})
            answer = connection.getresponse()
            heard = Answer(answer.status, answer.read())
        except (OSError, HTTPException) as problem:
            connection.close()
            raise NoAnswer(f"{url}: {type(problem).__name__}: {problem}") from problem
        if connection.sock is not None:
            idle.append((connection, time.monotonic()))
        return heard

    @staticmethod
    def _kept(idle: deque[tuple[HTTPConnection, float]]) -> HTTPConnection | None:
        while True:
            try:
                connection, since = idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since <= LONGEST_IDLE and not _is_dropped(connection):
                return connection
            connection.close()

    def _opened(self, target: Target) -> HTTPConnection:
        secure = {"context": _tls()} if target.scheme == "https" else {}
        kind = HTTPSConnection if secure else HTTPConnection
        connection = kind(target.host, target.port, timeout=self._connect_seconds, **secure)
        connection.connect()
        connection.sock.settimeout(self._read_seconds)
        return connection


def _is_dropped(connection: HTTPConnection) -> bool:
    """Whether the server has closed it meanwhile: between two requests nothing else can be there to be read."""
    waiting = select.poll()
    waiting.register(connection.sock, select.POLLIN)
    return bool(waiting.poll(0))


_target = cache(Target.of)


@cache
def _tls() -> Any:
    # Reading the system's certificates takes long: once for all connections, and only where there is TLS.
    import ssl

    return ssl.create_default_context()
