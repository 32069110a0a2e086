"""HTTP from threads, over connections that are kept, but not for long.

A function's server closes a connection after two idle seconds. A call that is on its way in that very moment is lost,
and nobody knows whether it arrived: so one that was idle for half that time is not used again.
"""

import select
import socket
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

from functions.shared.http_messages import Answer, AnswerReader, NoHttp, Target, head, target_of, tls

LONGEST_IDLE = 1.0
READ_AT_ONCE = 64 * 1024


class NoAnswer(Exception):
    """Not reached, or lost before the answer was there: nobody knows whether the call was heard."""


class Connections:
    """Connections to any number of hosts, as many to each as were ever used at a time; the last one is used first.

    Nothing is retried here: whoever calls knows whether that is safe.
    """

    def __init__(self, connect_seconds: float, read_seconds: float):
        self._connect_seconds, self._read_seconds = connect_seconds, read_seconds
        self._idle: defaultdict[Any, deque[tuple[socket.socket, float]]] = defaultdict(deque)

    def request(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and wait for its answer; a redirect is an answer too. Raises NoAnswer."""
        body = body or b""
        try:
            target = target_of(url)
            request = head(method, target, target.path, (headers or {}).items(), len(body)) + body
            idle = self._idle[target.authority, target.tls]
            connection = self._kept(idle) or self._opened(target)
        except (OSError, ValueError) as problem:
            raise NoAnswer(f"{url}: {problem}") from problem
        reader = AnswerReader(bodiless=method == "HEAD")
        try:
            answer = _answered(connection, request, reader)
        except (OSError, NoHttp) as problem:
            connection.close()
            raise NoAnswer(f"{url}: {type(problem).__name__}: {problem}") from problem
        if reader.is_last:
            connection.close()
        else:
            idle.append((connection, time.monotonic()))
        return answer

    @staticmethod
    def _kept(idle: deque[tuple[socket.socket, float]]) -> socket.socket | None:
        while True:
            try:
                connection, since = idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since <= LONGEST_IDLE and not _is_dropped(connection):
                return connection
            connection.close()

    def _opened(self, target: Target) -> socket.socket:
        connection = socket.create_connection((target.host, target.port), self._connect_seconds)
        # What is written goes at once: there is nothing that could go along with it.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.tls:
            connection = tls().wrap_socket(connection, server_hostname=target.host)
        connection.settimeout(self._read_seconds)
        return connection


def _answered(connection: socket.socket, request: bytes, reader: AnswerReader) -> Answer:
    """The answer to a request. Raises OSError and NoHttp."""
    try:
        connection.sendall(request)
        while reader.answer is None:
            if data := connection.recv(READ_AT_ONCE):
                reader.feed(data)
                continue
            reader.end()
            if reader.answer is None:
                raise ConnectionError("closed by the other side")
        return reader.answer
    finally:
        reader.stop()


def _is_dropped(connection: socket.socket) -> bool:
    """Whether the server has closed it meanwhile: between two requests nothing else can be there to be read."""
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(0))
