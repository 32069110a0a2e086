"""HTTP/1.1 as clients need it: where a URL leads, a request's head, and the answer as it comes.

The parser is llhttp, that of Node.js, by way of httptools; connections are for whoever has them: on an event loop in
`triggers/http_client.py`, in threads in `connections.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import httptools

from functions.shared.request import Headers

if TYPE_CHECKING:
    import ssl

LARGEST_ANSWER = 64 * 1024 * 1024


class NoHttp(Exception):
    """What came is no answer, or one that is too large."""


class Answer(NamedTuple):
    """Status, headers (as they came, and by name) and the whole body."""

    status: int
    pairs: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def headers(self) -> Headers:
        """By their names in lower case."""
        return Headers.of_bytes(self.pairs)


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


@cache
def tls() -> "ssl.SSLContext":
    """How a server's certificate is checked."""
    # Reading the system's certificates takes long: once for all connections, and only where there is TLS.
    import ssl

    return ssl.create_default_context()


def head(method: str, target: Target, path: str, headers: Iterable[tuple[str, str]], length: int) -> bytes:
    """The request's first lines. Raises ValueError for a header that would be two."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"Content-Length: {length}")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("expected headers without line breaks")
    return text.encode("latin-1") + b"\r\n\r\n"


class AnswerReader:
    """Reads one answer; a request to HEAD has one that is `bodiless`, whatever its length.

    `answer` is there when all of it has come; `is_last` says that the connection is good for no other then.
    """

    def __init__(self, bodiless: bool = False):
        self.answer: Answer | None = None
        self.is_last = False
        self._bodiless, self._has_head = bodiless, False
        self._pairs: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Read what has come. Raises NoHttp."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as problem:
            self.is_last = True
            if self.answer is None:
                self.stop()
                raise NoHttp(f"no HTTP: {problem}") from None
        if self._size > LARGEST_ANSWER:
            self.stop()
            raise NoHttp(f"an answer of more than {LARGEST_ANSWER} bytes")

    def end(self) -> None:
        """The connection has ended, and with it an answer that does not say how long it is."""
        if self.answer is None and self._has_head and not self._has_length():
            self._answered()
        self.stop()

    def stop(self) -> None:
        """Read no more. Reader and parser refer to each other: both would wait for the garbage collector."""
        self._parser = None

    # -- what the parser calls --

    def on_message_begin(self) -> None:
        """More than was asked for ends the connection."""
        self.is_last = self.answer is not None

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._pairs.append((name, value))

    def on_headers_complete(self) -> None:
        """All headers; after those of an interim answer, as 100, the real ones follow."""
        if self.answer is None:
            self._has_head = self._parser.get_status_code() >= 200
            if self._has_head and self._bodiless:
                self._answered()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._size += len(body)
        self._body.append(body)

    def on_message_complete(self) -> None:
        """All of an answer."""
        if self.answer is None:
            if self._has_head:
                self._answered()
            else:
                self._pairs.clear()

    def _answered(self) -> None:
        self.is_last = not self._parser.should_keep_alive()
        self.answer = Answer(self._parser.get_status_code(), self._pairs, b"".join(self._body))
        self.stop()

    def _has_length(self) -> bool:
        return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._pairs)
