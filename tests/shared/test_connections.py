"""Connections are kept for the next call, but not those that a server is about to close."""

import re
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from functions.shared import connections
from functions.shared.connections import Connections, NoAnswer
from tools.local.processes import free_port

ANSWER = b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n"


CLOSING = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class OneAnswer(socketserver.StreamRequestHandler):
    """Promises to keep the connection, and closes it when the second request comes: its time was over just then."""

    def handle(self) -> None:
        self.server.requests.append(self.rfile.readline())
        while self.rfile.readline().strip():
            pass
        self.wfile.write(self.server.answer)
        if self.server.waits:
            self.rfile.readline()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), OneAnswer)
        self.answer, self.requests, self.waits = ANSWER, [], True
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        yield made
        made.shutdown()


def statuses(server: Server) -> list[int]:
    """Of two calls, one after the other."""
    kept = Connections(5, 5)
    return [kept.request("POST", server.address).status for _ in range(2)]


def test_a_connection_that_was_idle_too_long_is_not_used_again(server, monkeypatch):
    monkeypatch.setattr(connections, "LONGEST_IDLE", -1)
    assert [204, 204] == statuses(server)


def test_a_connection_that_was_just_used_is_used_again(server):
    with pytest.raises(NoAnswer, match="ConnectionError: closed by the other side"):
        statuses(server)


def test_a_connection_that_ends_with_its_answer_is_not_used_again_and_a_redirect_is_an_answer(server):
    server.answer = CLOSING
    assert [302, 302] == statuses(server)


def test_the_path_goes_with_its_query(server):
    Connections(5, 5).request("GET", f"{server.address}/some/path?a=b")
    assert [b"GET /some/path?a=b HTTP/1.1\r\n"] == server.requests


@pytest.mark.parametrize("before", [0, 1])
def test_an_answer_that_does_not_come_in_time_is_none(server, before):
    """Neither on a first connection, nor on the one that follows upon one that ended."""
    began, kept, server.answer = time.monotonic(), Connections(connect_seconds=20, read_seconds=0.1), CLOSING
    for _ in range(before):
        kept.request("POST", server.address)
    server.answer = b""
    with pytest.raises(NoAnswer, match="TimeoutError: timed out"):
        kept.request("POST", server.address)
    assert 10 > time.monotonic() - began


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}", "https://127.0.0.1:{port}", "http://nobody.invalid", "http://127.0.0.1:port"]
)
def test_whoever_is_not_reached_is_named(url):
    address = url.format(port=free_port())
    with pytest.raises(NoAnswer, match=re.escape(address)):
        Connections(5, 5).request("POST", address)


def test_a_connection_that_its_server_has_closed_meanwhile_is_not_used_again(server):
    server.waits = False
    kept = Connections(5, 5)
    assert 204 == kept.request("POST", server.address).status
    ((connection, _),) = kept._idle[next(iter(kept._idle))]
    # The end of the stream is there to be read: the server has hung up.
    assert b"" == connection.recv(1, socket.MSG_PEEK)

    assert 204 == kept.request("POST", server.address).status


def test_an_answer_without_a_length_ends_with_its_connection(server):
    server.answer, server.waits = b"HTTP/1.1 200 OK\r\n\r\nall of it", False
    assert (200, b"all of it") == (Connections(5, 5).request("GET", server.address)[0::2])


@pytest.mark.parametrize(
    "answer", [b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx", b"HTTP/1.1 200 O"]
)
def test_what_is_no_answer_or_none_that_ends_is_none(server, answer):
    server.answer, server.waits = answer, False
    with pytest.raises(NoAnswer, match=f"{server.address}: "):
        Connections(5, 5).request("POST", server.address)


def test_a_header_that_would_be_two_is_not_sent(server):
    with pytest.raises(NoAnswer, match="expected headers without line breaks"):
        Connections(5, 5).request("POST", server.address, headers={"X-A": "1\r\nX-B: 2"})
    assert [] == server.requests
