"""How often PostgreSQL was asked: Linux counts what came on each of its connections (sock_diag(7), tcp_info).

What a client sends at once is one segment, whatever is in it. Statements do not show it: several can go at once,
preparing one costs trips of its own, and the server counts a prepared BEGIN or COMMIT only at its first run.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

SOCK_DIAG, BY_FAMILY, REQUEST_DUMP, DONE, ERROR = 4, 20, 0x301, 3, 2
TCP_INFO = 2
HEADER = struct.Struct("=IHHII")
MESSAGE = struct.Struct("=4B2s2s16s16s4s8s20s")
DATA_SEGMENTS_IN = 152  # where struct tcp_info has it, since Linux 4.6
STATES = 0xFFF

Asked = dict[bytes, tuple[int, int]]


def counts(database: str) -> Asked | None:
    """For each connection of the server: the client's port, and the segments that came; None where it is unknown."""
    parts = urlsplit(database)
    try:
        return {cookie: (port, came) for cookie, port, came in _connections(parts.port or 5432)}
    except OSError:
        return None


def round_trips(before: Asked | None, after: Asked | None, own_ports: set[int]) -> int | None:
    """What came in between, but not from the measuring side. Connections that ended meanwhile are not in it."""
    if before is None or not after:
        return None
    new = (0, 0)
    return sum(came - before.get(cookie, new)[1] for cookie, (port, came) in after.items() if port not in own_ports)


def _connections(port: int) -> Iterator[tuple[bytes, int, int]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as kernel:
        for family in (socket.AF_INET, socket.AF_INET6):
            kernel.send(_question(family, port))
            yield from _answers(kernel)


def _question(family: int, port: int) -> bytes:
    wanted = struct.pack("=4BI", family, socket.IPPROTO_TCP, 1 << (TCP_INFO - 1), 0, STATES)
    where = struct.pack("!H", port) + bytes(38) + b"\xff" * 8
    return HEADER.pack(HEADER.size + len(wanted) + len(where), BY_FAMILY, REQUEST_DUMP, 1, 0) + wanted + where


def _answers(kernel: socket.socket) -> Iterator[tuple[bytes, int, int]]:
    while True:
        data = kernel.recv(1 << 20)
        while data:
            length, kind, *_ = HEADER.unpack_from(data)
            if kind == DONE:
                return
            if kind == ERROR:
                raise OSError("sock_diag: the kernel refused the question")
            with suppress(struct.error):
                yield _connection(data[HEADER.size : length])
            data = data[(length + 3) & ~3 :]


def _connection(message: bytes) -> tuple[bytes, int, int]:
    """One connection. Raises struct.error when the kernel says nothing about it."""
    *_, client, _, _, _, cookie, _ = MESSAGE.unpack_from(message)
    at = MESSAGE.size
    while at < len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if kind == TCP_INFO:
            return cookie, int.from_bytes(client), *struct.unpack_from("=I", message, at + 4 + DATA_SEGMENTS_IN)
        at += (length + 3) & ~3
    raise struct.error("no tcp_info")
