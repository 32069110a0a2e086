"""A connection that a server is about to close is not used for the next call."""

import socketserver
import threading
from collections.abc import Iterator

import pytest
import urllib3

from functions.shared import connections

ANSWER = b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n"


class OneAnswer(socketserver.StreamRequestHandler):
    """Promises to keep the connection, and closes it when the second request comes: its time was over just then."""

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(ANSWER)
        self.rfile.readline()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture
def address() -> Iterator[str]:
    with Server(("127.0.0.1", 0), OneAnswer) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def statuses(address: str) -> list[int]:
    """Of two calls, one after the other."""
    pool = connections.pool(urllib3.Timeout(5))
    return [pool.request("POST", address).status for _ in range(2)]


def test_a_connection_that_was_idle_too_long_is_not_used_again(address, monkeypatch):
    monkeypatch.setattr(connections, "LONGEST_IDLE", -1)
    assert [204, 204] == statuses(address)


def test_a_connection_that_was_just_used_is_used_again(address):
    with pytest.raises(urllib3.exceptions.ProtocolError):
        statuses(address)
