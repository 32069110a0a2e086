"""What is sent by the ways of ASGI."""

import asyncio

import pytest

from triggers.asgi import send_answer, send_raw


def failing(text):
    """A server whose connection is in this state."""

    async def send(_):
        raise RuntimeError(text)

    return send


# As uvloop says it between the moment in which a server closes a connection and the one in which everybody knows.
CLOSED = "unable to perform operation on <TCPTransport closed=True reading=False 0x1>; the handler is closed"


def test_nobody_waits_for_an_answer_on_a_closed_connection():
    asyncio.run(send_raw(failing(CLOSED), 200, [], b"late"))
    asyncio.run(send_answer(failing(CLOSED), ("late", 200, {})))


def test_another_error_of_the_server_is_one():
    with pytest.raises(RuntimeError, match="longer than Content-Length"):
        asyncio.run(send_raw(failing("Response content longer than Content-Length"), 200, [], b"late"))
