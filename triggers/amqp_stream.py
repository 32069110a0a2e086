"""The stream below pika's connection: the event loop's own.

pika waits until its socket can be read or written, and then does that itself: for each piece some calls of Python,
two changes of what the kernel watches, and one more read to see that there is nothing more. uvloop's transports are
in C.
What pika wants of a stream: https://pika.readthedocs.io/en/stable/_modules/pika/adapters/utils/nbio_interface.html
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from pika.adapters.asyncio_connection import _AsyncioIOServicesAdapter
from pika.adapters.utils.nbio_interface import AbstractIOReference, AbstractStreamProtocol


class _Stream(asyncio.Protocol):
    """What pika hears of, as asyncio says it."""

    def __init__(self, heard: AbstractStreamProtocol):
        self.heard = heard
        self.connection_made, self.connection_lost = heard.connection_made, heard.connection_lost
        self.data_received, self.eof_received = heard.data_received, heard.eof_received


class Services(_AsyncioIOServicesAdapter):
    """What pika needs of an event loop."""

    def create_streaming_connection(
        self,
        protocol_factory: Callable[[], AbstractStreamProtocol],
        sock: socket.socket,
        on_done: Callable[[Any], None],
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> AbstractIOReference:
        """Make a stream of a connected socket; `on_done` gets it with its protocol, or what went wrong."""
        streaming = self._streaming(protocol_factory, sock, ssl=ssl_context, server_hostname=server_hostname)
        return self._schedule_and_wrap_in_io_ref(streaming, on_done)

    async def _streaming(
        self, protocol_factory: Callable[[], AbstractStreamProtocol], sock: socket.socket, **how: Any
    ) -> tuple[asyncio.Transport, AbstractStreamProtocol]:
        transport, stream = await self._loop.create_connection(lambda: _Stream(protocol_factory()), sock=sock, **how)
        return transport, stream.heard
