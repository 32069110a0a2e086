"""HTTP that costs the measuring side next to nothing: the system shares the processors with it."""

import asyncio
from dataclasses import dataclass

import httptools

TRIES = 5


@dataclass(frozen=True)
class Answer:
    """Status, body, and the seconds that the server asks to wait."""

    status: int
    body: bytes
    retry_after: float | None = None


class Connection(asyncio.Protocol):
    """One kept connection with one request at a time; requests are whole messages in bytes."""

    def __init__(self, host: str, port: int):
        self._host, self._port = host, port
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self.lost = 0

    async def ask(self, request: bytes) -> Answer:
        """Send and wait for the answer. A request whose connection was lost is sent again: orders may come twice."""
        for _ in range(TRIES):
            try:
                await self._connect()
                return await self._exchange(request)
            except ConnectionError:
                self.lost += 1
        raise ConnectionError(f"{self._host}:{self._port}: the connection was lost {TRIES} times")

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    async def _connect(self) -> None:
        if self._transport is None:
            await asyncio.get_running_loop().create_connection(lambda: self, self._host, self._port)

    async def _exchange(self, request: bytes) -> Answer:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._start_message()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionResetError(str(exc or "closed by the server")))

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after" and value.isdigit():
            self._retry_after = float(value)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        answer = Answer(self._parser.get_status_code(), self._body, self._retry_after)
        if not self._parser.should_keep_alive():
            self._transport.close()
            self._transport = None
        self._start_message()
        if self._answer and not self._answer.done():
            self._answer.set_result(answer)

    def _start_message(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body, self._retry_after = b"", None


def head(host: str, path: str, token: str) -> bytes:
    """A request with JSON, up to the number of its bytes."""
    lines = (f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json",
             f"Authorization: Bearer {token}", "Content-Length: ")  # fmt: skip
    return "\r\n".join(lines).encode()


def message(head: bytes, body: bytes) -> bytes:
    """The whole request."""
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)
