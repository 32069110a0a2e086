"""A client that costs little: plain HTTP/1.1 over kept connections, all of them in one thread."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Refused(Exception):
    """A measured system did not take an order; the text is its answer."""


class Connection:
    """One connection to a server, for one request at a time."""

    def __init__(self, host: str, port: int, path: str, headers: dict[str, str] | None = None):
        self._where = (host, port)
        lines = [f"POST {path} HTTP/1.1", f"Host: {host}:{port}", "Content-Type: application/json"]
        self._head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in (headers or {}).items())])
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: dict[str, Any]) -> bytes:
        """Send one request and read its answer. Raises Refused unless it is 2xx."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._where)
        reader, writer = self._streams
        data = json.dumps(body, ensure_ascii=False).encode()
        writer.write(f"{self._head}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        answer = await _body(reader, headers)
        if headers.get("connection") == "close":
            self.close()
        if not status.split()[1].startswith("2"):
            raise Refused(f"{status}: {answer.decode(errors='replace')[:300]}")
        return answer

    def close(self) -> None:
        """Let go of the connection; the next request opens another."""
        if self._streams:
            self._streams[1].close()
        self._streams = None


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body


async def closed_loop(clients: int, seconds: float, place: Callable[[int], Awaitable[None]]) -> list[float]:
    """Each client places an order, waits for its end, and places the next; gives how long each order took."""
    until = time.perf_counter() + seconds
    took: list[float] = []

    async def client(number: int) -> None:
        while (began := time.perf_counter()) < until:
            await place(number)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(client(number) for number in range(clients)))
    return took
