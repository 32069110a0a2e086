"""Sending an input as it is, byte for byte, and reading the answers to it."""

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from tests.fuzz.inputs import Input

# Of answers, one after the other; no body here has such a line in it.
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
PATIENCE = 40.0
# What is no whole request is answered at once or not at all.
SHORT_PATIENCE = 0.15
LARGEST_ANSWER = 32 * 1024 * 1024


class NoAnswer(Exception):
    """The whole request was sent, and nothing came in time."""


def exchange(base: str, given: Input, placeholders: Mapping[bytes, bytes]) -> bytes:
    """Everything that is answered until the server closes the connection. Raises NoAnswer."""
    address = urlsplit(base)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A server that refuses closes while the rest is still being sent.
        with suppress(ConnectionError):
            for piece in _filled(given, placeholders):
                connection.sendall(piece)
        connection.settimeout(PATIENCE if given.whole else SHORT_PATIENCE)
        return _answers(connection, given.whole)


def _filled(given: Input, placeholders: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
    data = given.data
    if not any(name in data for name in placeholders):
        return given.pieces
    for name, value in placeholders.items():
        data = data.replace(name, value)
    return (data,)


def _answers(connection: socket.socket, whole: bool) -> bytes:
    answers = bytearray()
    try:
        while (some := connection.recv(65_536)) and len(answers) < LARGEST_ANSWER:
            answers += some
    except TimeoutError:
        if whole:
            raise NoAnswer from None
    except ConnectionError:
        pass
    return bytes(answers)


def statuses(answers: bytes) -> list[int]:
    """The statuses of all answers but those that only say that the body may come."""
    return [status for found in STATUS.findall(answers) if (status := int(found)) >= 200]
