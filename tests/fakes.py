"""A function that does what a test says: a small HTTP server in a thread, which remembers every call."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.system import eventually
from tools.local.processes import free_port

BATCH = "application/cloudevents-batch+json"
Reply = tuple[int, dict[str, str], bytes]


class Call:
    """One call: its method, path, headers (names in lower case), body, and when it came."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes):
        self.method, self.path, self.body, self.at = method, path, body, time.monotonic()
        self.headers = {name.lower(): value for name, value in headers.items()}

    @property
    def is_batch(self) -> bool:
        return self.headers.get("content-type") == BATCH

    @property
    def events(self) -> list[dict[str, Any]]:
        return json.loads(self.body) if self.is_batch else [self._binary()]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]

    def _binary(self) -> dict[str, Any]:
        return {name[3:]: value for name, value in self.headers.items() if name.startswith("ce-")}


def nothing(_: Call) -> Reply:
    """Handled, and nothing follows."""
    return 204, {}, b""


class FakeFunction:
    """`behave` decides each answer; it may be changed at any time, and may block."""

    def __init__(self, behave: Callable[[Call], Reply] = nothing, port: int | None = None):
        self.behave, self.port = behave, port or free_port()
        self.calls: list[Call] = []
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ids(self) -> list[str]:
        """The events of all calls, in the order in which they came."""
        return [id for call in self.calls for id in call.ids]

    def start(self) -> "FakeFunction":
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                call = Call(self.command, self.path, dict(self.headers.items()), body)
                fake.calls.append(call)
                status, headers, text = fake.behave(call)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else text)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            # Callers that come at once are not turned away.
            request_queue_size = 64

            def __init__(self, *args: Any):
                super().__init__(*args)
                self.connections: set[socket.socket] = set()

            def process_request(self, request: socket.socket, address: Any) -> None:
                self.connections.add(request)
                super().process_request(request, address)

            def shutdown_request(self, request: socket.socket) -> None:
                self.connections.discard(request)
                super().shutdown_request(request)

            def handle_error(self, *_: object) -> None:
                """A caller that was killed, or did not want to wait."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Refuse connections from now on, and end those that there are, as a process does; `start` listens again.

        A connection that was kept would answer for whichever function has this port next.
        """
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            for connection in list(self._server.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._server = None

    def wait_for(self, count: int, seconds: float = 30) -> list[Call]:
        """The calls, once there are that many."""
        eventually(lambda: len(self.calls) >= count, f"{count} calls, came {len(self.calls)}", seconds)
        return self.calls
