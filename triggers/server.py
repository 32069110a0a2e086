"""Serving ASGI over HTTP with uvicorn, which the functions framework brings for its own asynchronous side."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import uvicorn
from pydantic import Field

from functions.shared.telemetry import traces
from functions.shared.telemetry.metrics import WorkerSettings
from triggers.command import check_port
from triggers.garbage import keep_what_is_loaded
from triggers.http_server import LimitedProtocol, allow_files

# Callers keep their connections: dispatcher and gateway post many times a second, Go's clients keep them for 90 s.
KEEP_ALIVE = 120
GRACE = 12


class ServerSettings(WorkerSettings):
    """How functions are served."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=1, le=65535, description="port to listen on")
    threads: int = Field(default=8, ge=1, description="requests at a time")


def serve_functions(app: Any, factory: str, settings: ServerSettings) -> None:
    """Serve `app`, or in several workers what each of them makes by `factory`, named as `module:function`."""
    if settings.workers > 1:
        serve(factory, host=settings.host, port=settings.port, workers=settings.workers, factory=True)
    else:
        serve(app, host=settings.host, port=settings.port)


def serve(
    app: Any,
    *,
    host: str,
    port: int,
    workers: int = 1,
    factory: bool = False,
    protocol: type[LimitedProtocol] = LimitedProtocol,
) -> None:
    """Serve `app` until SIGTERM or SIGINT; requests in flight are finished first, for some seconds.

    With several `workers` the app is a factory that each process calls for itself, named as `module:function`.
    """
    check_port(host, port)
    traces.check()
    keep_what_is_loaded()
    allow_files()
    config = uvicorn.Config(
        app,
        factory=factory,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="auto",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        backlog=512,
    )
    # uvicorn raises the signal again when it has served: as an ordinary end, so that what is to be done then is done.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    if workers > 1:
        from uvicorn.supervisors import Multiprocess

        Multiprocess(config, sockets=[config.bind_socket()]).run()
    else:
        _Server(config).run()


class _Server(uvicorn.Server):
    """uvicorn's looks ten times a second whether it is to end; this one sleeps until the signal says so.

    Such a wake-up does nothing and costs a tenth of a call of a function, in every process, day and night.
    """

    _ending: asyncio.Event | None = None
    _loop: asyncio.AbstractEventLoop

    async def main_loop(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        if not await self.on_tick(0):
            await self._ending.wait()

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        if self._ending:
            self._loop.call_soon_threadsafe(self._ending.set)


def _end(*_: Any) -> NoReturn:
    raise SystemExit(0)


class Lifespan:
    """ASGI's lifespan: an application hears when its process begins and ends to serve."""

    def __init__(self, begin: Callable[[], Any], end: Callable[[], Awaitable[Any]] | None = None):
        self._begin, self._end = begin, end

    async def __call__(self, receive: Callable, send: Callable) -> None:
        """Answer the two messages that there are."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._begin()
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._end:
                    await self._end()
                await send({"type": "lifespan.shutdown.complete"})
                return
