"""Serving WSGI over HTTP with gunicorn, the server that the functions framework itself uses."""

import signal
from collections.abc import Callable, Iterable
from typing import Any

import gunicorn.app.base
from werkzeug.wrappers import Request

from functions.shared import metrics
from triggers.command import check_port

# Callers keep their connections: dispatcher and gateway post many times a second, Go's clients keep them for 90 s.
KEEP_ALIVE = 120
MEBIBYTE = 1024 * 1024


class Server(gunicorn.app.base.BaseApplication):
    """Processes with threads, usually one; on SIGTERM and SIGINT requests in hand are finished first."""

    def __init__(
        self,
        app: Callable,
        host: str,
        port: int,
        threads: int,
        begin: Callable[[], None] | None = None,
        workers: int = 1,
    ):
        self.app = app
        self.options = {
            "bind": f"{host}:{port}",
            "threads": threads,
            "workers": workers,
            "worker_class": "gthread",
            "keepalive": KEEP_ALIVE,
            "timeout": 0,
            "graceful_timeout": 12,
            "loglevel": "error",
            "limit_request_line": 8190,
            "when_ready": _stop_gently,
            "post_worker_init": self._begin,
            "child_exit": lambda _server, worker: metrics.forget_worker(worker.pid),
        }
        self.begin = begin
        super().__init__()

    def _begin(self, worker: Any) -> None:
        """What has threads of its own must begin after the fork."""
        # Ctrl-C reaches the whole process group.
        signal.signal(signal.SIGINT, worker.handle_exit)
        if self.begin:
            self.begin()

    def load_config(self) -> None:
        """Hand the options over, as gunicorn asks for it."""
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[[dict[str, Any], Callable], Iterable[bytes]]:
        """The application to be served."""
        return self.app


def _stop_gently(arbiter: Any) -> None:
    """Take SIGINT as SIGTERM.

    gunicorn's quick stop ends its worker from inside a signal handler, which waits for ever when the signal came
    while the worker held the lock of its pool of threads; the worker was then killed after the time for a stop.
    """
    arbiter.handle_int = arbiter.handle_term


def discard_the_rest(request: Request) -> None:
    """Read what is left of a body that is too large, up to a limit.

    Otherwise the server closes the connection behind the answer, and the next request of a client that keeps its
    connections fails.
    """
    body = request.environ["wsgi.input"]
    for _ in range(16):
        if not body.read(MEBIBYTE):
            break


def serve(app: Callable, *, host: str, port: int, threads: int, **more: Any) -> None:
    """Serve `app` until SIGTERM; `begin`, if given, is called in each serving process before the first request."""
    check_port(host, port)
    Server(app, host, port, threads, **more).run()
