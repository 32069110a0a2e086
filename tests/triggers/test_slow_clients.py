"""Clients that are slow, or many: each costs a connection for a while, and holds up nobody."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import child, end, start
from tests.system import Http, eventually
from tools.local.processes import free_port

# A server with limits that a test can wait for.
SCRIPT = """
import sys
from functions.shared.answers import json_answer
from triggers import asgi, http_server, server
http_server.HEAD_SECONDS, http_server.READ_SECONDS, http_server.MOST_CONNECTIONS = 0.5, 0.5, 20
server.KEEP_ALIVE, asgi.BODY_SECONDS = float(sys.argv[2]), 0.5

async def app(scope, receive, send):
    if scope["type"] == "http":
        try:
            body = await asgi.body_of(receive, 2**20)
        except asgi.BodyTooSlow:
            return await asgi.send_answer(send, asgi.TOO_SLOW)
        size = 2**26 if scope["path"] == "/large" else len(body)
        await asgi.send_answer(send, json_answer({"got": "x" * size}))

server.serve(app, host="127.0.0.1", port=int(sys.argv[1]), protocol=http_server.PublicProtocol)
"""
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"


class Server:
    def __init__(self, directory: Path, keep_alive: float):
        self.port = free_port()
        command = [sys.executable, "-c", SCRIPT, str(self.port), str(keep_alive)]
        self.process = start(child("server", command, directory, f"http://127.0.0.1:{self.port}/"))
        self.http = Http(f"http://127.0.0.1:{self.port}")

    def connect(self, *sent: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(b"".join(sent))
        return connection


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"), 60)
    yield made
    assert 0 == end(made.process)


def answered(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_a_head_that_does_not_end_is_408_after_a_while(server):
    answer = answered(server.connect(HEAD))
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert answer.endswith(b'{"error":"expected a request within 0.5 seconds"}')


def test_a_head_that_comes_byte_by_byte_has_no_more_time(server):
    connection = server.connect(b"\r\n")
    with contextlib.suppress(OSError):
        for byte in b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 10**6:
            connection.sendall(bytes([byte]))
    assert answered(connection)[:12] in (b"HTTP/1.1 408", b"HTTP/1.1 431", b"")
    assert 200 == server.http.get("/").status


def test_a_head_that_is_too_large_is_431(server):
    connection = server.connect(HEAD, b"X-Long: ")
    with contextlib.suppress(OSError):
        connection.sendall(b"x" * 10**6)
    answer = answered(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert 200 == server.http.get("/").status


def test_a_body_that_does_not_end_is_408(server):
    assert answered(server.connect(HEAD, b"\r\n", b"half")).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_an_answer_that_nobody_reads_is_given_up(server):
    connection = server.connect(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    files = Path(f"/proc/{server.process.pid}/fd")
    eventually(lambda: is_gone(connection, files), "the server to let go")


def is_gone(connection: socket.socket, files: Path) -> bool:
    """Whether the server has no connection of this port any more."""
    port = f":{connection.getsockname()[1]:04X} "
    inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines() if port in line[19:34]}
    own = set()
    for file in files.iterdir():
        with contextlib.suppress(OSError):
            own.add(str(file.readlink()).removeprefix("socket:[").removesuffix("]"))
    return not inodes & own


def test_requests_one_after_the_other_have_their_time_each(server):
    connection = server.connect()
    for _ in range(3):
        connection.sendall(HEAD + b"\r\n0123456789")
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    connection.close()


def test_a_crowd_of_idle_connections_ends_for_those_who_ask(server):
    crowd = [server.connect() for _ in range(19)] + [server.connect(HEAD) for _ in range(19)]
    assert [200] * 5 == [Http(server.http.base).get("/").status for _ in range(5)]
    for connection in crowd:
        connection.close()


def test_one_more_than_there_may_be_is_503_at_once(server):
    busy = [server.connect(HEAD, b"\r\n", b"half") for _ in range(20)]
    answer = answered(server.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n") and b"retry-after: 1\r\n" in answer
    assert [b"HTTP/1.1 408"] * 20 == [answered(connection)[:12] for connection in busy]
    assert 200 == server.http.get("/").status


def test_a_connection_that_never_says_anything_ends(tmp_path):
    server = Server(tmp_path, 0.5)
    assert b"HTTP/1.1 408" == answered(server.connect())[:12]
    assert 0 == end(server.process)
